"""An equilibrium that was found: beside the baselines, and in a file."""

import json
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from dnl import Equilibrium, full_revelation, verify
from dnl.equilibria.verification import Verdict
from games import PersuasionGame, didactic_game, prosecutor_game
from games.persuasion.gambit import save_nfg
from tests.cases.finding import GAMES, IDENTITY, Sizes, assert_equal, found_in, verified
from tests.references import simulation as reference

pytestmark = pytest.mark.usefixtures("few_starts")


def equilibrium_of(game: PersuasionGame, policies: Tensor) -> Equilibrium:
    local, everywhere = verified(game, policies), verified(game, policies, None)
    return Equilibrium(game, policies, local, everywhere, "by hand", "complete")


def test_the_prosecutor_by_hand(tmp_path: Path) -> None:
    """Payoff range 1; full revelation 0.3, no information 0, the optimum 0.6."""
    game = prosecutor_game()
    optimum = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    best = equilibrium_of(game, optimum)
    assert (best.verification.verdict, best.is_global) == ("certified", True)
    assert best.welfare == pytest.approx(0.6, abs=1e-12)
    assert 0 <= best.global_gap <= 1e-5
    assert (best.pareto_dominates_full_revelation, best.exceeds_baselines) == (True, True)
    silent = equilibrium_of(game, torch.full((1, 2, 2), 0.5, dtype=torch.float64))
    assert (silent.verification.verdict, silent.is_global) == ("certified", False)
    assert silent.global_gap == pytest.approx(0.6, abs=1e-5)
    assert (silent.pareto_dominates_full_revelation, silent.exceeds_baselines) == (False, False)


def test_the_verdict_on_nash_by_hand() -> None:
    """Silence is worth 0 to the prosecutor and its optimum 0.6, of a payoff range of 1."""
    game = prosecutor_game()
    optimum = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    best = equilibrium_of(game, optimum)
    assert best.nash == "certified"
    assert best.nash_gain == 0
    assert 0 <= best.nash_bound == best.global_gap <= 1e-5
    silent = equilibrium_of(game, torch.full((1, 2, 2), 0.5, dtype=torch.float64))
    assert silent.nash == "refuted"
    assert silent.nash_gain == pytest.approx(0.6, abs=1e-5)
    assert silent.nash_gain <= silent.nash_bound == pytest.approx(0.6, abs=1e-5)
    undecided = replace(best.global_verification, verdict=Verdict.UNDECIDED)
    assert replace(best, global_verification=undecided).nash == "undecided"
    assert not replace(best, global_verification=undecided).is_global


def test_the_gain_is_a_fraction_of_the_payoff_range() -> None:
    game = prosecutor_game()
    prior, v, u = game.prior, game.receiver_utility, game.sender_utility
    tenfold = PersuasionGame(prior, v, 10 * u + 7, 2, "senders")
    silent = equilibrium_of(tenfold, torch.full((1, 2, 2), 0.5, dtype=torch.float64))
    assert silent.nash_gain == pytest.approx(0.6, abs=1e-5)
    constant = PersuasionGame(prior, v, torch.ones_like(u), 2, "senders")
    assert equilibrium_of(constant, silent.policies).nash_gain == 0


def test_values_print_in_one_short_line() -> None:
    game = didactic_game()
    revealed = full_revelation(game)
    assert revealed.policies is not None
    e = equilibrium_of(game, revealed.policies)
    assert re.fullmatch(
        r"Equilibrium\(welfare=0\.8, nash='certified', nash_gain=0, nash_bound=\S+, radius=0\.005, "
        r"source='by hand', status='complete'\)",
        repr(e),
    )
    name = game.identity
    silent = torch.full_like(e.policies, 0.5)
    many = verify(game, torch.stack([e.policies, silent, silent]), None)
    assert repr(many) == (
        f"Verifications(1 certified, 2 refuted, method='exact', radius=None, game='{name}')"
    )
    assert re.fullmatch(
        r"Verification\('certified', largest relative_gain=\S+, method='exact', radius=0\.005, "
        rf"game='{name}'\)",
        repr(e.verification),
    )
    assert repr(revealed) == (
        "FullRevelation(utilities=(0, 0.8), is_equilibrium=True, policies: (2, 2, 2))"
    )
    assert re.fullmatch(
        r"BestResponse\(sender=0, utility=0, upper_bound=\S+, is_attained=True, status='optimal', "
        r"radius=None\)",
        repr(dnl.best_response(game, e.policies, 0)),
    )


def test_better_than_silence_but_not_than_the_truth_exceeds_no_baseline() -> None:
    truth = full_revelation(didactic_game())
    assert truth.policies is not None
    revealed = equilibrium_of(didactic_game(), truth.policies)
    # Full revelation: 0 for sender 0; 2 * 0.4 for sender 1. No information: 0.4 and 0.
    assert revealed.utilities.tolist() == pytest.approx([0.0, 0.8])
    assert revealed.is_global
    assert (revealed.pareto_dominates_full_revelation, revealed.exceeds_baselines) == (False, False)
    silent = equilibrium_of(didactic_game(), torch.full((2, 2, 2), 0.5, dtype=torch.float64))
    assert silent.utilities.tolist() == pytest.approx([0.4, 0.0])
    assert not silent.pareto_dominates_full_revelation  # one is better off, one worse
    assert not silent.exceeds_baselines


@pytest.mark.parametrize(("sizes", "seed"), GAMES)
def test_comparisons_with_the_baselines(sizes: Sizes, seed: int) -> None:
    for e in found_in(sizes, seed):
        game = e.game
        parts = game.prior, game.receiver_utility, game.sender_utility, game.tie_break
        revealed = torch.as_tensor(reference.full_revelation(*parts), dtype=torch.float64)
        silent = torch.as_tensor(reference.no_information(*parts), dtype=torch.float64)
        mine = torch.as_tensor(
            reference.sender_utilities(*parts[:3], e.policies, game.tie_break),
            dtype=torch.float64,
        )
        torch.testing.assert_close(e.utilities, mine, rtol=1e-9, atol=1e-9)
        slack = 1e-9 * game.payoff_range
        above = mine.sum() > max(revealed.sum(), silent.sum()) + slack.sum()
        assert e.exceeds_baselines == bool(above)
        dominates = bool((mine >= revealed - slack).all() and (mine > revealed + slack).any())
        assert e.pareto_dominates_full_revelation == dominates
        gains = [
            dnl.best_response(game, e.policies, n).upper_bound - float(mine[n])
            for n in range(game.n_senders)
        ]
        gap = max(g / r for g, r in zip(gains, game.payoff_range.tolist(), strict=True))
        assert e.global_gap == pytest.approx(max(gap, 0.0), abs=1e-5)
        assert e.is_global == (verify(game, e.policies, None).verdict == "certified")


@pytest.mark.parametrize(("sizes", "seed"), GAMES[:2])
def test_saved_and_loaded(sizes: Sizes, seed: int, tmp_path: Path) -> None:
    for e in found_in(sizes, seed)[:3]:
        e.save(tmp_path / "equilibrium.json")
        assert_equal(Equilibrium.load(tmp_path / "equilibrium.json"), e)


def test_a_save_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = found_in(*GAMES[0])[0]
    path = tmp_path / "equilibrium.json"
    e.save(path)
    before = path.read_text()

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    for save in (e.save, e.game.save, partial(save_nfg, prosecutor_game())):
        with pytest.raises(OSError, match="no space left"):
            save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_tie_rule_is_saved(tmp_path: Path) -> None:
    optimum = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    equilibrium_of(prosecutor_game(), optimum).save(tmp_path / "prosecutor.json")
    again = Equilibrium.load(tmp_path / "prosecutor.json")
    assert again.game.tie_break == "senders"
    assert again.welfare == pytest.approx(0.6)


BROKEN: list[tuple[str, str]] = [
    ("{", "is not JSON"),
    ("[1]", "must hold the keys .*, got list"),
    ('{"game": 1}', "missing key 'policies'"),
    ("[" * 100_000, "is not JSON"),
    ("\x00", "is not JSON"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_file_that_holds_no_equilibrium_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"broken\.json:? {message}"):
        Equilibrium.load(path)


CHANGES: list[tuple[str, Any]] = [
    ("game", None),
    ("game", {"prior": [1.0]}),
    ("policies", None),
    ("policies", []),
    ("policies", [[[0.5, 0.6], [0.5, 0.5]]]),
    ("policies", 10**400),
    ("policies", [IDENTITY]),  # a profile, but no equilibrium
    ("radius", "wide"),
    ("radius", -1.0),
    ("extra", 1),
]


@pytest.mark.parametrize(("key", "value"), CHANGES, ids=lambda part: str(part)[:20])
def test_a_record_with_a_broken_entry_is_named(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    silent = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    equilibrium_of(prosecutor_game(), silent).save(path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {key: value}))
    with pytest.raises(ValueError, match=r"broken\.json"):
        Equilibrium.load(path)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"broken\.json"):
        Equilibrium.load(path)
    with pytest.raises(OSError, match=r"missing\.json"):
        Equilibrium.load(tmp_path / "missing.json")
