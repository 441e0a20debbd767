"""Random games, redrawn until the leaders' decisions change what the follower does."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from games.value import GameValue

PROFILES = 1024  # random profiles by which a game is judged

Game = TypeVar("Game", bound=GameValue)


def first_contested(
    draw: Callable[[], Game],
    is_contested: Callable[[Game, Tensor], bool],
    generator: torch.Generator,
    max_draws: int,
) -> Game:
    """The first game of `draw` that is contested at random profiles `(1024, N, S, M)`.

    Args:
        draw: draws a game from `generator`.
        is_contested: judges it by its profiles.
        generator: also of the profiles.
        max_draws: of games.

    Raises:
        ValueError: if no game drawn is contested.
    """
    for _ in range(max_draws):
        game = draw()
        if is_contested(game, game.sample_policies(PROFILES, generator)):
            return game
    raise ValueError(f"no contested game in {max_draws} draws, the last was {game}")
