"""ReLU: a continuous network for each sender's utility."""

from collections.abc import Sequence
from math import prod

from torch import nn

from dnl.layers import Linear, relu_mlp, shapes
from dnl.surrogates.registry import Surrogate
from dnl.training.recipes import PAPER, Recipe
from games import checks


class ReLUNetwork(nn.Sequential):
    """Fully connected, `(..., in_features) -> (..., 1)`: continuous and piecewise linear."""

    stackable = True

    def __init__(self, in_features: int, hidden: Sequence[int] = (64, 64, 64)) -> None:
        widths = shapes.widths("hidden", hidden)
        super().__init__(
            relu_mlp([checks.positive_integer("in_features", in_features), *widths]),
            Linear(widths[-1], 1),
        )


RELU = Surrogate(
    name="relu",
    build=lambda shape, sizes: ReLUNetwork(prod(shape[:3]), sizes.hidden),
    # At the paper's rate networks of 200 inputs, N = 2 and (10, 10, 10), learn nothing, and at a
    # tenth of it 40 %; of 8 inputs, (2, 2, 2), that rate with a cosine is best for ReLU and DeLU.
    recipes={"paper": PAPER, "tuned": Recipe(lr=0.01, lr_inputs=0.2, last=0.01)},
    per_sender=True,
    label="ReLU",
    colour="#E69F00",
    marker="v",
)
