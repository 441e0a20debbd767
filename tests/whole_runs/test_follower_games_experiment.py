"""The experiment on games with a follower: its small mode, and games fitted together or alone."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import dnl
from experiments import follower_games as experiment
from games import random_security_game

pytestmark = pytest.mark.whole_run


def test_the_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment.main(small=True, out=tmp_path) == 0
    table = pd.read_csv(tmp_path / "games.csv")
    for law, way in (("pricing", "ascent"), ("security", "program")):
        rows = table[table["game"] == law]
        ways = dict(zip(rows["surrogate"], rows["way"], strict=True))
        assert ways == dict.fromkeys((*experiment.SURROGATES, experiment.TRUTH), "ascent") | {
            "follower-dnl": way
        }
    assert table.groupby("game")["instance"].unique().map(set).tolist() == [{0, 1}, {0, 1}]
    for instance in range(2):  # each game its own rows
        game = random_security_game(3, 1, instance)
        best, worst = dnl.follower_optimum(game).utility, dnl.follower_worst(game).utility
        rows = table[(table["game"] == "security") & (table["instance"] == instance)]
        expected = (rows["reached"] - worst) / (best - worst)
        assert rows["place"].tolist() == pytest.approx(expected.tolist())
    assert table["place"].dropna().between(0, 1).all()
    assert (table["gain"].dropna() >= 0).all()
    assert table["place"].notna().eq(table["game"] == "security").all()
    assert (tmp_path / "follower_games.png").stat().st_size > 10_000
    assert "program" in capsys.readouterr().out
    written = (tmp_path / "games.csv").read_bytes()
    assert experiment.main(small=True, out=tmp_path) == 0  # finished games are kept
    assert (tmp_path / "games.csv").read_bytes() == written
    with pytest.raises(ValueError, match="instances must be a multiple of together=10, got 15"):
        experiment.main(instances=15, out=tmp_path)
    with pytest.raises(ValueError, match=r"out holds a run with .* choose another folder"):
        experiment.main(small=True, margins=(0.1,), out=tmp_path)


def test_games_together_end_where_they_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # In single precision training amplifies rounding, which depends on company and machine.
    monkeypatch.setattr(experiment, "FitConfig", partial(dnl.FitConfig, dtype="float64"))
    key, settings = ("security", 3, 1), (2, 2_000, 3, 5, 3)
    together = pd.DataFrame(experiment.rows_of((*key, 0), *settings, 2, (0.004, 0.05)))
    alone = pd.concat(
        pd.DataFrame(experiment.rows_of((*key, i), *settings, 1, (0.004, 0.05))) for i in range(2)
    )
    for surrogate in (experiment.TRUTH, "relu", "follower-dnl"):
        pairs = [
            table[table["surrogate"] == surrogate].sort_values("instance")["place"].tolist()
            for table in (together, alone)
        ]
        assert pairs[0] == pytest.approx(pairs[1], abs=1e-6)
