"""Least squares for a stack of networks: losses, batches and refitted heads."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dnl.layers import FollowerChoice
from dnl.layers.stack import NetworkStack
from dnl.training.recipes import Recipe
from games.randomness import stream

SAMPLED_SIGNALS = 2_048  # most joint signals in a step; of more, this many are drawn
LEAST_REFITS = 20  # of the heads in a training, at least
JUDGING_SAMPLES = 5_000  # most samples on which the best of several restarts is chosen


@runtime_checkable
class Refittable(Protocol):
    """A network with a linear head that least squares can set."""

    def refit(self, x: Tensor, y: Tensor) -> None:
        """Set the head to fit outputs `y (B, out)` at inputs `x (B, in)`."""


@runtime_checkable
class SumOverSignals(Protocol):
    """A network that is a sum over joint signals, of which `signals` may choose some."""

    signals: Tensor | None

    @property
    def n_joint(self) -> int:
        """The number of joint signals."""


class Regression(nn.Module):
    """Least squares for a stack of networks whose data are resident on the device.

    Args:
        stack: `V = G * R * N` networks of one output, or `G * R` of `N` outputs: `R` restarts.
        inputs: `(G, samples, F)`, shared by the networks of a group.
        targets: `(G, N, samples)`.
        order_seeds: what identifies each group's stream of data order, `G` of them.
        labels: `G * R * N` column names for the log.
        recipe: how to train.
        epochs: passes over the samples in all.
    """

    def __init__(
        self,
        stack: NetworkStack,
        inputs: Tensor,
        targets: Tensor,
        order_seeds: Sequence[tuple[object, ...]],
        labels: Sequence[str],
        recipe: Recipe,
        epochs: int,
    ) -> None:
        super().__init__()
        self.stack = stack
        self.order_seeds = order_seeds
        self.labels = labels
        self.recipe = recipe
        self.lr = recipe.beginning(inputs.shape[-1])
        network = stack.template
        self.choices = [m for m in network.modules() if isinstance(m, FollowerChoice)]
        self.n_joint = network.n_joint if isinstance(network, SumOverSignals) else 1
        self.batch_size = recipe.rows(self.n_joint)
        self.batches = math.ceil(inputs.shape[1] / self.batch_size)  # of an epoch
        self.steps = epochs * self.batches
        self.refit_steps = max(1, min(recipe.refit, self.steps // LEAST_REFITS))
        # No buffers: neither a checkpoint holds the data, nor does Lightning send them after use.
        self.inputs, self.targets = inputs, targets

    def losses(self, rows: Tensor, step: int) -> Tensor:
        """Mean squared errors `(G * R * N,)` at a step, on each group's samples `rows (G, b)`."""
        group = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        x = self.inputs[group, rows]  # (G, b, F)
        n_outputs = self.targets.shape[1]
        y = self.targets.gather(2, rows.unsqueeze(1).expand(-1, n_outputs, -1))  # (G, N, b)
        for choice in self.choices:
            choice.anneal(self.recipe.heat(step / self.steps))
        first, second = self.errors(x, y, step)
        return (first * second).mean(-1).flatten()

    def errors(self, x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Errors `(G, R, N, b)` at a step, twice: the same, or two unbiased estimates.

        The product of two independent estimates is an unbiased estimate of the squared error, which
        the square of one is not.
        """
        network = self.stack.template
        if not isinstance(network, SumOverSignals) or network.n_joint <= SAMPLED_SIGNALS:
            error = self._error(x, y)
            return error, error
        errors = []
        for half in range(2):
            seed = self.order_seeds[0][0]  # all games meet the same joint signals
            generator = stream("order", seed, "signals", step, half)
            drawn = torch.randint(network.n_joint, (SAMPLED_SIGNALS // 2,), generator=generator)
            network.signals = drawn.to(x.device)
            errors.append(self._error(x, y))
        network.signals = None
        return errors[0], errors[1]

    def _error(self, x: Tensor, y: Tensor) -> Tensor:
        """Errors `(G, R, N, b)` on inputs `(G, b, F)` with targets `(G, N, b)`."""
        n_groups, n_outputs, n_rows = y.shape
        predicted = self.stack(x.repeat_interleave(len(self.stack) // n_groups, 0))  # (V, b, o)
        return predicted.mT.reshape(n_groups, -1, n_outputs, n_rows) - y.unsqueeze(1)

    @torch.no_grad()
    def judge(self) -> Tensor:
        """Squared error `(G, R)` of each group's restarts on its first samples, where they are."""
        device = next(self.stack.parameters()).device
        total = torch.zeros((), dtype=self.inputs.dtype, device=device)
        for start in range(0, min(JUDGING_SAMPLES, self.inputs.shape[1]), self.batch_size):
            part = slice(start, start + self.batch_size)
            x, y = self.inputs[:, part].to(device), self.targets[:, :, part].to(device)
            total = total + self._error(x, y).square().sum((2, 3))
        return total

    @torch.no_grad()
    def refit(self, least: int, joint_signals: int) -> None:
        """Set linear heads by least squares on the first samples.

        Args:
            least: samples at least.
            joint_signals: that samples may have, if those are more.
        """
        if not isinstance(self.stack.template, Refittable):
            return
        samples = max(least, joint_signals // self.n_joint)
        per_group = len(self.stack) // len(self.inputs)
        for index in range(len(self.stack)):
            network = self.stack.network(index)
            assert isinstance(network, Refittable)
            group = index // per_group
            x, y = self.inputs[group, :samples], self.targets[group, :, :samples]
            network.refit(x, y.mT)
            self.stack.set_network(index, network)
