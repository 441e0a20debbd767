"""The Lagrangian bound holds at any prices; local search only improves, within the box."""

import numpy as np
import pytest
import torch

from dnl.exact.best_response import exact_rows
from dnl.exact.deviation import Deviation, deviation
from dnl.exact.lagrangian import OwnSignals
from dnl.exact.local_response import LocalResponse
from dnl.exact.local_search import local_search
from dnl.runtime.budget import FOREVER, Budget
from games import synthetic_game


def near_pure(size: tuple[int, int, int, int], seed: int) -> Deviation:
    game = synthetic_game(*size, seed=seed, law="contested")
    policies = game.sample_policies(1, torch.Generator().manual_seed(seed))[0]
    pure = np.eye(game.n_signals)[policies.argmax(-1)]
    return deviation(game, 0.99 * pure + 0.01 * exact_rows(policies), 0)


@pytest.mark.parametrize("radius", [0.005, 0.3])
@pytest.mark.parametrize("size", [(2, 2, 3, 3), (2, 3, 3, 3), (3, 2, 3, 2), (2, 4, 4, 4)])
def test_bound_of_the_signals_holds_at_any_prices(
    size: tuple[int, int, int, int], radius: float
) -> None:
    rng = np.random.default_rng(0)
    for seed in range(2):
        problem = near_pure(size, seed)
        low, width = problem.box(radius)
        search = LocalResponse(problem, radius, 1e-7, Budget.within(10))
        signals = OwnSignals(problem, low, width, search.candidates, radius)
        for scale in (0.0, 0.1, 1.0):
            prices = scale * rng.standard_normal(len(problem.prior))
            assert signals.bound(prices, 1e-3, FOREVER) >= search.attained - 1e-12
        late = signals.bound(problem.prior, 1e-3, Budget.within(-1))  # nothing is solved
        assert late >= search.attained - 1e-12


@pytest.mark.parametrize("size", [(2, 3, 3, 3), (2, 4, 4, 4), (2, 6, 6, 6)])
def test_exchange_only_improves_and_stays_in_the_box(size: tuple[int, int, int, int]) -> None:
    moves = 0
    for seed in range(4):
        problem = near_pure(size, seed)
        search = LocalResponse(problem, 0.005, 1e-6, Budget.within(10))
        utilities, actions = problem.closure(problem.own)
        best, bound = float(utilities.sum()), search.bound
        signals = OwnSignals(
            problem, search.hull.low, search.hull.width, search.candidates, search.hull.unit
        )
        for columns in local_search(search.regions, signals, actions, bound, FOREVER):
            value = float(problem.closure(columns)[0].sum())
            assert best < value <= bound + 1e-9
            assert np.abs(columns.sum(0) - 1).max() < 1e-9
            assert np.abs(columns - problem.own).max() <= 0.005 + 1e-9
            best, moves = value, moves + 1
    assert moves > 0
