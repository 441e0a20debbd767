"""DNL, the paper's discontinuous network (section 4.1), for each sender's utility."""

from math import prod

from dnl.layers import DiscontinuousMLP
from dnl.surrogates.registry import Architecture, Shape, Surrogate
from dnl.training.recipes import PAPER, Recipe


def build(shape: Shape, sizes: Architecture) -> DiscontinuousMLP:
    """The network of one sender."""
    lower, upper = sizes.hidden[: sizes.split], sizes.hidden[sizes.split :]
    gradient = sizes.pattern_gradient or "none"
    return DiscontinuousMLP(prod(shape[:3]), 1, lower, upper, sizes.hyper, gradient)


TUNED = Recipe(lr=0.003, lr_inputs=0.2, last=0.01, pattern_gradient="straight-through")
DNL = Surrogate(
    name="dnl",
    build=build,
    recipes={"paper": PAPER, "tuned": TUNED},
    per_sender=True,
    label="DNL",
    colour="#0072B2",
    marker="^",
)
