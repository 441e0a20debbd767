"""The timing experiment runs in its small mode, and its plain program solves the same problem."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dnl import best_response
from dnl.exact.best_response import exact_rows
from dnl.exact.deviation import deviation
from dnl.runtime.tables import read_table
from experiments import exact_times
from games import synthetic_game
from tests.cases.interrupted import interrupted_on


@pytest.mark.whole_run
def test_small_mode(tmp_path: Path) -> None:
    assert exact_times.main(out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "summary.csv")
    assert table["games"].tolist() == [1]
    assert (table["largest_gap"] <= 1e-5).all()


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    easy = exact_times.Case(2, (2, 3, 3), "uniform", 0.05, 1e-5, 5.0)
    anywhere = replace(easy, radius=None, tolerance=1e-6)
    monkeypatch.setattr(exact_times, "CASES", (easy, anywhere, replace(easy, profile="pure")))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    asked = interrupted_on(monkeypatch, exact_times, "row_of", 5)
    with pytest.raises(KeyboardInterrupt):
        exact_times.main(instances=2, out=cut)
    before = (cut / "responses.csv").read_text()
    assert exact_times.main(instances=2, out=cut) == 0
    assert (cut / "responses.csv").read_text().startswith(before)
    assert len(asked) == len(set(asked)) + 1 == 7  # the one that was interrupted is asked again
    assert exact_times.main(instances=2, out=whole) == 0
    first, second = (
        read_table(folder / "responses.csv").drop(columns=["seconds", "plain_seconds"])
        for folder in (cut, whole)
    )
    pd.testing.assert_frame_equal(first, second)


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
