"""A game made from another one, with the same leaders, decisions and payoff range."""

from torch import Tensor

from games import checks
from games.followers.base import FollowerGame
from games.value import GameValue


class DerivedGame(GameValue):
    """Base class. The result is never a `PersuasionGame`: `"posterior-dnl"` refuses it.

    Args:
        game: any game with a follower.

    Raises:
        ValueError: if `game` is none.
    """

    def __init__(self, game: FollowerGame) -> None:
        if not isinstance(game, FollowerGame):
            raise ValueError(f"game must be a FollowerGame, got {checks.shown(game)}")
        self.game = game

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(N, M, S, A)`, the whole game's."""
        return self.game.shape

    @property
    def payoff_range(self) -> Tensor:
        """`(N,)`, the whole game's: a bound."""
        return self.game.payoff_range
