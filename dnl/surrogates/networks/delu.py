"""DeLU: a ReLU network with a bias that jumps, for each sender's utility (Wang et al., 2024a)."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from dnl.layers import PATTERN_GRADIENTS, Linear, PatternBias, PatternedMLP, shapes
from dnl.surrogates.registry import Architecture, Shape, Surrogate
from dnl.training.recipes import PAPER, Recipe
from games import checks


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
        checks.one_of("pattern_gradient", pattern_gradient, PATTERN_GRADIENTS)
        inputs = checks.positive_integer("in_features", in_features)
        widths = shapes.widths("hidden", hidden)
        of_bias = shapes.widths("bias_hidden", bias_hidden, least=0)
        self.hidden = PatternedMLP([inputs, *widths], pattern_gradient)
        self.output = Linear(widths[-1], 1, bias=False)
        self.bias = PatternBias(self.hidden.pattern_features, 1, of_bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., 1)`."""
        x, pattern = self.hidden(x)
        return self.output(x) + self.bias(pattern)


def build(shape: Shape, sizes: Architecture) -> DeLUNetwork:
    """The network of one sender."""
    gradient = sizes.pattern_gradient or "none"
    return DeLUNetwork(prod(shape[:3]), sizes.hidden, sizes.hyper, gradient)


TUNED = Recipe(lr=0.01, lr_inputs=0.2, last=0.01, pattern_gradient="straight-through")
DELU = Surrogate(
    name="delu",
    build=build,
    recipes={"paper": PAPER, "tuned": TUNED},
    per_sender=True,
    label="DeLU",
    colour="#009E73",
    marker="s",
)
