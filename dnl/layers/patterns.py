"""Activation patterns, ReLU layers that return their pattern, and biases that depend on it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnl.layers import shapes
from dnl.layers.linear import Linear
from games import checks

PATTERN_GRADIENTS = ("none", "straight-through")


class ActivationPattern(nn.Module):
    """The 0/1 pattern of units with a positive pre-activation (Definition 4), `(..., H)` to same.

    Args:
        gradient: `"none"`: the pattern is piecewise constant and passes no gradient, the text read
            literally. `"straight-through"`: the same hard pattern forward, the derivative of a
            sigmoid backward, so that what the pattern steers can move the cliffs. The gradient is
            then not that of the function; do not use it where an exact one is needed.
        slope: of that sigmoid's argument in the pre-activation.
    """

    stackable = True  # see `dnl.layers.stack.NetworkStack`

    def __init__(self, gradient: str = "none", slope: float = 1.0) -> None:
        super().__init__()
        checks.one_of("gradient", gradient, PATTERN_GRADIENTS)
        self.gradient = gradient
        self.slope = checks.positive_number("slope", slope)

    def forward(self, preactivation: Tensor) -> Tensor:
        """Pattern of `preactivation`, of the same shape and dtype."""
        shapes.floating("preactivation", preactivation)
        hard = (preactivation > 0).to(preactivation.dtype)
        if self.gradient == "none":
            return hard
        soft = (self.slope * preactivation).sigmoid()
        return hard + (soft - soft.detach())  # in brackets: exactly `hard` in value

    def extra_repr(self) -> str:
        return f"gradient={self.gradient!r}, slope={self.slope}"


class PatternedMLP(nn.Module):
    """ReLU layers that return their last activations and the activation pattern of all of them.

    Args:
        sizes: features of the input and of each hidden layer, at least two numbers.
        pattern_gradient: see `ActivationPattern`.
    """

    stackable = True  # see `dnl.layers.stack.NetworkStack`

    def __init__(self, sizes: Sequence[int], pattern_gradient: str = "none") -> None:
        super().__init__()
        sizes = shapes.widths("sizes", sizes, least=2)
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(sizes))
        self.pattern = ActivationPattern(pattern_gradient)
        self.pattern_features = sum(sizes[1:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(..., sizes[0])` to activations `(..., sizes[-1])`, pattern `(..., sum(sizes[1:]))`."""
        patterns = []
        for layer in self.layers:
            x = layer(x)
            patterns.append(self.pattern(x))
            x = functional.relu(x)
        return x, torch.cat(patterns, -1)


class PatternBias(nn.Sequential):
    """A bias from a small network of an activation pattern: the discontinuity of DeLU.

    Maps `(..., pattern_features)` to `(..., out_features)`.

    Args:
        pattern_features: features of the pattern.
        out_features: of the bias.
        hidden: widths of the network's hidden layers.
    """

    stackable = True

    def __init__(
        self, pattern_features: int, out_features: int, hidden: Sequence[int] = (32, 32)
    ) -> None:
        first = checks.positive_integer("pattern_features", pattern_features)
        checks.positive_integer("out_features", out_features)
        widths = [first, *shapes.widths("hidden", hidden, least=0)]
        super().__init__(relu_mlp(widths), Linear(widths[-1], out_features))

    @torch.no_grad()
    def scale_context(self, factor: float) -> None:
        """Multiply what the pattern contributes."""
        factor = checks.positive_number("factor", factor, allow_zero=True)
        cast(Linear, self[-1]).weight.mul_(factor)


def relu_mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers between `sizes`, each followed by a ReLU.

    Args:
        sizes: features of the input and of each layer; with the input's alone there is no layer.
    """
    sizes = shapes.widths("sizes", sizes)
    steps: list[nn.Module] = []
    for a, b in pairwise(sizes):
        steps += [Linear(a, b), nn.ReLU()]
    return nn.Sequential(*steps)
