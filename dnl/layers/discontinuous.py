"""The DNL: the activation pattern of its lower part determines the weights of its upper part."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from dnl.layers import shapes
from dnl.layers.emitted import EmittedLinear
from dnl.layers.patterns import PATTERN_GRADIENTS, PatternedMLP, relu_mlp
from games import checks


class DiscontinuousMLP(nn.Module):
    """DNL: the lower part's activation pattern decides the weights of the upper part.

    Inputs of one pattern share one upper network, which is a piecewise linear function of its own;
    across a boundary between patterns the upper network changes, so the output jumps.

    Args:
        in_features, out_features: of the whole network.
        lower: widths of the lower part's hidden layers, at least one.
        upper: widths of the upper part's hidden layers, at least one: with none, a piece would be
            linear (paper, section 4.1).
        hyper: widths of the hyper-network's hidden layers, at least one.
        pattern_gradient: see `ActivationPattern`.
    """

    stackable = True  # see `dnl.layers.stack.NetworkStack`

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lower: Sequence[int] = (64,),
        upper: Sequence[int] = (64, 64),
        hyper: Sequence[int] = (32, 32),
        pattern_gradient: str = "none",
    ) -> None:
        super().__init__()
        in_features = checks.positive_integer("in_features", in_features)
        out_features = checks.positive_integer("out_features", out_features)
        lower, upper = shapes.widths("lower", lower), shapes.widths("upper", upper)
        hyper = shapes.widths("hyper", hyper)
        checks.one_of("pattern_gradient", pattern_gradient, PATTERN_GRADIENTS)
        self.lower = PatternedMLP([in_features, *lower], pattern_gradient)
        self.hyper = relu_mlp([self.lower.pattern_features, *hyper])
        widths = [lower[-1], *upper, out_features]
        self.upper = nn.ModuleList(EmittedLinear(a, b, hyper[-1]) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., out_features)`."""
        x, pattern = self.lower(x)
        context = self.hyper(pattern)
        for layer in self.upper[:-1]:
            x = functional.relu(layer(x, context))
        return self.upper[-1](x, context)

    def emitted(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the upper part at each input `(..., in_features)`."""
        _, pattern = self.lower(x)
        context = self.hyper(pattern)
        return [layer.emit(context) for layer in self.upper if isinstance(layer, EmittedLinear)]
