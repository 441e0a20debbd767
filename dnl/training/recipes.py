"""A recipe: how networks are trained, the paper's way or as measurement found best.

`python -m experiments.recipes` measures; results/recipes holds what it has found so far.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from dnl.layers import PATTERN_GRADIENTS, ActivationPattern, EmittedLinear, PatternBias
from games import checks

RECIPE_NAMES = ("paper", "tuned")


def cosine(last: float) -> Callable[[float], float]:
    """A schedule that falls from 1 to `last` by a half cosine as progress goes from 0 to 1."""
    return lambda progress: last + (1 - last) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Recipe:
    """One way of training.

    Attributes:
        lr: Adam's largest learning rate at the start.
        lr_inputs: the initial rate is also at most this divided by a network's number of inputs.
        last: final share of the initial rate, reached by a half cosine; 1 for a constant rate.
        batch_size: most samples per step.
        posteriors: most joint posteriors per step, for networks that see them; at least 16 samples.
        pattern_gradient, slope: of activation patterns, see `dnl.layers.ActivationPattern`.
        context: initial contribution of a pattern to DNL's emitted layers and to DeLU's bias, as a
            multiple of the layers' own initialisation.
        unit: standard deviations of the utility that a network's output of 1 stands for.
        temperature: first and last of a follower's quantal response; it falls geometrically.
        refit: most steps between two least-squares fits of linear heads, which are also fitted at
            the end; 0 for never.
        restarts: networks trained side by side; the one with the smallest error is kept.
        settle: whether networks that can (one follower with linear scores) are replaced at the end
            by exactly affine pieces (`dnl.surrogates.affine_pieces`), if these predict better.
    """

    lr: float
    lr_inputs: float | None = None
    last: float = 1.0
    batch_size: int = 512
    posteriors: int | None = None
    pattern_gradient: str = "none"
    slope: float = 1.0
    context: float = 1.0
    unit: float = 1.0
    temperature: tuple[float, float] = (0.1, 0.1)
    refit: int = 0
    restarts: int = 1
    settle: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "lr_inputs", "slope", "unit"):
            if getattr(self, name) is not None:
                checks.positive_number(name, getattr(self, name))
        checks.positive_number("context", self.context, allow_zero=True)
        if checks.positive_number("last", self.last) > 1:
            raise ValueError(f"last must be at most 1, got {self.last!r}")
        for name in ("batch_size", "restarts"):
            checks.positive_integer(name, getattr(self, name))
        if self.posteriors is not None:
            checks.positive_integer("posteriors", self.posteriors)
        checks.positive_integer("refit", self.refit, least=0)
        checks.one_of("pattern_gradient", self.pattern_gradient, PATTERN_GRADIENTS)
        checks.instance("settle", self.settle, bool)
        pair = checks.sequence("temperature", self.temperature)
        object.__setattr__(self, "temperature", pair)
        if len(self.temperature) != 2:
            raise ValueError(f"temperature must be the first and the last, got {self.temperature}")
        for value in self.temperature:
            checks.positive_number("temperature", value)

    def rows(self, n_joint: int) -> int:
        """Samples per step if each has `n_joint` joint signals."""
        if self.posteriors is None:
            return self.batch_size
        return min(self.batch_size, max(16, self.posteriors // n_joint))

    def beginning(self, n_inputs: int) -> float:
        """The initial learning rate of networks with `n_inputs` inputs."""
        return self.lr if self.lr_inputs is None else min(self.lr, self.lr_inputs / n_inputs)

    def rate(self, progress: float) -> float:
        """The share of the initial rate at `progress` from 0 to 1."""
        return cosine(self.last)(progress)

    def heat(self, progress: float) -> float:
        """The temperature at `progress`."""
        first, last = self.temperature
        return first * (last / first) ** progress

    def prepare(self, network: nn.Module) -> None:
        """Set the slope and the initial contribution of a new network's patterns."""
        for module in network.modules():
            if isinstance(module, ActivationPattern):
                module.slope = self.slope
            elif isinstance(module, EmittedLinear | PatternBias):
                module.scale_context(self.context)


PAPER = Recipe(lr=0.01)  # Adam at a constant rate (appendix B); the batch size is ours
