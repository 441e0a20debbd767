"""The registry of surrogates: networks that predict senders' ex-ante utilities from their policies.

A surrogate is one value: how its networks are built and trained, which games it accepts, and how
figures show it. To add one, write it in a file of its own under `dnl/surrogates/networks/` and
list it in that folder's `__init__.py`, or call `register` from anywhere; the benchmark, the
figures and the contract tests then know it.

Standard sizes are the paper's (section 5.1): three hidden layers of 64 ReLU units; DNL's lower part
is the first, and its hyper-network has two hidden layers of 32. Equal widths are not equal sizes:
DNL has many times the parameters of ReLU, so report `parameter_count` beside every comparison.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from dnl.layers import PATTERN_GRADIENTS
from dnl.training.recipes import RECIPE_NAMES, Recipe
from games import FollowerGame, checks
from games.checks import shown
from games.registration import REQUIRED, Registry
from games.surroundings import single_by_default

Shape = tuple[int, int, int, int]  # N, M, S, A
PRIORS = ("learned", "given")
PAPER_SURROGATES = ("relu", "delu", "dnl")  # those that the paper compares


@dataclass(frozen=True)
class Architecture:
    """Sizes of the surrogate networks.

    Attributes:
        hidden: widths of the hidden layers.
        split: DNL: how many hidden layers form the lower part, from 1 to `len(hidden) - 1`.
        hyper: widths of the hidden layers of DNL's hyper-network and of DeLU's bias network.
        pattern_gradient: `"none"` or `"straight-through"`; see `dnl.layers.ActivationPattern`. None
            for the recipe's.
        choices: posterior-dnl and follower-dnl: actions that a follower may be given, at least 2;
            None for four more than twice those of the game.
        followers: follower-dnl: number of followers; None for 1 where there is one leader, else 12.
        prior: posterior-dnl: `"learned"`, or `"given"`: the network is told the game's.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    split: int = 1
    hyper: tuple[int, ...] = (32, 32)
    pattern_gradient: str | None = None
    choices: int | None = None
    followers: int | None = None
    prior: str = "learned"

    def __post_init__(self) -> None:
        for name in ("hidden", "hyper"):
            widths = getattr(self, name)
            if not isinstance(widths, Sequence) or isinstance(widths, str | bytes):
                raise ValueError(f"{name} must be a sequence of widths, got {widths!r}")
            if not widths or any(type(width) is not int or width < 1 for width in widths):
                raise ValueError(f"{name} must hold widths of at least 1, got {widths!r}")
            object.__setattr__(self, name, tuple(widths))
        if type(self.split) is not int or not 1 <= self.split <= max(1, len(self.hidden) - 1):
            raise ValueError(
                f"split must lie in 1..{len(self.hidden) - 1}, the number of hidden layers less 1, "
                f"got {self.split!r}"
            )
        if self.pattern_gradient is not None:
            checks.one_of("pattern_gradient", self.pattern_gradient, PATTERN_GRADIENTS)
        if self.choices is not None:
            checks.positive_integer("choices", self.choices, least=2)
        if self.followers is not None:
            checks.positive_integer("followers", self.followers)
        checks.one_of("prior", self.prior, PRIORS)

    def choices_of(self, shape: Shape) -> int:
        """The actions that a learned follower may be given in games of `shape`."""
        return 2 * shape[3] + 4 if self.choices is None else self.choices


def any_game(game: FollowerGame) -> str | None:
    """No reason to refuse a game."""
    return None


@dataclass(frozen=True, eq=False, kw_only=True)
class Surrogate:
    """One kind of network that can be fitted to games.

    Attributes:
        name: what users call it.
        build: from a game's shape (N, M, S, A) and the sizes to a network. Its input is a flattened
            joint policy `(..., N * S * M)`, its output one utility `(..., 1)` if `per_sender`, else
            those of all senders `(..., N)`. A network may have methods that fitting asks for:
            see `dnl.training.regression` and `dnl.surrogates.fitting`.
        recipes: how it is trained: `"paper"` and `"tuned"`, which may be the same.
        per_sender: whether a game takes one network for each sender, or one for all.
        refusal: why it cannot be fitted to a game ("is for ... only"); None where it can.
        label, colour, marker: in figures; the colour as "#RRGGBB", the marker as matplotlib's.

    Raises:
        ValueError: for a field that is missing or of a wrong kind.
    """

    name: str = REQUIRED
    build: Callable[[Shape, Architecture], nn.Module] = REQUIRED
    recipes: Mapping[str, Recipe] = REQUIRED
    per_sender: bool = REQUIRED
    refusal: Callable[[FollowerGame], str | None] = any_game
    label: str = REQUIRED
    colour: str = REQUIRED
    marker: str = REQUIRED

    def __post_init__(self) -> None:
        for field in ("name", "label", "colour", "marker"):
            checks.filled(field, getattr(self, field))
        if not re.fullmatch("#[0-9A-Fa-f]{6}", self.colour):
            raise ValueError(f"colour must be '#RRGGBB', got {self.colour!r}")
        for field in ("build", "refusal"):
            checks.function(field, getattr(self, field))
        checks.instance("per_sender", self.per_sender, bool)
        if not isinstance(self.recipes, Mapping) or {
            name: type(recipe) for name, recipe in self.recipes.items()
        } != dict.fromkeys(RECIPE_NAMES, Recipe):
            raise ValueError(
                f"recipes must hold a Recipe for each of {RECIPE_NAMES}, got {shown(self.recipes)}"
            )


SURROGATES: Registry[Surrogate] = Registry(Surrogate)
register = SURROGATES.register  # in this process: workers have to register what they compute


def make_surrogate(name: str, shape: Shape, architecture: Architecture | None = None) -> nn.Module:
    """The network called `name` for games of `shape`; initialised from torch's global seed.

    In float32, whatever the default dtype.

    Args:
        name: out of `SURROGATES`.
        shape: `(N, M, S, A)`.
        architecture: its sizes.

    Raises:
        ValueError: for an unknown name, or a malformed shape.
    """
    check_surrogate(name)
    sizes = Architecture() if architecture is None else architecture
    checks.instance("architecture", sizes, Architecture)
    return _built(SURROGATES[name], _four_sizes(shape), sizes)


@single_by_default()
def _built(surrogate: Surrogate, shape: Shape, architecture: Architecture) -> nn.Module:
    network = surrogate.build(shape, architecture)
    return checks.instance(
        f"what build of surrogate {surrogate.name!r} returns", network, nn.Module
    )


def network_shape(name: str, shape: Shape, architecture: Architecture) -> tuple[object, ...]:
    """What games must share to have their networks called `name` trained as one stack.

    The profiles' `(N, M, S)` and the names and shapes of all values that such a network holds.
    relu, delu and dnl do not depend on the number of actions; posterior-dnl and follower-dnl do,
    unless `architecture.choices` is given.
    """
    check_surrogate(name)
    checks.instance("architecture", architecture, Architecture)
    return _network_shape(SURROGATES[name], _four_sizes(shape), architecture)


def _four_sizes(shape: object) -> Shape:
    """`shape` if it is `(N, M, S, A)`."""
    sizes = checks.sequence("shape", shape)
    if len(sizes) != 4:
        raise ValueError(f"shape must be (N, M, S, A), got {checks.shown(shape)}")
    n, m, s, a = (checks.positive_integer("each size in shape", size) for size in sizes)
    return n, m, s, a


@cache
def _network_shape(
    surrogate: Surrogate, shape: Shape, architecture: Architecture
) -> tuple[object, ...]:
    with torch.device("meta"):  # no values, and no random numbers drawn
        network = _built(surrogate, shape, architecture)
    values = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
    return *shape[:3], values


def networks_per_game(name: str, n_senders: int) -> int:
    """One network for each sender, or one for all."""
    check_surrogate(name)
    checks.positive_integer("n_senders", n_senders)
    return n_senders if SURROGATES[name].per_sender else 1


def check_surrogate(name: str, argument: str = "surrogate") -> None:
    """Raise a ValueError, about `argument`, unless `name` is a known surrogate."""
    checks.one_of(argument, name, tuple(SURROGATES))


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    checks.instance("network", network, nn.Module)
    return sum(parameter.numel() for parameter in network.parameters())
