"""The paper's three networks for a sender's ex-ante utility, by name.

Each maps a flattened joint policy `(..., N * S * M)` to one utility `(..., 1)`. Standard sizes are
the paper's (section 5.1): three hidden layers of 64 ReLU units; DNL's lower part is the first, and
its hyper-network has two hidden layers of 32. Same widths are not same sizes: DNL has many times
the parameters of ReLU, so report `parameter_count` beside every comparison.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from dnl.layers import PATTERN_GRADIENTS, DiscontinuousMLP, PatternBias, PatternedMLP, relu_mlp
from games import checks


@dataclass(frozen=True)
class Architecture:
    """Sizes of the surrogate networks.

    Attributes:
        hidden: widths of the hidden layers.
        split: DNL: how many hidden layers form the lower part, from 1 to `len(hidden) - 1`.
        hyper: widths of the hidden layers of DNL's hyper-network and of DeLU's bias network.
        pattern_gradient: `"none"` or `"straight-through"`; see `dnl.layers.ActivationPattern`.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    split: int = 1
    hyper: tuple[int, ...] = (32, 32)
    pattern_gradient: str = "none"

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
        if self.pattern_gradient not in PATTERN_GRADIENTS:
            raise ValueError(
                f"pattern_gradient must be one of {PATTERN_GRADIENTS}, "
                f"got {self.pattern_gradient!r}"
            )


class ReLUNetwork(nn.Sequential):
    """Fully connected, `(..., in_features) -> (..., 1)`: continuous and piecewise linear."""

    def __init__(self, in_features: int, hidden: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__(relu_mlp([in_features, *hidden]), nn.Linear(hidden[-1], 1))


class DeLUNetwork(nn.Module):
    """A ReLU network whose last bias depends on its activation pattern (Wang et al., 2024a).

    Discontinuous, but linear inside each piece.
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int] = (64, 64, 64),
        bias_hidden: Sequence[int] = (32, 32),
        pattern_gradient: str = "none",
    ) -> None:
        super().__init__()
        self.hidden = PatternedMLP([in_features, *hidden], pattern_gradient)
        self.output = nn.Linear(hidden[-1], 1, bias=False)
        self.bias = PatternBias(self.hidden.pattern_features, 1, bias_hidden)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., 1)`."""
        x, pattern = self.hidden(x)
        return self.output(x) + self.bias(pattern)


def _relu(in_features: int, a: Architecture) -> nn.Module:
    return ReLUNetwork(in_features, a.hidden)


def _delu(in_features: int, a: Architecture) -> nn.Module:
    return DeLUNetwork(in_features, a.hidden, a.hyper, a.pattern_gradient)


def _dnl(in_features: int, a: Architecture) -> nn.Module:
    lower, upper = a.hidden[: a.split], a.hidden[a.split :]
    return DiscontinuousMLP(in_features, 1, lower, upper, a.hyper, a.pattern_gradient)


# Adding a network here enrols it in the benchmark's choices and in the contract tests.
SURROGATES: Mapping[str, Callable[[int, Architecture], nn.Module]] = MappingProxyType(
    {"relu": _relu, "delu": _delu, "dnl": _dnl}
)


def make_surrogate(
    name: str, in_features: int, architecture: Architecture | None = None
) -> nn.Module:
    """The network called `name` for inputs of `in_features`; initialised from torch's global seed.

    Raises:
        ValueError: for an unknown name.
    """
    check_surrogate(name)
    return SURROGATES[name](in_features, architecture or Architecture())


def check_surrogate(name: str, argument: str = "surrogate") -> None:
    """Raise a ValueError, about `argument`, unless `name` is a known surrogate."""
    checks.one_of(argument, name, tuple(SURROGATES))


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
