"""The finder: its members one by one, what comes out of it, and the experiment about it."""

import dataclasses
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import reference
import torch
from matplotlib.image import imread
from torch import Tensor

import dnl
from dnl import Equilibrium, find_equilibria, full_revelation, verify
from dnl.finding.gradients import smoothed_utility, surrogate_ends
from dnl.finding.members import DEFAULT_MEMBERS, MEMBERS
from dnl.finding.responses import MARGIN, STEPS, radii, walk
from dnl.finding.search import Search, canonical
from experiments import finding as experiment
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game

Sizes = tuple[int, int, int, int]  # N, M, S, A
IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
# One wants action 1 always, the other never: each undercuts the other without end.
UNDERCUTTING = PersuasionGame(
    [0.6, 0.4], IDENTITY, [[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]], n_signals=2
)


def contested(sizes: Sizes, seed: int) -> PersuasionGame:
    return synthetic_game(*sizes, seed=seed, law="contested")


def searching(game: PersuasionGame, radius: float = 0.005, seconds: float = 1e6) -> Search:
    return Search(game, radius, time.perf_counter() + seconds)


def tensors(proposals: Iterator[Tensor | None]) -> list[Tensor]:
    return [policies for policies in proposals if policies is not None]


@pytest.fixture(autouse=True)
def _few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnl.finding.responses.STARTS", 2)
    monkeypatch.setattr("dnl.finding.gradients.STARTS", 4)
    monkeypatch.setattr("dnl.finding.gradients.FINISHED", 1)


GAMES = [((2, 2, 2, 2), 1), ((2, 2, 3, 2), 1), ((3, 2, 2, 2), 2)]


@cache
def found_in(sizes: Sizes, seed: int) -> tuple[Equilibrium, ...]:
    """By the whole portfolio; called from tests only, so with few starts."""
    return find_equilibria(contested(sizes, seed), time_limit=30.0)


def equilibrium_of(game: PersuasionGame, policies: Tensor) -> Equilibrium:
    local, everywhere = verify(game, policies), verify(game, policies, None)
    return Equilibrium(game, policies, local, everywhere, "by hand", "complete")


# ----------------------------------------------------------------------------------- responses


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
            assert gain <= 1.3 * MARGIN * game.payoff_range[n].item()


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
        assert 1 <= len(steps) < STEPS  # left when it came back, not when the steps were used up


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


@pytest.mark.parametrize("name", ["surrogate-relu", "surrogate-delu", "surrogate-dnl"])
def test_surrogates_are_members_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnl.finding.members.SAMPLES", 200)
    monkeypatch.setattr("dnl.finding.members.EPOCHS", 1)
    assert name not in DEFAULT_MEMBERS
    game = contested((2, 2, 2, 2), seed=1)
    search = Search(game, 0.005, time.perf_counter() + 3.0)
    proposals = [p for p in MEMBERS[name](search) if p is not None]
    for policies in proposals:
        game.check_policies(policies)


@pytest.mark.parametrize("name", DEFAULT_MEMBERS)
def test_each_member_runs_alone(name: str) -> None:
    found = find_equilibria(contested((2, 2, 2, 2), seed=1), members=[name], time_limit=10.0)
    assert {(e.source, e.status) for e in found} == {(name, "complete")}


# -------------------------------------------------------------------------- the necessary test


def profiles_of(game: PersuasionGame, count: int, seed: int = 0) -> Tensor:
    """Random block profiles with all signals in use, and no information."""
    generator = torch.Generator().manual_seed(seed)
    n_senders, n_signals, n_states = game.n_senders, game.n_signals, game.n_states
    silent = torch.full((n_senders, n_states, n_signals), 1 / n_signals, dtype=torch.float64)
    profiles = [silent]
    for _ in range(count):
        blocks = torch.randint(2, (n_senders, n_states), generator=generator)
        belongs = torch.randint(2, (n_senders, n_signals), generator=generator)
        belongs[:, :2] = torch.tensor([0, 1])
        sent = (belongs.unsqueeze(1) == blocks.unsqueeze(2)).double()  # (N, S, M)
        profiles.append(sent / sent.sum(-1, keepdim=True))
    return torch.stack(profiles)


def gains_by_one_move(game: PersuasionGame, policies: Tensor, radius: float) -> Tensor:
    """`(N,)`: the most by moving one state's probability from one signal to another, slowly."""
    present = game.ex_ante_utility(policies)
    gains = torch.zeros(game.n_senders, dtype=torch.float64)
    for n in range(game.n_senders):
        for s in range(game.n_states):
            for a in range(game.n_signals):
                for b in range(game.n_signals):
                    amount = min(radius, float(policies[n, s, a]), 1 - float(policies[n, s, b]))
                    moved = policies.clone()
                    moved[n, s, a] -= amount
                    moved[n, s, b] += amount
                    if a != b:
                        gain = game.ex_ante_utility(moved)[n] - present[n]
                        gains[n] = max(gains[n], gain)
    return gains


@pytest.mark.parametrize("radius", [0.005, 0.3])
@pytest.mark.parametrize("sizes", [(2, 2, 3, 3), (2, 3, 3, 2), (3, 2, 2, 2)])
def test_what_is_certified_survives(sizes: Sizes, radius: float) -> None:
    seen = set()
    for seed in range(3):
        game = contested(sizes, seed)
        search = searching(game, radius)
        profiles = profiles_of(game, 5, seed)
        survived = search.survives(profiles).tolist()
        for policies, alive in zip(profiles, survived, strict=True):
            certified = verify(game, policies, radius).is_equilibrium
            assert alive or not certified
            limit = search.allowed(radius) * game.payoff_range
            assert alive == bool((gains_by_one_move(game, policies, radius) <= limit).all())
            seen.add((alive, certified))
    assert {(True, True), (False, False)} <= seen or radius > 0.005


def test_an_obvious_move_does_not_survive() -> None:
    # Telling the truth: accusing a few of the innocent, too, convicts them (0.3 >> 0.7 * 0.005).
    game = prosecutor_game()
    truth = torch.tensor([IDENTITY], dtype=torch.float64)
    silent = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    search = searching(game)
    assert search.survives(torch.stack([truth, silent, truth])).tolist() == [False, True, False]
    assert search.survives(truth.unsqueeze(0)[:0]).tolist() == []


def test_a_single_signal_survives() -> None:
    game = synthetic_game(2, 1, 2, 2, seed=0)
    assert searching(game).survives(torch.ones(3, 2, 2, 1).double()).tolist() == [True] * 3


# ----------------------------------------------------------------------------------- canonical


def test_names_of_signals_do_not_matter_and_all_else_does() -> None:
    game = contested((2, 3, 3, 2), seed=0)
    policies, other = game.sample_policies(2, torch.Generator().manual_seed(0))
    renamed = policies.clone()
    renamed[0] = policies[0][:, [2, 0, 1]]
    renamed[1] = policies[1][:, [1, 0, 2]]
    assert canonical(renamed) == canonical(policies)
    assert canonical(policies + 1e-12) == canonical(policies)
    in_one_state = policies.clone()
    in_one_state[0, 1] = policies[0, 1, [1, 0, 2]]
    for different in (other, policies.flip(0), policies.flip(1), in_one_state):
        assert canonical(different) != canonical(policies)


# ----------------------------------------------------------------------------------- gradients


def test_a_cold_receiver_is_the_true_one() -> None:
    game = contested((2, 3, 3, 3), seed=0)
    profiles = game.sample_policies(40, torch.Generator().manual_seed(0))
    margins = [
        reference.margin(game.prior, game.receiver_utility, policies) for policies in profiles
    ]
    away = profiles[torch.tensor(margins) > torch.tensor(margins).median()]
    truth = game.ex_ante_utility(away)
    errors = [
        (smoothed_utility(game, temperature)(away) - truth).abs().max().item()
        for temperature in (0.1, 0.01, 1e-3, 1e-6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9 < errors[0]


@pytest.mark.parametrize("temperature", [0.1, 0.003])
def test_impossible_joint_signals_are_harmless(temperature: float) -> None:
    game = contested((2, 2, 2, 2), seed=0)
    pure = torch.tensor([IDENTITY, [[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    policies = pure[None].requires_grad_()
    utility = smoothed_utility(game, temperature)
    values = utility(policies)
    # By hand: the joint signal (s, 0) reveals state s.
    scale = temperature * (game.receiver_utility.max() - game.receiver_utility.min())
    choice = (game.receiver_utility / scale).softmax(-1)  # (S, A)
    by_hand = torch.einsum("s,sa,nsa->n", game.prior, choice, game.sender_utility)
    torch.testing.assert_close(values[0], by_hand, rtol=1e-9, atol=1e-9)
    values.sum().backward()
    assert policies.grad is not None
    assert policies.grad.isfinite().all()


def test_the_true_utility_is_a_surrogate_like_any_other() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    search = searching(game)
    proposed = tensors(surrogate_ends(search, game.ex_ante_utility))
    assert proposed
    game.check_policies(torch.stack(proposed))
    assert any(search.certifies(policies, 0.005, 1e-5) for policies in proposed)


def test_a_fitted_surrogate_proposes() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    config = dnl.FitConfig(samples=50, epochs=1, test_samples=50, device="cpu")
    fitted = dnl.fit(game, "relu", config)
    for policies in surrogate_ends(searching(game), fitted):  # float32 networks, float64 profiles
        assert policies is None or searching(game).survives(policies[None])
        break


@pytest.mark.parametrize("value", [0.0, 1.0, 1e8])
def test_a_receiver_that_does_not_care_breaks_no_member(value: float) -> None:
    game = contested((2, 2, 2, 2), seed=0)
    careless = torch.full_like(game.receiver_utility, value)
    game = dataclasses.replace(game, receiver_utility=careless)
    find_equilibria(game, time_limit=5.0, members=["extragradient"])


# --------------------------------------------------------------------------------- Equilibrium


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


def assert_equal(first: Equilibrium, second: Equilibrium) -> None:
    assert first.game == second.game
    assert torch.equal(first.policies, second.policies)
    assert (first.source, first.status) == (second.source, second.status)
    for name in ("verification", "global_verification"):
        one, two = getattr(first, name), getattr(second, name)
        assert (one.verdict, one.radius, one.status) == (two.verdict, two.radius, two.status)
        torch.testing.assert_close(one.gain, two.gain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("sizes", "seed"), GAMES[:2])
def test_saved_and_loaded(sizes: Sizes, seed: int, tmp_path: Path) -> None:
    for e in found_in(sizes, seed)[:3]:
        e.save(tmp_path / "equilibrium.json")
        assert_equal(Equilibrium.load(tmp_path / "equilibrium.json"), e)


def test_the_tie_rule_is_saved(tmp_path: Path) -> None:
    optimum = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    equilibrium_of(prosecutor_game(), optimum).save(tmp_path / "prosecutor.json")
    again = Equilibrium.load(tmp_path / "prosecutor.json")
    assert again.game.tie_break == "senders"
    assert again.welfare == pytest.approx(0.6)


BROKEN: list[tuple[str, str]] = [
    ("{", "is not JSON"),
    ("[1]", "must hold the keys .*, got list"),
    ('{"game": 1}', r"must hold the keys .*, got \['game'\]"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_file_that_holds_no_equilibrium_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"broken\.json {message}"):
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


# ----------------------------------------------------------------------------- find_equilibria


@pytest.mark.parametrize(("sizes", "seed"), GAMES)
def test_everything_returned_is_certified_sorted_and_distinct(sizes: Sizes, seed: int) -> None:
    found = found_in(sizes, seed)
    assert found
    game = contested(sizes, seed)
    for e in found:
        assert e.game == game
        assert e.policies.dtype == torch.float64
        assert e.verification.radius == 0.005
        assert verify(game, e.policies).verdict == e.verification.verdict == "certified"
        again = verify(game, e.policies, None)
        assert again.verdict == e.global_verification.verdict
        assert e.source in MEMBERS
        assert e.status == "complete"
    welfare = [e.welfare for e in found]
    assert welfare == sorted(welfare, reverse=True)
    assert len({canonical(e.policies) for e in found}) == len(found)


@pytest.mark.parametrize(("sizes", "seed"), GAMES)
def test_full_revelation_is_among_them(sizes: Sizes, seed: int) -> None:
    revealed = full_revelation(contested(sizes, seed))
    assert revealed.is_equilibrium
    found = {canonical(e.policies): e for e in found_in(sizes, seed)}
    assert revealed.policies is not None
    assert found[canonical(revealed.policies)].is_global


@pytest.mark.parametrize("seed", range(4))
def test_full_revelation_alone(seed: int) -> None:
    game = contested((2, 3, 3, 3), seed)
    (e,) = find_equilibria(game, members=["full-revelation"], time_limit=10.0)
    assert e.is_global
    torch.testing.assert_close(e.utilities, full_revelation(game).utilities)


def test_the_same_again_where_the_search_is_complete() -> None:
    first, second = found_in(*GAMES[0]), find_equilibria(contested(*GAMES[0]), time_limit=25.0)
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert_equal(one, two)


def test_radius_and_seed_reach_the_search() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    names = ["no-information", "local-responses"]
    radius = find_equilibria(game, radius=0.02, members=names, time_limit=10.0)
    assert {e.verification.radius for e in radius} == {0.02}
    seeds = [find_equilibria(game, members=names, seed=seed, time_limit=10.0) for seed in (0, 1)]
    keys = [{canonical(e.policies) for e in found} for found in seeds]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(("sizes", "limit"), [((2, 4, 4, 4), 0.5), ((2, 10, 10, 10), 0.5)])
def test_the_time_limit_is_respected(sizes: Sizes, limit: float) -> None:
    game = contested(sizes, seed=0)
    began = time.perf_counter()
    found = find_equilibria(game, time_limit=limit)
    assert time.perf_counter() - began <= 1.5 * limit + 10  # a busy machine is no runaway
    assert {e.status for e in found} <= {"time limit"}
    assert all(e.verification.is_equilibrium for e in found)


def test_complete_means_that_no_clock_decided() -> None:
    """Theorem 4: full revelation is an equilibrium here; only lack of time can lose it."""
    game = contested((2, 10, 10, 10), seed=0)
    assert full_revelation(game).is_equilibrium
    names = ["no-information", "full-revelation"]
    found = find_equilibria(game, members=names, time_limit=1.0)
    lost = all(e.source != "full-revelation" for e in found)
    assert not (lost and any(e.status == "complete" for e in found))


def test_the_game_stays_as_it_was_and_float32_will_do() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    names = ["no-information", "full-revelation", "blocks"]  # nothing random
    single = game.to(dtype=torch.float32)
    kept = single.to()
    found = find_equilibria(single, members=names, time_limit=10.0)
    assert single == kept
    assert single.prior.dtype == torch.float32
    assert found[0].policies.dtype == torch.float64
    expected = find_equilibria(game, members=names, time_limit=10.0)
    assert found[0].welfare == pytest.approx(expected[0].welfare, rel=1e-3)
    assert all(verify(e.game, e.policies).is_equilibrium for e in found)


def test_progress_is_told() -> None:
    told: list[tuple[float, str]] = []
    game = contested((2, 2, 2, 2), seed=1)
    find_equilibria(
        game,
        members=["no-information", "blocks"],
        time_limit=5.0,
        on_progress=lambda seconds, message: told.append((seconds, message)),
    )
    assert [seconds for seconds, _ in told] == sorted(seconds for seconds, _ in told)
    assert any("nothing yet" in message for _, message in told)
    assert any("best welfare" in message for _, message in told)
    assert any("global gap" in message for _, message in told)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": 0.0}, "radius must be finite and above 0, got 0.0"),
        ({"radius": None}, "radius must be a number above 0, got None"),
        ({"radius": float("nan")}, "radius must be finite"),
        ({"time_limit": 0}, "time_limit must be finite and above 0, got 0"),
        ({"time_limit": float("inf")}, "time_limit must be finite and above 0, got inf"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 0.5}, "seed must be an integer of at least 0, got 0.5"),
        ({"members": ["blocks", "luck"]}, "members must be one of .*, got 'luck'"),
        ({"members": "blocks"}, r"members must be names out of \[.*\], got 'blocks'"),
        ({"members": ()}, r"members must be names out of \[.*\], got \(\)"),
        ({"members": [3]}, "members must be one of .*, got 3"),
        ({"members": 3}, "members must be .*, got 3"),
    ],
    ids=str,
)
def test_malformed_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_equilibria(didactic_game(), **wrong)


def test_numbers_of_numpy_will_do(tmp_path: Path) -> None:
    names = ["no-information", "full-revelation"]
    found = find_equilibria(
        contested((2, 2, 2, 2), seed=1),
        radius=np.float32(0.01),  # type: ignore[arg-type]
        seed=np.int64(1),  # type: ignore[arg-type]
        time_limit=np.float64(5.0),
        members=names,
    )
    found[0].save(tmp_path / "equilibrium.json")


@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 1, 2, 2), (2, 2, 1, 2), (2, 2, 2, 1)])
def test_degenerate_sizes(sizes: Sizes) -> None:
    game = synthetic_game(*sizes, seed=0)
    found = find_equilibria(game, time_limit=5.0)
    assert found
    if sizes[0] > 1:  # nothing to tell, or nothing that telling could change
        assert found[0].utilities.tolist() == pytest.approx(game.no_information().tolist())


def test_the_prosecutor_is_solved() -> None:
    for tie_break in ("first", "senders"):
        game = prosecutor_game(tie_break)
        found = find_equilibria(game, members=["no-information", "responses"], time_limit=10.0)
        assert found[0].welfare == pytest.approx(0.6, abs=1e-5)  # the supremum, under "first"
        assert found[0].is_global


def test_states_of_probability_zero_change_nothing() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    prior = torch.cat([game.prior, torch.zeros(1).double()])
    v = torch.cat([game.receiver_utility, game.receiver_utility[:1] + 1])
    u = torch.cat([game.sender_utility, game.sender_utility[:, :1]], 1)
    larger, names = PersuasionGame(prior, v, u, 2), ["full-revelation", "blocks", "responses"]
    found = find_equilibria(larger, members=names, time_limit=10.0)
    assert all(verify(larger, e.policies).is_equilibrium for e in found)
    revealed = full_revelation(game).utilities
    (code,) = [e for e in found if e.source == "full-revelation"]
    torch.testing.assert_close(code.utilities, revealed)
    assert code.is_global


# ------------------------------------------------------------------------------ the experiment


def test_the_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment.main(small=True, out=tmp_path) == 0
    table = pd.read_csv(tmp_path / "games.csv")
    assert table[experiment.KEYS].to_numpy().tolist() == [[2, 2, 2, 2, 1]]
    wanted = {"status", "seconds", "certified", "source", "gain", "above", "global_gap", "global"}
    wanted |= {"ceiling", "global_ceiling"}
    wanted |= {"pareto_dominates_fr", "block_status", "pipeline_certified", "random_certified"}
    assert wanted <= set(table)
    assert table["certified"].all()
    files = {path.name: path.read_text() for path in tmp_path.glob("*.csv")}
    printed = capsys.readouterr().out
    assert experiment.main(small=True, out=tmp_path) == 0
    assert imread(tmp_path / "finding.png").std() > 0
    for name in ("games.csv", "summary.csv"):
        assert (tmp_path / name).read_text() == files[name]
    assert capsys.readouterr().out == printed


def row(instance: int, **values: Any) -> dict[str, Any]:
    return {
        "n_senders": 2,
        "n_signals": 3,
        "n_states": 4,
        "n_actions": 5,
        "instance": instance,
        "status": "complete",
        "seconds": 2.0,
        "ceiling": 0.5,
        "global_ceiling": 0.0,
        "certified": True,
        "source": "blocks",
        "gain": 0.3,
        "above": True,
        "pareto_dominates_fr": True,
        "global_gap": 0.1,
        "global": True,
        "global_above": False,
        "global_gain": -0.1,
        "block_gain": 0.1,
        "pipeline_certified": 0.5,
        "pipeline_gain": 0.2,
        "random_certified": 0.25,
    } | values


def test_the_shares_of_two_games_by_hand() -> None:
    worse = row(
        1,
        seconds=4.0,
        ceiling=0.0,
        gain=-0.1,
        above=False,
        pareto_dominates_fr=False,
        global_gap=0.3,
        global_gain=-0.2,
        block_gain=-0.1,
        pipeline_certified=0.0,
        pipeline_gain=-0.2,
        random_certified=0.75,
    )
    summary = experiment.summarise(pd.DataFrame([row(0), worse]))
    assert summary.to_dict("records") == [
        {
            "N": 2,
            "(M,S,A)": "(3,4,5)",
            "games": 2,
            "certified": 1.0,
            "can be above": 0.5,
            "above": 0.5,
            "above, of shown": 1.0,  # only in the first does any way get above
            "Pareto over FR": 0.5,
            "global": 1.0,
            "global can be above": 0.0,
            "global above": 0.0,
            "median gain": pytest.approx(0.1),
            "of ceiling": pytest.approx(0.6),  # of the first, where the ceiling is above
            "median global gap": pytest.approx(0.2),
            "at least enumeration": 1.0,
            "better than it": 0.5,
            "pipeline certified": 0.25,
            "pipeline above": 0.5,
            "random certified": 0.5,
            "random above": 0.0,
            "seconds": 3.0,
        }
    ]


def test_games_without_an_equilibrium_count_in_the_shares() -> None:
    nothing = {name: row(1)[name] for name in experiment.KEYS} | {
        "status": "nothing",
        "seconds": 2.0,
        "ceiling": 0.0,
        "global_ceiling": 0.0,
        "certified": False,
        "pipeline_certified": 0.0,
        "random_certified": 0.0,
    }
    (line,) = experiment.summarise(pd.DataFrame([row(0), nothing])).to_dict("records")
    assert (line["certified"], line["above"], line["global"]) == (0.5, 0.5, 0.5)
    assert line["at least enumeration"] == 1.0  # of the games that were enumerated
    (line,) = experiment.summarise(pd.DataFrame([nothing])).to_dict("records")
    assert (line["certified"], line["above"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"instances": 0}, "instances must be an integer of at least 1, got 0"),
        ({"first": -1}, "first must be an integer of at least 0, got -1"),
        ({"time_limit": 0.0}, "time_limit must be finite and above 0, got 0.0"),
        ({"starts": 0}, "starts must be an integer of at least 1, got 0"),
        ({"workers": 0}, "workers must be an integer of at least 1, got 0"),
        ({"senders": (3,)}, "senders must be one of '2', '4', got '3'"),
    ],
    ids=str,
)
def test_malformed_options_are_refused(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        experiment.main(out=tmp_path / "out", small=True, **wrong)
    assert not (tmp_path / "out").exists()
