"""The soundness experiment: its small mode, its profiles and its search."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from dnl.runtime.tables import read_table
from experiments import soundness
from experiments.shared import soundness_of_ties
from games import prosecutor_game, synthetic_game
from tests.cases.interrupted import interrupted_on


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.whole_run
def test_small_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soundness.main(triples=20, ties=1, samples=200, out=tmp_path, quiet=True) == 0
    rows = pd.read_csv(tmp_path / "soundness.csv")
    assert tuple(rows.columns) == soundness.COLUMNS
    assert len(rows) == 20
    assert not rows["violation"].any()
    assert not rows["misstated"].any()
    assert (rows["excess"] <= soundness.ROUNDING).all()
    assert set(rows["radius"]) <= set(soundness.RADII)
    assert set(rows["kind"]) <= set(soundness.KINDS)
    assert rows["n_senders"].nunique() == 3
    assert (tmp_path / "run.json").exists()
    assert "20 triples, 0 violations" in capsys.readouterr().out
    before = (tmp_path / "soundness.csv").read_bytes()
    soundness.main(triples=21, ties=1, samples=200, out=tmp_path, quiet=True)  # one more
    assert (tmp_path / "soundness.csv").read_bytes().startswith(before)
    again = soundness.measure(soundness.draw(7, seed=0), 200, 10.0, 7, seed=0)
    for name in ("game", "kind", "radius", "sampled", "bound"):
        assert again[name] == rows[name][7]


@pytest.mark.whole_run
def test_small_mode_with_ties(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soundness.main(triples=1, ties=30, samples=20, out=tmp_path, quiet=True) == 0
    rows = pd.read_csv(tmp_path / soundness_of_ties.TABLE)
    assert "30 games with ties" in capsys.readouterr().out
    assert not rows[[*soundness_of_ties.WRONG, "undecided"]].to_numpy().any()
    assert set(rows["dtype"]) == {"float32", "float64"}
    assert set(rows["n_senders"]) == {1, 2, 3}
    assert set(rows["tie_break"]) == {"first", "senders"}
    assert rows["impossible_states"].any()
    assert rows["quantity"].nunique() == 4


@pytest.mark.parametrize(("module", "call"), [(soundness, 3), (soundness_of_ties, 2)])
def test_an_interrupted_run_goes_on_where_it_was(
    module: Any, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(folder: str) -> None:
        assert soundness.main(triples=4, ties=3, samples=20, out=tmp_path / folder, quiet=True) == 0

    asked = interrupted_on(monkeypatch, module, "row_of", call)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    run("cut")
    assert len(asked) == len(set(asked)) + 1  # the one that was interrupted is asked again
    run("cut")
    assert len(asked) == len(set(asked)) + 1
    run("whole")
    for name in ("soundness.csv", soundness_of_ties.TABLE):
        first, second = (
            read_table(tmp_path / folder / name, ()).drop(
                columns=["seconds", "search_seconds"], errors="ignore"
            )
            for folder in ("cut", "whole")
        )
        pd.testing.assert_frame_equal(first, second)


def test_wrong_values_are_told_apart() -> None:
    game = prosecutor_game()

    def judged(bound: float, reached: float, truth: float, status: str = "optimal") -> set[str]:
        row = soundness_of_ties.compared(game, lambda: (bound, reached, status), lambda: truth)
        return {name for name in (*soundness_of_ties.WRONG, "undecided") if row[name]}

    assert judged(0.6, 0.6, 0.6) == set()
    assert judged(0.6, 0.6, 0.7) == {"beaten", "missed"}
    assert judged(0.7, 0.6, 0.6) == {"loose"}
    assert judged(0.7, 0.7, 0.6) == {"loose", "invented"}
    assert judged(0.7, 0.5, 0.6, "time limit") == {"undecided"}
    assert judged(0.5, 0.5, 0.6, "time limit") == {"undecided", "beaten"}


def test_profiles_are_of_their_kind() -> None:
    game = synthetic_game(2, 3, 3, 3, seed=0, law="contested")
    for seed in range(5):
        for name in soundness.KINDS:
            kind, policies = soundness.profile(name, game, generator(seed))
            game.check_policies(policies)
            assert kind == name
            largest = policies.amax(-1)
            if kind == "pure":
                assert (largest == 1).all()
            if kind == "near-pure":
                assert ((largest < 1) & (largest >= 0.9)).all()
            if kind in ("cliff", "border"):  # two actions tie at some joint signal
                probability, posterior = game.posteriors(policies)
                scores = posterior[probability > 0] @ game.receiver_utility
                best, second = scores.topk(2, dim=-1).values.unbind(-1)
                gap = (best - second).min() / (scores.max() - scores.min())
                assert gap < 1e-12 if kind == "cliff" else 1e-10 < gap < 1e-8


def test_search_finds_the_best_policies_within_the_radius() -> None:
    game = prosecutor_game()  # earns 0.3 + 0.7 x by accusing x <= 3/7 of the innocent
    policies = torch.tensor([[[0.7, 0.3], [0.0, 1.0]]], dtype=torch.float64)
    for radius, best in ((0.05, 0.3 + 0.7 * 0.35), (0.5, 0.6), (1.0, 0.6)):
        triple = soundness.Triple(game, "", "", policies, 0, radius)
        assert soundness.best_sampled(triple, 200, generator()) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("n_signals", [2, 3])
def test_crossings_are_indifferent_and_within_the_box(n_signals: int) -> None:
    game = synthetic_game(1, n_signals, 3, 2, seed=1, law="contested")
    own = game.sample_policies(1, generator())[0, 0]
    low, high = (own - 0.9).clamp_min(0), (own + 0.9).clamp_max(1)
    found = soundness.crossings(game, game.prior.unsqueeze(0), own, low, high)
    assert ((found >= low - 1e-12) & (found <= high + 1e-12)).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(len(found), 3, dtype=torch.float64))
    difference = game.receiver_utility[:, 0] - game.receiver_utility[:, 1]
    gaps = ((found.mT * game.prior) @ difference).abs()  # (D, M)
    assert (((own.mT * game.prior) @ difference).abs() > 1e-3).all()
    assert (gaps < 1e-12).any(1).sum() >= 2
