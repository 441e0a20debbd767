"""Games, and what is found in them, for the tests of the finder and its members."""

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from dnl import Equilibrium, find_equilibria
from dnl.budget import Budget
from dnl.finding.search import Search
from games import PersuasionGame, synthetic_game

Sizes = tuple[int, int, int, int]  # N, M, S, A
IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
GAMES = [((2, 2, 2, 2), 1), ((2, 2, 3, 2), 1), ((3, 2, 2, 2), 2)]


def contested(sizes: Sizes, seed: int) -> PersuasionGame:
    return synthetic_game(*sizes, seed=seed, law="contested")


def searching(game: PersuasionGame, radius: float = 0.005, seconds: float = 1e6) -> Search:
    return Search(game, radius, Budget.within(seconds))


def tensors(proposals: Iterator[Tensor | None]) -> list[Tensor]:
    return [policies for policies in proposals if policies is not None]


@cache
def found_in(sizes: Sizes, seed: int) -> tuple[Equilibrium, ...]:
    """By the whole portfolio; called from tests only, so with few starts."""
    return find_equilibria(contested(sizes, seed), time_limit=30.0)


def assert_equal(first: Equilibrium, second: Equilibrium) -> None:
    assert first.game == second.game
    assert torch.equal(first.policies, second.policies)
    assert (first.source, first.status) == (second.source, second.status)
    for name in ("verification", "global_verification"):
        one, two = getattr(first, name), getattr(second, name)
        assert (one.verdict, one.radius, one.status) == (two.verdict, two.radius, two.status)
        # Bounds: the search may have a looser one, that the senders' own ceilings imply.
        slack = 1e-5 * first.game.payoff_range
        assert ((one.gain - two.gain).abs() <= slack + 1e-9).all()
