"""A surrogate fitted to a game: predictions, gradients, what it has learned, and its file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dnl.gradients.own_gradient import Utility, own_gradient
from dnl.layers import ActivationPattern, FollowerChoice, shapes
from dnl.layers.stack import NetworkStack, concatenate
from dnl.runtime.settings import path_of
from dnl.surrogates import storage
from dnl.surrogates.config import DTYPES, FitConfig
from games import PersuasionGame, checks
from games.checks import Array
from games.files import write_bytes
from games.randomness import stream
from games.surroundings import differentiable, own_surroundings, without_autocast

__all__ = ["DTYPES", "FitConfig", "FittedSurrogate", "stack_surrogates"]

SUPPORT = 0.001  # least probability of a learned choice: rarer ones had only a few samples
SUPPORT_PROFILES = 1_000  # random profiles by which that probability is measured


@runtime_checkable
class LearnsReceiver(Protocol):
    """A network that learns a receiver's choices and what each is worth to the senders."""

    def game(self) -> tuple[Tensor, Tensor, Tensor]:
        """What it has learned as a persuasion game: prior `(S,)`, `v (S, C)`, `u (N, S, C)`."""

    def reaction(self, posteriors: Tensor, prior: Tensor) -> Tensor:
        """The choices `(...)` at posteriors `(..., S)`."""


@dataclass(frozen=True, eq=False)
class FittedSurrogate:
    """Networks fitted to a game's senders: a differentiable approximation of its simulator.

    Attributes:
        surrogate: name of the surrogate.
        networks: one per sender, or one for all; from flattened profiles to standardised
            utilities.
        mean, scale: `(N,)`, the standardisation of utilities.
        mse: `(N,)`, mean squared error on fresh samples, in squared units of utility.
        unexplained: `(N,)`, `mse` as a fraction of the utility's variance there; NaN if constant.
        constant: `(N,)` bool: whether the utility did not vary over the samples.
        parameter_count: parameters of one network.
        fit_seconds: wall time of training the whole stack, divided by its number of games.
        game: identity of the game, whose shape (N, M, S, A) is `shape`.
        config, seed: those of the fit, for running it again.
    """

    surrogate: str
    networks: NetworkStack
    mean: Tensor
    scale: Tensor
    mse: Tensor
    unexplained: Tensor
    constant: Tensor
    parameter_count: int
    fit_seconds: float
    game: str
    shape: tuple[int, int, int, int]
    config: FitConfig
    seed: int

    def __post_init__(self) -> None:
        self.networks.requires_grad_(False)
        # From now on gradients are those of the function itself, however it was trained.
        for module in self.networks.template.modules():
            if isinstance(module, FollowerChoice):
                module.anneal(None)
            elif isinstance(module, ActivationPattern):
                module.gradient = "none"

    def __repr__(self) -> str:
        return (
            f"FittedSurrogate({self.surrogate!r}, unexplained={listed(self.unexplained)}, "
            f"shape={self.shape}, parameter_count={self.parameter_count}, game={self.game!r}, "
            f"seed={self.seed})"
        )

    def __call__(self, policies: Array) -> Tensor:
        """Predicted utilities: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`.

        Numpy's arrays and lists are taken as float64.
        """
        batch, single = self._batch(policies)
        utilities = stack_surrogates([self])(batch)[0]
        return utilities[0] if single else utilities

    def own_gradient(self, policies: Array) -> Tensor:
        """Each sender's gradient of its own utility in its own policy, of the same shape."""
        batch, single = self._batch(policies)
        gradient = own_gradient(stack_surrogates([self]), batch)[0]
        return gradient[0] if single else gradient

    def _batch(self, policies: Array) -> tuple[Tensor, bool]:
        """`(B, N, S, M)` or `(N, S, M)` as `(1, B, N, S, M)`; whether `B` was added."""
        n_senders, n_signals, n_states, _ = self.shape
        expected = (n_senders, n_states, n_signals)
        profiles = shapes.floating("policies", checks.as_tensor("policies", policies))
        if profiles.ndim not in (3, 4) or profiles.shape[-3:] != expected:
            raise checks.shape_error("policies", "(B, N, S, M)", ("B", *expected), profiles)
        single = profiles.ndim == 3
        return (profiles.unsqueeze(0) if single else profiles).unsqueeze(0), single

    def learned_game(self, support: float = SUPPORT) -> PersuasionGame:
        """The persuasion game that posterior-dnl has learned, to be solved like any other.

        It has the same ex-ante utilities as this surrogate. Its actions are the learned choices:
        two of them may stand for one action of the true game. Prior and receiver are identified
        only as far as samples of utilities can identify them.

        Args:
            support: choices less probable than this at random profiles are left out, as their
                utilities were learned from a few samples. 0 keeps all that occur.

        Returns:
            A float64 game. Its boundaries between actions are slightly off, so an equilibrium that
            relies on a tie is not one of the true game until a best response or two correct it:
            `dnl.find_learned_equilibria` does so and judges the result.

        Raises:
            ValueError: if the surrogate learns no receiver, or support is negative or leaves no
                choice.
        """
        support = checks.positive_number("support", support, allow_zero=True)
        network = self.networks.network(0).double().cpu()
        prior, v, u = self._receiver(network).game()
        utility = u * self.scale.to(u)[:, None, None] + self.mean.to(u)[:, None, None]
        game = PersuasionGame(prior, v, utility, self.shape[1])
        policies = game.sample_policies(SUPPORT_PROFILES, stream("learned game", self.game))
        outcomes = game.stacked().outcome_distribution(policies.unsqueeze(0), check=False)
        probability = outcomes[0].mean(0).sum(0)  # (C,)
        kept = (probability > 0) & (probability >= support)
        if not kept.any():
            raise ValueError(f"support must leave a choice, got {support!r}")
        return replace(game, receiver_utility=v[:, kept], sender_utility=utility[..., kept])

    def reaction(self, posteriors: Array, prior: Array) -> Tensor:
        """The receiver's choice at posteriors `(..., S)`, as posterior-dnl has learned it.

        See `dnl.layers.posterior.PosteriorNetwork.reaction`.

        Raises:
            ValueError: if the surrogate learns no receiver, or for a wrong number of states.
        """
        network = self._receiver(self.networks.network(0))
        beliefs = checks.as_tensor("posteriors", posteriors)
        weights = checks.as_tensor("prior", prior)
        for name, value in (("posteriors", beliefs), ("prior", weights)):
            if value.shape[-1:] != (self.shape[2],):
                shape = tuple(value.shape)
                raise ValueError(f"{name} must hold {self.shape[2]} states, got shape {shape}")
        return network.reaction(beliefs.to(self.networks.dtype), weights.to(self.networks.dtype))

    def _receiver(self, network: nn.Module) -> LearnsReceiver:
        if not isinstance(network, LearnsReceiver):
            raise ValueError(
                f"surrogate must learn a receiver, as 'posterior-dnl' does, got {self.surrogate!r}"
            )
        return network

    @own_surroundings()
    def to(self, device: torch.device | str) -> "FittedSurrogate":
        """The same surrogate with its networks on `device`."""
        device = checks.device("device", device)
        networks = self.networks.select(slice(None)).to(device)
        return replace(
            self, networks=networks, mean=self.mean.to(device), scale=self.scale.to(device)
        )

    def save(self, path: str | Path) -> None:
        """Write everything to one file that `load` reads and that is safe to share (no code in it).

        The file is written whole or not at all; on failure an old file stays as it was.

        Raises:
            OSError: if the file cannot be written.
        """
        content = {name: getattr(self, name) for name in storage.FIELDS}
        networks, config = self.networks.state_dict(), asdict(self.config)
        write_bytes(
            path_of("path", path),
            storage.packed(content | {"networks": networks, "config": config}),
        )

    @classmethod
    @own_surroundings()
    def load(cls, path: str | Path) -> "FittedSurrogate":
        """Read a file that `save` wrote. Networks are on the CPU, `config.device` is "auto".

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds no surrogate, or a damaged one (a value of a wrong type or out
                of range, a tensor of a wrong shape or dtype, weights that are not finite), naming
                the file and the field.
        """
        data = path_of("path", path).read_bytes()
        try:
            return cls(**storage.unpacked(data))
        except ValueError as error:
            raise ValueError(f"{path} holds no fitted surrogate: {error}") from error


def listed(values: Tensor) -> str:
    """Numbers `(N,)` as they are printed in a line, the first of many."""
    shown = [f"{value:.3g}" for value in values.tolist()[:4]] + ["..."] * (len(values) > 4)
    return f"({', '.join(shown)})"


@own_surroundings()
def stack_surrogates(fitted: Sequence[FittedSurrogate]) -> Utility:
    """Surrogates that were fitted together, as one utility `(G, B, N, S, M) -> (G, B, N)`.

    It computes in the dtype and on the device of its argument.
    """
    for one in checks.sequence("fitted", fitted):
        checks.instance("each of fitted", one, FittedSurrogate)
    if not fitted:
        raise ValueError("fitted must hold at least one surrogate, got none")
    of_one = len(fitted[0].networks)
    return _OnePerSender(fitted) if of_one == fitted[0].shape[0] else _Together(fitted)


class _Together:
    """Predicted utilities of several games."""

    def __init__(self, fitted: Sequence[FittedSurrogate]) -> None:
        stacks = [f.networks for f in fitted]
        self.networks = concatenate(stacks) if len(stacks) > 1 else stacks[0]
        self.mean = torch.stack([f.mean for f in fitted]).unsqueeze(1)  # (G, 1, N)
        self.scale = torch.stack([f.scale for f in fitted]).unsqueeze(1)

    @without_autocast()
    def __call__(self, policies: Tensor) -> Tensor:
        x = policies.flatten(2)  # (G, B, F)
        if len(x) == 1:
            standardised = self.networks(x[0])  # (V, B, o): the same input to all networks
        else:
            standardised = self.networks(x.repeat_interleave(len(self.networks) // len(x), 0))
        n_games, n_profiles, n_senders = policies.shape[:3]
        u = standardised.mT.reshape(n_games, n_senders, n_profiles).mT  # (G, B, N)
        return u * self.scale.to(u) + self.mean.to(u)


class _OnePerSender(_Together):
    """The same where each network predicts one sender's utility."""

    @differentiable()
    def own_gradient(self, policies: Tensor) -> Tensor:
        """Each sender's gradient of its own utility in its own policy, `(G, B, N, S, M)`.

        In one backward pass, since each network has its own copy of the input.
        """
        n_games, _, n_senders = policies.shape[:3]
        x = policies.detach().flatten(2).repeat_interleave(n_senders, 0).requires_grad_()
        (gradient,) = torch.autograd.grad(self.networks(x).sum(), x)  # (G * N, B, F)
        of_all = gradient.unflatten(0, (n_games, n_senders)).unflatten(-1, policies.shape[2:])
        own = of_all.diagonal(dim1=1, dim2=3).movedim(-1, 2)  # (G, B, N, S, M)
        return own * self.scale.to(own)[..., None, None]
