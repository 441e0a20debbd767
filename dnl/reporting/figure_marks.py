"""How figures of equilibria show actions, probabilities and long names."""

import textwrap
from collections.abc import Callable
from functools import wraps
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from dnl.equilibria import Equilibrium
from dnl.reporting import palette
from games import PersuasionGame, checks

MAX_NUMBERS = 120  # most cells of a heat map in which numbers are printed
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


def action_marker(game: PersuasionGame, action: int) -> dict[str, Any]:
    """Arguments of `plot` for the marker of an action."""
    style = palette.action(action, game.labels.actions[action])
    return {
        "marker": style.marker,
        "color": style.colour,
        "markeredgecolor": "black",
        "linestyle": "none",
    }


def action_colour(action: int) -> str:
    """Colours repeat after some actions: markers and names tell those apart."""
    return palette.action(action).colour


def wrapped(text: str, width: int) -> str:
    """A long name in several lines; a very long word is broken."""
    endless = any(len(word) > 2 * width for word in text.split())
    return textwrap.fill(text, width, break_long_words=endless) or text


def of_equilibrium(figure: Callable[[Equilibrium], Figure]) -> Callable[[Equilibrium], Figure]:
    """`figure` with its argument checked, and with names shown as they are.

    Matplotlib takes what stands between two dollar signs for a formula, as in "$5 or $7".
    """

    @wraps(figure)
    def drawn(equilibrium: Equilibrium) -> Figure:
        checks.instance("equilibrium", equilibrium, Equilibrium)
        with rc_context({"text.parse_math": False}):
            return figure(equilibrium)

    return drawn


def share(value: float) -> str:
    """A probability in a cell: two decimals, without the 0 before the point."""
    text = f"{value:.2f}"
    if value == 1:
        return "1"
    if value < 0.005:
        return "<.01" if value > 0 else "0"
    return ">.99" if text == "1.00" else text.removeprefix("0")
