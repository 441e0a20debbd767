"""Check that an argument is a persuasion game, and say how to make one."""

from os import PathLike

from games.checks import a, shown
from games.persuasion.game import PersuasionGame


def persuasion_game(game: object) -> PersuasionGame:
    """`game` if it is a `PersuasionGame`, else a ValueError that says how to make one."""
    if isinstance(game, PersuasionGame):
        return game
    hint = ""
    if isinstance(game, dict):
        hint = "; PersuasionGame(**game) makes one of a dict of arguments"
    elif isinstance(game, str | PathLike):
        hint = "; PersuasionGame.load(path) reads one from a file"
    raise ValueError(
        f"game must be a PersuasionGame, got {a(type(game).__name__)}: {shown(game)}{hint}"
    )
