"""Walks by exact best responses: where they end, and that they end."""

import pytest
import torch
from torch import Tensor

import dnl
from dnl.equilibria.response_walks import LEAST_GAIN, RESPONSES_PER_RADIUS, radii, walk
from games import PersuasionGame
from tests.cases.finding import IDENTITY, Sizes, contested, searching, tensors

pytestmark = pytest.mark.usefixtures("few_starts")


# One wants action 1 always, the other never: each undercuts the other without end.
UNDERCUTTING = PersuasionGame(
    [0.6, 0.4], IDENTITY, [[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]], n_signals=2
)


@pytest.mark.parametrize(("sizes", "seed"), [((2, 2, 2, 2), 1), ((2, 3, 3, 3), 0)])
def test_where_a_global_walk_ends_nobody_gains(sizes: Sizes, seed: int) -> None:
    game = contested(sizes, seed)
    search = searching(game)
    ends = []
    for start in game.sample_policies(3, torch.Generator().manual_seed(0)):
        ends += tensors(walk(search, start, (None,)))
    assert ends
    assert any(search.certifies(policies, None, 1e-5) for policies in ends)
    for policies in ends:
        assert_nobody_gains(game, policies)


def assert_nobody_gains(game: PersuasionGame, policies: Tensor) -> None:
    """By more than the walk's strictness margin, with any deviation."""
    present = game.ex_ante_utility(policies)
    for n in range(game.n_senders):
        for radius in (None, 0.005):
            response = dnl.best_response(game, policies, n, radius)
            gain = response.utility - present[n].item()
            # A response may miss 0.3 margins of the best one.
            assert gain <= 1.3 * LEAST_GAIN * game.payoff_range[n].item()


@pytest.mark.parametrize(("sizes", "seed"), [((2, 2, 2, 2), 5), ((2, 3, 3, 3), 1)])
def test_a_walk_does_not_end_where_a_tiny_move_gains(sizes: Sizes, seed: int) -> None:
    """The opponent's last response left the receiver all but indifferent."""
    game = contested(sizes, seed)
    start = game.sample_policies(1, torch.Generator().manual_seed(0))[0]
    for policies in tensors(walk(searching(game), start, (None,))):
        assert_nobody_gains(game, policies)


def test_cycles_are_left() -> None:
    search = searching(UNDERCUTTING)
    for start in UNDERCUTTING.sample_policies(4, torch.Generator().manual_seed(0)):
        steps = list(walk(search, start, (None,)))
        assert tensors(iter(steps)) == []
        assert 1 <= len(steps) < RESPONSES_PER_RADIUS  # it came back before they were used up


def test_a_walk_starts_anew_and_edits_nothing() -> None:
    game = contested((2, 2, 2, 2), seed=0)
    start = game.sample_policies(1, torch.Generator().manual_seed(0))[0]
    kept = start.clone()
    list(walk(searching(game), start, radii(0.005)))
    assert torch.equal(start, kept)
    assert tensors(walk(searching(game, seconds=-1.0), start, (None,))) == []


def test_the_radii_of_a_local_walk_shrink_to_the_last() -> None:
    assert radii(0.005) == (0.1, 0.03, 0.005)
    assert radii(0.03) == (0.1, 0.03)
    assert radii(0.5) == (0.5,)
