"""The palette: one order, labels that a reader would write, styles that stay apart."""

import itertools

import pytest
from matplotlib.colors import is_color_like, to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from dnl.reporting import palette
from dnl.surrogates import SURROGATES

ORDER = ["find_equilibria", "posterior-dnl", "follower-dnl", "dnl", "delu", "relu", "mine", "zzz"]
ORDER += ["random starts", "full revelation", "no information", "alternating", "model-r"]
ORDER += ["true game", "optimum", "published"]
COMPARED = [  # what single figures of the library compare
    [*SURROGATES, "random starts", "full revelation", "no information"],
    ["asking", "alternating", "model-r", "info-q", "info-policy", "optimum", "published"],
    ["ours", "exact", "alternating", "bound"],
    ["find_equilibria", "enumeration", "dnl", "random profiles", "ceiling"],
    ["certified", "undecided", "refuted", "error"],
    [*SURROGATES, "simulation", "estimation", "its least squares", "extra-gradient"],
    [*SURROGATES, "verification"],
]


def brightness(colour: str) -> float:
    """Of a print in grey, from 0 to 1 (Rec. 601)."""
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_one_order_whatever_the_order_of_the_names() -> None:
    assert palette.ordered(reversed([*ORDER, *ORDER])) == ORDER
    assert list(palette.styles(sorted(ORDER))) == ORDER
    variants = ["posterior-dnl", "posterior-dnl, tenth", "learned game, solved"]
    variants += ["learned from a tenth, solved", "dnl, tuned", "dnl, paper", "dnl, ascent"]
    variants += ["true game, solved", "true game, ascent"]
    assert palette.ordered(sorted(variants)) == variants


@pytest.mark.parametrize("names", COMPARED)
def test_what_a_figure_compares_differs_also_in_grey(names: list[str]) -> None:
    styles = palette.styles(names)
    for first, second in itertools.combinations(styles.values(), 2):
        assert first.label != second.label
        assert first.marker != second.marker or first.filled != second.filled


def test_surrogates_differ_in_colour() -> None:
    styles = palette.surrogate_styles(["one", "two"]).values()
    assert len({style.colour for style in styles}) == len(styles) == len(SURROGATES) + 2


def test_every_style_can_be_drawn_on_white() -> None:
    names = [name for group in COMPARED for name in group] + ["unknown", "dnl, paper"]
    styles = [*palette.styles(names).values(), palette.WELFARE, palette.RECEIVER]
    axes = Figure().subplots()
    for style in [*styles, *map(palette.sender, range(9)), *map(palette.action, range(60))]:
        assert is_color_like(style.colour)
        MarkerStyle(style.marker)
        axes.plot([0], [0], label=style.label, **style.curve)
        axes.scatter([0], [0], label=style.label, **style.dots)
    assert all(brightness(style.colour) < 0.75 for style in styles)
    axes.figure.canvas.draw()


def test_variants_share_colour_and_marker() -> None:
    base, tuned, paper = (palette.style(f"dnl{variant}") for variant in ("", ", tuned", ", paper"))
    assert {base.colour, tuned.colour, paper.colour} == {SURROGATES["dnl"].colour}
    assert {base.marker, tuned.marker, paper.marker} == {SURROGATES["dnl"].marker}
    assert (base.label, tuned.label) == ("DNL", "DNL, tuned recipe")
    assert paper.label == "DNL, the paper's recipe"
    assert (tuned.filled, paper.filled) == (True, False)
    assert tuned.line != paper.line
    learned, few = (palette.style(f"learned {which}, solved") for which in ("game", "from a tenth"))
    assert learned.colour == few.colour == SURROGATES["posterior-dnl"].colour
    assert (learned.filled, few.filled) == (True, False)
    assert few.label == "Posterior DNL's game, a tenth of the samples, solved"


def test_unknown_names_keep_their_commas_and_can_be_labelled() -> None:
    assert palette.style("mine, anyhow").label == "mine, anyhow"
    assert palette.style("mine, paper").label == "mine, the paper's recipe"
    assert palette.style("mine", "My network").label == "My network"


def test_senders_and_actions_have_names() -> None:
    assert [palette.sender(k).label for k in range(2)] == ["sender 0", "sender 1"]
    assert palette.sender(1, "Prosecutor").label == "Prosecutor"
    assert palette.action(3, "convict").label == "convict"
    looks = {(style.colour, style.marker) for style in map(palette.action, range(56))}
    assert len(looks) == 56
    methods = {style.colour for style in palette.surrogate_styles(()).values()}
    assert not methods & {palette.action(k).colour for k in range(9)}
    assert not methods & {palette.sender(k).colour for k in range(9)}
