"""One style for each thing that figures show, and the one order in which they show it.

A style is a label, a colour, a marker, a line and whether the marker is filled. `style(name)` takes
a name as tables write it: of a surrogate, a method, a comparison value, a status or a stage of a
computation, and possibly a variant of it after a comma ("dnl, paper", "true game, solved"): the
same colour and marker, with another line or a hollow marker. `ordered(names)` sorts them: our
networks and methods, DNL, DeLU, ReLU, other surrogates, random starts, full revelation, no
information, the papers' methods, the true game, bounds and published values.

Methods have the colours of Okabe and Ito and of Tol's muted set, players those of Tol's vibrant
set, and actions those of his light set, so that no colour means two things. All sets stay apart
under the common colour-vision deficiencies. What one figure compares differs in markers too, which
a print in grey keeps. Styles of surrogates are registered with them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from dnl.surrogates import SURROGATES


@dataclass(frozen=True)
class Style:
    """How a figure shows one thing.

    Attributes:
        label: its name in the legend.
        colour: "#RRGGBB".
        marker: matplotlib's.
        line: matplotlib's line style.
        filled: whether the marker is filled, with its colour; otherwise with white.
    """

    label: str
    colour: str
    marker: str
    line: str = "-"
    filled: bool = True

    @property
    def marks(self) -> dict[str, Any]:
        """Arguments for `plot` and `errorbar`, without the label and without a line."""
        face = self.colour if self.filled else "white"
        edge = {"markeredgecolor": self.colour, "markerfacecolor": face}
        return {"color": self.colour, "marker": self.marker, "linestyle": "none"} | edge

    @property
    def curve(self) -> dict[str, Any]:
        """Arguments for `plot` and `errorbar`, without the label and with a line."""
        return self.marks | {"linestyle": self.line}

    @property
    def dots(self) -> dict[str, Any]:
        """Arguments for `scatter`, without the label."""
        if self.marker in "x+_|1234":  # they have no inside
            return {"color": self.colour, "marker": self.marker}
        face = self.colour if self.filled else "white"
        return {"edgecolors": self.colour, "facecolors": face, "marker": self.marker}


OURS = Style("Ours", "#D55E00", "o")
RANDOM = Style("Random starts", "#A0A0A0", "X")
FULL_REVELATION = Style("Full revelation", "#000000", "D")
NO_INFORMATION = Style("No information", "#666666", "p")
PAPER_METHOD = Style("The paper's method", "#332288", "<")
MODEL_R = Style("ModelR", "#44AA99", ">")
INFO_Q = Style("Info-Q", "#AA4499", "h")
INFO_POLICY = Style("Info-Policy", "#999933", "1")
TRUE_GAME = Style("True game", "#882255", "d")
BOUND = Style("Proven optimum or bound", "#000000", "_", "--")
PUBLISHED = Style("As published", "#888888", "x", ":")

_NETWORKS = ("posterior-dnl", "follower-dnl", "dnl", "delu", "relu")  # then all other surrogates
_BEFORE = {
    "find_equilibria": replace(OURS, label="find_equilibria"),
    "ours": OURS,
    "asking": replace(OURS, label="Ours, asking the receiver"),
    "gradients": replace(OURS, label="Ours, gradients"),
    "exact": Style("Ours, branch and bound", "#56B4E9", "*"),
}
_AFTER = {
    "random starts": RANDOM,
    "best random start": replace(RANDOM, label="Best random start not refuted"),
    "mean random start": replace(RANDOM, label="Mean of all random starts", filled=False),
    "random profiles": replace(RANDOM, label="Random profiles"),
    "full revelation": FULL_REVELATION,
    "no information": NO_INFORMATION,
    "alternating": PAPER_METHOD,
    "paper": PAPER_METHOD,
    "model-r": MODEL_R,
    "info-q": INFO_Q,
    "info-policy": INFO_POLICY,
    "true game": TRUE_GAME,
    "the game itself": TRUE_GAME,
    "enumeration": replace(TRUE_GAME, label="Enumerated block profiles", marker="+"),
    "optimum": replace(BOUND, label="Proven optimum"),
    "bound": replace(BOUND, label="Proven upper bound"),
    "ceiling": replace(BOUND, label="What no profile exceeds"),
    "published": PUBLISHED,
    "simulation": Style("Simulation", "#000000", "p"),
    "estimation": Style("Estimation", "#999933", "8"),
    "its least squares": Style("Least squares of Posterior DNL", "#882255", "X", "--"),
    "extra-gradient": Style("Extra-gradient", "#44AA99", "<"),
    "verification": Style("Verification", "#888888", "h"),
    "certified": Style("Certified", "#009988", "o"),
    "optimal": Style("Solved exactly", "#009988", "o"),
    "undecided": Style("Undecided", "#BBBBBB", "s"),
    "time limit": Style("Stopped by its time limit", "#BBBBBB", "s"),
    "refuted": Style("Refuted", "#CC3311", "X"),
    "error": Style("Failed", "#EE3377", "*"),
}
_LEARNED = {  # other names of a network's games: the surrogate, the label, whether filled
    "learned game": ("posterior-dnl", "Posterior DNL's game", True),
    "learned from a tenth": (
        "posterior-dnl",
        "Posterior DNL's game, a tenth of the samples",
        False,
    ),
}
_VARIANTS = {  # after a comma: words of the label, line, whether filled; in this order
    "tuned": ("tuned recipe", "-", True),
    "paper": ("the paper's recipe", "--", False),
    "tenth": ("a tenth of the samples", ":", False),
    "solved": ("solved", "-", True),
    "program": ("solved exactly", "-", True),
    "ascent": ("gradient ascent", "--", False),
}
_UNKNOWN = (("#997700", "H"), ("#117733", "8"), ("#CC6677", "2"), ("#6699CC", "3"))

_SENDERS = ("#EE7733", "#0077BB", "#EE3377", "#33BBEE", "#009988", "#CC3311")
_ACTIONS = ("#77AADD", "#EE8866", "#EEDD88", "#44BB99", "#FFAABB", "#99DDFF", "#BBCC33", "#AAAA00")
_MARKERS = "os^Dv*P"  # seven: with six or eight colours they repeat late
RECEIVER = Style("receiver", "#666666", "h")
WELFARE = Style("welfare", "#000000", "X")


def style(name: str, label: str | None = None) -> Style:
    """The style of `name`, with another `label` if one is given; see `styles`."""
    found = styles([name])[name]
    return found if label is None else replace(found, label=label)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """The styles of `names`, each once, in the order of the library (see the module).

    What the library does not know is labelled by its name, and has a colour and a marker of its
    own, which depend on the other unknown names.
    """
    names = ordered(names)
    bases = dict.fromkeys(_split(name)[0] for name in names)
    unknown = [base for base in bases if _known(base) is None]
    spare = {base: Style(base, *look) for base, look in zip(unknown, cycle(_UNKNOWN), strict=False)}
    found = {}
    for name in names:
        base, variant = _split(name)
        known = _known(base) or spare[base]
        if variant is not None:
            words, line, filled = _VARIANTS[variant]
            label, hollow = f"{known.label}, {words}", not (filled and known.filled)
            known = replace(known, label=label, line=line, filled=not hollow)
        found[name] = known
    return found


def ordered(names: Iterable[str]) -> list[str]:
    """`names`, each once, in the order of the library: see the module. Names that it does not know
    follow the surrogates, by alphabet."""
    surrogates = [*_NETWORKS, *(name for name in SURROGATES if name not in _NETWORKS)]
    order = [*_BEFORE, *surrogates, None, *_AFTER]  # None: the place of unknown names
    variants = [None, *_VARIANTS]

    def place(name: str) -> tuple[int, str, bool, int]:
        base, variant = _split(name)
        network, _, filled = _LEARNED.get(base, (base, "", True))
        known = network if network in order else None
        unknown = base if known is None else ""
        own = base in _LEARNED  # a network's game follows the network
        return order.index(known), unknown, own, 2 * variants.index(variant) + (not filled)

    return sorted(dict.fromkeys(names), key=place)


def surrogate_styles(names: Iterable[str]) -> dict[str, Style]:
    """The styles of all registered surrogates, and of `names`, in the order of the library."""
    return styles([*SURROGATES, *names])


def sender(index: int, label: str | None = None) -> Style:
    """The style of the sender of an index, labelled "sender 0" unless a `label` is given."""
    return _numbered(index, _SENDERS, label or f"sender {index}")


def action(index: int, label: str | None = None) -> Style:
    """The style of the action of an index, labelled "action 0" unless a `label` is given.

    The colours are light, for areas with black text; colours repeat after eight actions, and colour
    and marker together after 56.
    """
    return _numbered(index, _ACTIONS, label or f"action {index}")


def _numbered(index: int, colours: tuple[str, ...], label: str) -> Style:
    return Style(label, colours[index % len(colours)], _MARKERS[index % len(_MARKERS)])


def _split(name: str) -> tuple[str, str | None]:
    """A name's base, and the variant after its last comma, if there is one."""
    base, _, variant = name.rpartition(", ")
    return (base, variant) if base and variant in _VARIANTS else (name, None)


def _known(base: str) -> Style | None:
    if base in SURROGATES:
        surrogate = SURROGATES[base]
        return Style(surrogate.label, surrogate.colour, surrogate.marker)
    if base in _LEARNED:
        network, label, filled = _LEARNED[base]
        known = _known(network)
        return known and replace(known, label=label, filled=filled)
    return (_BEFORE | _AFTER).get(base)
