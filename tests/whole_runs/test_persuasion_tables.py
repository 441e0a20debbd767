"""The experiments behind tables 1 and 2 of "Learning to Persuade", in their small modes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dnl.learning_to_persuade import LearnedPolicy
from experiments import persuasion_learners, persuasion_unknown


@pytest.mark.whole_run
def test_table_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert persuasion_unknown.main(out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "table1.csv")
    assert list(table) == ["size", "lp_optimum", "paper_method_ratio", "ours_ratio", "queries"]
    assert table["size"].tolist() == [2, 3]
    rows = pd.read_csv(tmp_path / "unknown" / "games.csv")
    assert len(rows) == 2 * 2 * 2  # sizes, games, methods
    assert (rows["ratio"] <= 1 + 1e-9).all()
    assert (rows["queries"] <= 22).all()
    ours = rows[rows["method"] == "asking"].groupby("size")
    ratio = ours["utility"].mean() / ours["lp_optimum"].mean()
    assert table["ours_ratio"].tolist() == pytest.approx(ratio.tolist(), abs=1e-4)
    for steps, end in zip(rows["best_ratios"], rows["ratio"], strict=True):
        best = float(steps.split(":")[-1])
        assert best >= end - 1e-4
    assert (tmp_path / "unknown" / "queries.png").stat().st_size > 10_000
    assert "alternating" in capsys.readouterr().out
    before = (tmp_path / "unknown" / "games.csv").read_text()
    assert persuasion_unknown.main(out=tmp_path, small=True) == 0  # nothing is computed again
    assert (tmp_path / "unknown" / "games.csv").read_text() == before


def test_curves() -> None:
    found = LearnedPolicy("asking", None, 0.9, 0.9, 4, (0.5, 0.4, 1.0, 0.9))  # type: ignore[arg-type]
    steps = persuasion_unknown.improvements(found, optimum=2.0)
    assert steps == "1:0.2500 3:0.5000"
    after = persuasion_unknown.best_after(steps, np.array([0, 1, 2, 3, 9]))
    np.testing.assert_array_equal(after, [np.nan, 0.25, 0.25, 0.5, 0.5])


@pytest.mark.whole_run
def test_table_2(tmp_path: Path) -> None:
    assert persuasion_learners.main(out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "table2.csv")
    methods = {"alternating", "asking", "model-r", "info-q", "info-policy"}
    assert set(table["method"]) == methods
    assert table["size"].tolist() == [2] * 5 + [3] * 5
    assert (tmp_path / "learners" / "utilities.png").stat().st_size > 10_000
    rows = pd.read_csv(tmp_path / "learners" / "games.csv")
    assert (rows["rational_utility"] <= rows["lp_optimum"] + 1e-9).all()
    assert rows["predicted"].isna().tolist() == rows["method"].str.startswith("info").tolist()
    before = (tmp_path / "learners" / "games.csv").read_text()
    assert persuasion_learners.main(out=tmp_path, small=True) == 0
    assert (tmp_path / "learners" / "games.csv").read_text() == before


@pytest.mark.parametrize("experiment", [persuasion_unknown, persuasion_learners])
def test_bad_arguments_before_any_work(experiment: object, tmp_path: Path) -> None:
    main = experiment.main  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="instances must be an integer of at least 1, got 0"):
        main(instances=0, out=tmp_path / "out")
    with pytest.raises(ValueError, match="sizes must be an integer of at least 2, got 1"):
        main(sizes=(1,), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_receiver(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="receiver must be one of"):
        persuasion_learners.main(receiver="wise", out=tmp_path / "out")
