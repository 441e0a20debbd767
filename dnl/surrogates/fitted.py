"""The surrogate that comes out of a fit."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dnl.gradients.own_gradient import Utility, own_gradient
from dnl.layers import ActivationPattern, FollowerChoice
from dnl.layers.stack import NetworkStack, concatenate
from dnl.surrogates import storage
from dnl.surrogates.config import DTYPES, FitConfig
from games import PersuasionGame, checks
from games.files import write_bytes
from games.randomness import stream
from games.surroundings import differentiable, own_surroundings, without_autocast

__all__ = ["DTYPES", "FitConfig", "FittedSurrogate", "stack_surrogates"]

SUPPORT = 0.001  # of random profiles: what rarer choices are worth was learned from a handful
PROFILES = 1_000  # random ones, at which a learned choice must occur


@runtime_checkable
class LearnsReceiver(Protocol):
    """A network that learns a receiver's choices and what each is worth to the senders."""

    def game(self) -> tuple[Tensor, Tensor, Tensor]:
        """What it has learned as a persuasion game: prior `(S,)`, `v (S, C)`, `u (N, S, C)`."""

    def reaction(self, posteriors: Tensor, prior: Tensor) -> Tensor:
        """The choices `(...)` at posteriors `(..., S)`."""


@dataclass(frozen=True, eq=False)
class FittedSurrogate:
    """Networks fitted to a game's senders: a differentiable stand-in for its simulator.

    Attributes:
        surrogate: name of the networks.
        networks: one per sender, or one for all; inputs are flattened profiles, outputs
            standardised utilities.
        mean, scale: `(N,)`, the standardisation of utilities.
        mse: `(N,)`, mean squared error on fresh samples, in squared units of utility.
        unexplained: `(N,)`, `mse` as a fraction of the utility's variance there; NaN if constant.
        constant: `(N,)` bool: the utility did not vary over the samples.
        parameter_count: parameters of one network.
        fit_seconds: wall time of the whole stack's training divided by its number of games.
        game: identity of the game; `shape` its (N, M, S, A).
        config, seed: what a fit needs to be run again.
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
        # Gradients are those of the function from now on, however it was trained.
        for module in self.networks.template.modules():
            if isinstance(module, FollowerChoice):
                module.anneal(None)
            elif isinstance(module, ActivationPattern):
                module.gradient = "none"

    def __call__(self, policies: Tensor) -> Tensor:
        """Predicted utilities: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`."""
        utilities = stack_surrogates([self])(self._batch(policies))[0]
        return utilities[0] if policies.ndim == 3 else utilities

    def own_gradient(self, policies: Tensor) -> Tensor:
        """Each sender's gradient of its own utility in its own policy, of the same shape."""
        return own_gradient(stack_surrogates([self]), self._batch(policies)).reshape(policies.shape)

    def _batch(self, policies: Tensor) -> Tensor:
        """`(B, N, S, M)` or `(N, S, M)` to `(1, B, N, S, M)`."""
        n_senders, n_signals, n_states, _ = self.shape
        expected = (n_senders, n_states, n_signals)
        if policies.ndim not in (3, 4) or policies.shape[-3:] != expected:
            raise checks.shape_error("policies", "(B, N, S, M)", ("B", *expected), policies)
        return (policies if policies.ndim == 4 else policies.unsqueeze(0)).unsqueeze(0)

    def learned_game(self, support: float = SUPPORT) -> PersuasionGame:
        """The persuasion game that posterior-dnl has learned, to be solved like any other.

        It has the same ex-ante utilities as this surrogate. Its actions are the learned choices:
        two may stand for one action of the true game, and prior and receiver are known up to what
        no sample of utilities can tell only.

        Args:
            support: choices less probable than this, at random profiles, are left out: what they
                are worth was learned from a handful of samples. 0 keeps those that occur at all.

        Returns:
            A float64 game; its boundaries between actions are a little off the true ones, so an
            equilibrium that rests on a tie is none of the true game until a best response or two
            have put it right.

        Raises:
            ValueError: if the surrogate learns no receiver, or support is negative or leaves no
                choice.
        """
        checks.positive_number("support", support, allow_zero=True)
        network = self.networks.network(0).double().cpu()
        prior, v, u = self._receiver(network).game()
        utility = u * self.scale.to(u)[:, None, None] + self.mean.to(u)[:, None, None]
        game = PersuasionGame(prior, v, utility, self.shape[1])
        policies = game.sample_policies(PROFILES, stream("learned game", self.game))
        outcomes = game.stacked().outcome_distribution(policies.unsqueeze(0), check=False)
        probability = outcomes[0].mean(0).sum(0)  # (C,)
        kept = (probability > 0) & (probability >= support)
        if not kept.any():
            raise ValueError(f"support must leave a choice, got {support!r}")
        return replace(game, receiver_utility=v[:, kept], sender_utility=utility[..., kept])

    def reaction(self, posteriors: Tensor, prior: Tensor) -> Tensor:
        """What posterior-dnl has learned of the receiver: its choice at posteriors `(..., S)`.

        See `dnl.layers.posterior.PosteriorNetwork.reaction`.

        Raises:
            ValueError: if the surrogate learns no receiver, or for a wrong number of states.
        """
        network = self._receiver(self.networks.network(0))
        for name, value in (("posteriors", posteriors), ("prior", prior)):
            if value.shape[-1:] != (self.shape[2],):
                shape = tuple(value.shape)
                raise ValueError(f"{name} must hold {self.shape[2]} states, got shape {shape}")
        return network.reaction(posteriors.to(self.networks.dtype), prior.to(self.networks.dtype))

    def _receiver(self, network: nn.Module) -> LearnsReceiver:
        if not isinstance(network, LearnsReceiver):
            raise ValueError(
                f"surrogate must learn a receiver, as 'posterior-dnl' does, got {self.surrogate!r}"
            )
        return network

    @own_surroundings()
    def to(self, device: torch.device | str) -> "FittedSurrogate":
        """The same surrogate with its networks on `device`."""
        networks = self.networks.select(slice(None)).to(device)
        return replace(
            self, networks=networks, mean=self.mean.to(device), scale=self.scale.to(device)
        )

    def save(self, path: str | Path) -> None:
        """Write everything to one file, readable by `load` and safe to share (tensors, no code).

        It is written whole or not at all: where that fails, an old file stays as it was.

        Raises:
            OSError: if the file cannot be written.
        """
        content = {name: getattr(self, name) for name in storage.FIELDS}
        networks, config = self.networks.state_dict(), asdict(self.config)
        write_bytes(path, storage.packed(content | {"networks": networks, "config": config}))

    @classmethod
    @own_surroundings()
    def load(cls, path: str | Path) -> "FittedSurrogate":
        """The surrogate in a file that `save` wrote, on the CPU; its `config.device` is "auto".

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds no surrogate, or one that is damaged: a value of a wrong type or
                out of range, a tensor of a wrong shape or dtype, weights that are not finite. It
                names the file and the field.
        """
        data = Path(path).read_bytes()
        try:
            return cls(**storage.unpacked(data))
        except ValueError as error:
            raise ValueError(f"{path} holds no fitted surrogate: {error}") from error


@own_surroundings()
def stack_surrogates(fitted: Sequence[FittedSurrogate]) -> Utility:
    """Surrogates that were fitted together as one utility, `(G, B, N, S, M) -> (G, B, N)`.

    It computes in the dtype and on the device of its argument.
    """
    of_one = len(fitted[0].networks)
    return _OnePerSender(fitted) if of_one == fitted[0].shape[0] else _Together(fitted)


class _Together:
    """What networks say of games' profiles."""

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
    """Networks that know one sender's utility each."""

    @differentiable()
    def own_gradient(self, policies: Tensor) -> Tensor:
        """Each sender's gradient of its own utility in its own policy, `(G, B, N, S, M)`.

        All in one backward pass, since every network has an input of its own.
        """
        n_games, _, n_senders = policies.shape[:3]
        x = policies.detach().flatten(2).repeat_interleave(n_senders, 0).requires_grad_()
        (gradient,) = torch.autograd.grad(self.networks(x).sum(), x)  # (G * N, B, F)
        of_all = gradient.unflatten(0, (n_games, n_senders)).unflatten(-1, policies.shape[2:])
        own = of_all.diagonal(dim1=1, dim2=3).movedim(-1, 2)  # (G, B, N, S, M)
        return own * self.scale.to(own)[..., None, None]
