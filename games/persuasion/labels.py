"""Names of a game's states, actions, senders and signals, for people to read.

Names are no part of the game: two games that differ in nothing else are equal.
"""

from dataclasses import dataclass
from reprlib import Repr

# Arguments of `PersuasionGame` that hold names.
NAMES = ("state_names", "action_names", "sender_names", "signal_names")

_brief = Repr()
_brief.maxtuple = 3
_brief.maxstring = 30


@dataclass(frozen=True)
class Labels:
    """What to call each state, action, sender and signal of a game.

    The names that the game was given, or `"state 0"`, `"state 1"`, and so on.

    Attributes:
        states: `S` strings.
        actions: `A` strings.
        senders: `N` strings.
        signals: `M` strings; all senders have the same signals.
    """

    states: tuple[str, ...]
    actions: tuple[str, ...]
    senders: tuple[str, ...]
    signals: tuple[str, ...]


def numbered(kind: str, count: int) -> tuple[str, ...]:
    """`"state 0"`, `"state 1"`, ...: `count` labels of things without names."""
    return tuple(f"{kind} {index}" for index in range(count))


def shown(names: tuple[str, ...]) -> str:
    """`names` as `repr` of a game shows them: the first three where there are many."""
    return _brief.repr(names)
