"""The timing experiment runs in its small mode, and its plain program solves the same problem."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dnl import best_response
from dnl.exact.best_response import exact_rows
from dnl.exact.deviation import deviation
from experiments import exact_times
from games import synthetic_game


@pytest.mark.whole_run
def test_small_mode(tmp_path: Path) -> None:
    assert exact_times.main(out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "summary.csv")
    assert table["games"].tolist() == [1]
    assert (table["largest_gap"] <= 1e-5).all()


@pytest.mark.parametrize("kind", ["uniform", "near-pure", "pure"])
def test_profiles_are_distributions_of_their_kind(kind: str) -> None:
    game = synthetic_game(2, 3, 3, 3, 0, "contested")
    policies = exact_times.profile(game, kind, 0)
    game.check_policies(policies)
    largest = policies.amax(-1).min().item()
    assert largest == 1 if kind == "pure" else (largest > 0.98) == (kind == "near-pure")


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_program_closes_its_gap(seed: int) -> None:
    game = synthetic_game(2, 2, 3, 3, seed, "contested")
    policies = exact_times.profile(game, "near-pure", seed)
    problem = deviation(game, exact_rows(policies), 0)
    gap = exact_times.plain_milp(problem, 0.05, 1e-6, 10.0)
    assert 0 <= gap <= 1e-5
    response = best_response(game, policies, 0, 0.05)
    assert np.isfinite(response.upper_bound)
