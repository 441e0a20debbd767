"""One colour and one marker for each thing that figures show, the same in every figure.

The colours are Okabe and Ito's, then Tol's: they stay apart under the common colour-vision
deficiencies. Those of surrogates are registered with them; comparison values are grey or black.
"""

from collections.abc import Iterable
from itertools import cycle
from typing import NamedTuple

from dnl.surrogates import SURROGATES


class Style(NamedTuple):
    """How a figure shows one thing: its name in the legend, and matplotlib's colour and marker."""

    label: str
    colour: str
    marker: str


FULL_REVELATION = Style("Full revelation", "#000000", "D")
NO_INFORMATION = Style("No information", "#666666", "v")
RANDOM = Style("Random starts", "#BBBBBB", "X")
BOUND = Style("optimum or bound", "#000000", "_")  # that is proven
PUBLISHED = Style("as published", "#888888", "x")
TRUE_GAME = Style("true game", "#882255", "d")
OURS = Style("ours", "#D55E00", "o")
PAPER_METHOD = Style("the paper's method", "#332288", "s")
MODEL_R = Style("ModelR", "#44AA99", "^")
INFO_Q = Style("Info-Q", "#AA4499", "v")
INFO_POLICY = Style("Info-Policy", "#999933", "D")

# For what has no colour of its own, such as actions and the stages of a computation.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#666666"),
    *("#882255", "#999933", "#332288", "#44AA99"),
)
_UNREGISTERED = (("#882255", "h"), ("#44AA99", "p"), ("#999933", "<"), ("#F0E442", ">"))


def surrogate_styles(names: Iterable[str]) -> dict[str, Style]:
    """The registered surrogates in their order, then those of `names` that are not registered."""
    known = {name: Style(s.label, s.colour, s.marker) for name, s in SURROGATES.items()}
    others = sorted(set(names) - set(known))
    spare = zip(others, cycle(_UNREGISTERED), strict=False)
    return known | {name: Style(name, *style) for name, style in spare}
