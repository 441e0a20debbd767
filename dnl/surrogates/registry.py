"""Networks for senders' ex-ante utilities, by name.

The paper's three map a flattened joint policy `(..., N * S * M)` to one utility `(..., 1)`, so a
game takes one for each sender; `"posterior-dnl"`, for persuasion games, and `"follower-dnl"`, for
any game with followers, map it to all `(..., N)`. Standard sizes are
the paper's (section 5.1): three hidden layers of 64 ReLU units; DNL's lower part is the first, and
its hyper-network has two hidden layers of 32. Same widths are not same sizes: DNL has many times
the parameters of ReLU, so report `parameter_count` beside every comparison.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor, nn

from dnl.layers import (
    PATTERN_GRADIENTS,
    DiscontinuousMLP,
    FollowerNetwork,
    Linear,
    PatternBias,
    PatternedMLP,
    relu_mlp,
)
from dnl.layers.posterior import PosteriorNetwork
from games import checks
from games.surroundings import single_by_default

Shape = tuple[int, int, int, int]  # N, M, S, A
PRIORS = ("learned", "given")
FOLLOWERS = 12  # of several leaders; the shape of a game does not tell how many there are


@dataclass(frozen=True)
class Architecture:
    """Sizes of the surrogate networks.

    Attributes:
        hidden: widths of the hidden layers.
        split: DNL: how many hidden layers form the lower part, from 1 to `len(hidden) - 1`.
        hyper: widths of the hidden layers of DNL's hyper-network and of DeLU's bias network.
        pattern_gradient: `"none"` or `"straight-through"`; see `dnl.layers.ActivationPattern`. None
            for the recipe's.
        choices: posterior-dnl and follower-dnl: actions that a follower may be given; None for
            four more than twice those of the game.
        upper: of these two: widths of hidden layers in the upper part; none is a linear one.
        followers: follower-dnl: None for one where there is one leader, else `FOLLOWERS`.
        prior: posterior-dnl: `"learned"`, or `"given"`: the network is told the game's.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    split: int = 1
    hyper: tuple[int, ...] = (32, 32)
    pattern_gradient: str | None = None
    choices: int | None = None
    upper: tuple[int, ...] = ()
    followers: int | None = None
    prior: str = "learned"

    def __post_init__(self) -> None:
        for name in ("hidden", "hyper"):
            widths = getattr(self, name)
            if not isinstance(widths, Sequence):
                raise ValueError(f"{name} must be a sequence of widths, got {widths!r}")
            if not widths or any(type(width) is not int or width < 1 for width in widths):
                raise ValueError(f"{name} must hold widths of at least 1, got {widths!r}")
            object.__setattr__(self, name, tuple(widths))
        if type(self.split) is not int or not 1 <= self.split <= max(1, len(self.hidden) - 1):
            raise ValueError(
                f"split must lie in 1..{len(self.hidden) - 1}, the number of hidden layers less 1, "
                f"got {self.split!r}"
            )
        if self.pattern_gradient not in (None, *PATTERN_GRADIENTS):
            raise ValueError(
                f"pattern_gradient must be one of {PATTERN_GRADIENTS}, "
                f"got {self.pattern_gradient!r}"
            )
        if self.choices is not None:
            checks.positive_integer("choices", self.choices)
        if self.followers is not None:
            checks.positive_integer("followers", self.followers)
        checks.one_of("prior", self.prior, PRIORS)
        object.__setattr__(self, "upper", tuple(self.upper))
        if any(type(width) is not int or width < 1 for width in self.upper):
            raise ValueError(f"upper must hold widths of at least 1, got {self.upper!r}")


class ReLUNetwork(nn.Sequential):
    """Fully connected, `(..., in_features) -> (..., 1)`: continuous and piecewise linear."""

    stackable = True

    def __init__(self, in_features: int, hidden: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__(relu_mlp([in_features, *hidden]), Linear(hidden[-1], 1))


class DeLUNetwork(nn.Module):
    """A ReLU network whose last bias depends on its activation pattern (Wang et al., 2024a).

    Discontinuous, but linear inside each piece.
    """

    stackable = True

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int] = (64, 64, 64),
        bias_hidden: Sequence[int] = (32, 32),
        pattern_gradient: str = "none",
    ) -> None:
        super().__init__()
        self.hidden = PatternedMLP([in_features, *hidden], pattern_gradient)
        self.output = Linear(hidden[-1], 1, bias=False)
        self.bias = PatternBias(self.hidden.pattern_features, 1, bias_hidden)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., 1)`."""
        x, pattern = self.hidden(x)
        return self.output(x) + self.bias(pattern)


def _features(shape: Shape) -> int:
    n_senders, n_signals, n_states, _ = shape
    return n_senders * n_states * n_signals


def _relu(shape: Shape, a: Architecture) -> nn.Module:
    return ReLUNetwork(_features(shape), a.hidden)


def _delu(shape: Shape, a: Architecture) -> nn.Module:
    return DeLUNetwork(_features(shape), a.hidden, a.hyper, a.pattern_gradient or "none")


def _dnl(shape: Shape, a: Architecture) -> nn.Module:
    lower, upper = a.hidden[: a.split], a.hidden[a.split :]
    gradient = a.pattern_gradient or "none"
    return DiscontinuousMLP(_features(shape), 1, lower, upper, a.hyper, gradient)


def _posterior(shape: Shape, a: Architecture) -> nn.Module:
    n_senders, n_signals, n_states, n_actions = shape
    choices = 2 * n_actions + 4 if a.choices is None else a.choices
    return PosteriorNetwork(n_senders, n_signals, n_states, choices, a.upper)


def _follower(shape: Shape, a: Architecture) -> nn.Module:
    n_leaders, _, _, n_choices = shape
    followers = (1 if n_leaders == 1 else FOLLOWERS) if a.followers is None else a.followers
    choices = 2 * n_choices + 4 if a.choices is None else a.choices
    return FollowerNetwork(_features(shape), n_leaders, choices, a.upper, n_followers=followers)


# Adding a network here enrols it in the benchmark's choices and in the contract tests.
SURROGATES: Mapping[str, Callable[[Shape, Architecture], nn.Module]] = MappingProxyType(
    {
        "relu": _relu,
        "delu": _delu,
        "dnl": _dnl,
        "posterior-dnl": _posterior,
        "follower-dnl": _follower,
    }
)
PAPER_SURROGATES = ("relu", "delu", "dnl")


@single_by_default()
def make_surrogate(name: str, shape: Shape, architecture: Architecture | None = None) -> nn.Module:
    """The network called `name` for games of `shape`; initialised from torch's global seed.

    In float32, whatever the default dtype.

    Args:
        name: out of `SURROGATES`.
        shape: `(N, M, S, A)`.
        architecture: its sizes.

    Raises:
        ValueError: for an unknown name.
    """
    check_surrogate(name)
    return SURROGATES[name](shape, architecture or Architecture())


@cache
def network_shape(name: str, shape: Shape, architecture: Architecture) -> tuple[object, ...]:
    """What games must share to have their networks called `name` trained as one stack.

    The profiles' `(N, M, S)` and the names and shapes of all values that such a network holds.
    relu, delu and dnl do not depend on the number of actions; posterior-dnl and follower-dnl do,
    unless `architecture.choices` is given.
    """
    with torch.device("meta"):  # no values, and no random numbers drawn
        network = make_surrogate(name, shape, architecture)
    values = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
    return *shape[:3], values


def networks_per_game(name: str, n_senders: int) -> int:
    """One network for each sender, or one for all."""
    return n_senders if name in PAPER_SURROGATES else 1


def check_surrogate(name: str, argument: str = "surrogate") -> None:
    """Raise a ValueError, about `argument`, unless `name` is a known surrogate."""
    checks.one_of(argument, name, tuple(SURROGATES))


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
