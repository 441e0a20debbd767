"""How figures of equilibria show actions, probabilities and long names."""

import textwrap
from typing import Any

from dnl.reporting import palette
from games import PersuasionGame

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
    """A long name in several lines."""
    return textwrap.fill(text, width, break_long_words=False) or text


def share(value: float) -> str:
    """A probability in a cell: two decimals, without the 0 before the point."""
    text = f"{value:.2f}"
    if value == 1:
        return "1"
    if value < 0.005:
        return "<.01" if value > 0 else "0"
    return ">.99" if text == "1.00" else text.removeprefix("0")
