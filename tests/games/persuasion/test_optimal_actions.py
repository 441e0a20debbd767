"""Which actions a receiver may take, and the units that follow: by hand, and against a grid."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from games import PersuasionGame
from games.persuasion.optimal_actions import ever_optimal


@pytest.mark.parametrize(
    ("v", "kept"),
    [
        ([[1, 0], [0, 1]], [True, True]),
        ([[1, 0, -1], [0, 1, -1]], [True, True, False]),  # worse than either
        ([[1, 0, 0.4], [0, 1, 0.4]], [True, True, False]),  # worse than one or the other
        ([[1, 0, 0.5], [0, 1, 0.5]], [True, True, True]),  # optimal at a tie only
        ([[1, 0, 0.6], [0, 1, 0.6]], [True, True, True]),
        ([[1, 1, 0], [0, 0, 1]], [True, True, True]),  # twins
        ([[1, 0, -1e9], [0, 1, 0.9]], [True, True, False]),
        ([[3, 3, 3], [3, 3, 3]], [True, True, True]),
        ([[0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2]], [True, True]),
    ],
)
def test_actions_that_no_belief_makes_optimal_are_out(
    v: list[list[float]], kept: list[bool]
) -> None:
    assert ever_optimal(np.array([0.5, 0.5]), np.array(v, dtype=np.float64)).tolist() == kept


def test_states_of_probability_zero_do_not_count() -> None:
    v = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1e6]])
    assert ever_optimal(np.array([0.5, 0.5, 0.0]), v).tolist() == [True, True, False]


@pytest.mark.parametrize("seed", range(20))
def test_a_fine_grid_of_beliefs_says_the_same(seed: int) -> None:
    generator = np.random.default_rng(seed)
    v = generator.normal(size=(3, 6))
    steps = 60
    grid = [
        (i / steps, j / steps, 1 - (i + j) / steps)
        for i, j in itertools.product(range(steps + 1), repeat=2)
        if i + j <= steps
    ]
    value = np.array(grid) @ v
    seen = (value == value.max(1, keepdims=True)).any(0)
    short = (value.max(1, keepdims=True) - value).min(0)
    kept = ever_optimal(np.full(3, 1 / 3), v)
    assert (kept | ~seen).all()
    # What the grid misses by more than its width, no belief makes optimal.
    assert (~kept | (short <= np.ptp(v) * 2 / steps)).all()


def test_the_unit_of_gains_counts_what_can_happen() -> None:
    # 0.25 * (3 - 0) + 0.75 * (2 - 1): the state of 10^6 never happens, action 2 is never optimal.
    u = [[[0, 3, -1e6], [2, 1, 1e6], [0, 1e6, 0]]]
    game = PersuasionGame([0.25, 0.75, 0], [[1, 0, -1], [0, 1, -1], [1, 0, 2]], u, n_signals=2)
    assert game.possible_actions.tolist() == [True, True, False]
    assert game.payoff_range.tolist() == [1.5]
    found = game.estimate_ex_ante_utility(
        game.sample_policies(1, torch.Generator().manual_seed(0)), 2
    )
    assert found.half_width.item() <= 3


@pytest.mark.parametrize("name", ["receiver_utility", "sender_utility"])
@pytest.mark.parametrize(("dtype", "large"), [(torch.float64, 1e200), (torch.float32, 1e30)])
def test_utilities_that_would_overflow_are_refused(
    name: str, dtype: torch.dtype, large: float
) -> None:
    arguments: dict[str, Any] = {
        "prior": torch.tensor([0.5, 0.5], dtype=dtype),
        "receiver_utility": torch.eye(2, dtype=dtype),
        "sender_utility": torch.eye(2, dtype=dtype).unsqueeze(0),
    }
    PersuasionGame(**arguments, n_signals=2)
    arguments[name] = arguments[name] * large
    with pytest.raises(ValueError, match=f"{name} must not exceed .* in size, got "):
        PersuasionGame(**arguments, n_signals=2)
