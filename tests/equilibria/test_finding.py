"""The finder: what comes out of it, and its members alone."""

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dnl import find_equilibria, full_revelation, verify
from dnl.equilibria.member import MEMBERS, default_members
from dnl.equilibria.search import Search, canonical
from dnl.runtime.budget import Budget
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game
from tests.cases.finding import GAMES, Sizes, assert_equal, contested, found_in

MANY = ["no-information", "full-revelation", "agreement"]
pytestmark = pytest.mark.usefixtures("few_starts")


@pytest.mark.parametrize("name", ["surrogate-relu", "surrogate-delu", "surrogate-dnl"])
def test_surrogates_are_members_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.FIT_SAMPLES", 200)
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.FIT_EPOCHS", 1)
    assert name not in default_members()
    game = contested((2, 2, 2, 2), seed=1)
    search = Search(game, 0.005, Budget.within(3.0))
    proposals = [p for p in MEMBERS[name].propose(search) if p is not None]
    for policies in proposals:
        game.check_policies(policies)


@pytest.mark.parametrize("name", default_members())
def test_each_member_runs_alone(name: str) -> None:
    found = find_equilibria(contested((2, 2, 2, 2), seed=1), members=[name], time_limit=10.0)
    assert {(e.source, e.status) for e in found} == {(name, "complete")}


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
    places = [(["certified", "undecided", "refuted"].index(e.nash), -e.welfare) for e in found]
    assert places == sorted(places)
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


def test_what_is_found_is_a_tuple_that_prints_in_lines() -> None:
    found = find_equilibria(contested((2, 2, 3, 2), seed=1), members=MANY, time_limit=10.0)
    assert isinstance(found, tuple)
    assert found.status == found[0].status == "complete"
    again = pickle.loads(pickle.dumps(found))
    assert (len(again), again.status) == (len(found), "complete")
    first, *lines = repr(found).splitlines()
    assert first == f"{len(found)} equilibria, search: complete"
    assert [line.split("=")[0] for line in lines] == [
        f"  {number}: Equilibrium(welfare" for number in range(1, len(found) + 1)
    ]
    assert max(map(len, lines)) <= 160


def test_a_generator_stands_for_a_seed() -> None:
    game = contested((2, 2, 2, 2), seed=1)

    def keys(**source: Any) -> list[bytes]:
        found = find_equilibria(game, members=["responses"], time_limit=10.0, **source)
        return [canonical(e.policies) for e in found]

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    seed = int(torch.randint(2**63 - 1, (), generator=generator()))
    assert keys(generator=generator()) == keys(seed=seed)
    assert keys() == keys(seed=0)


def test_what_is_no_game_is_refused() -> None:
    wrong: Any = didactic_game().arguments()
    message = r"game must be a PersuasionGame, got a dict: .*; PersuasionGame\(\*\*game\) makes one"
    with pytest.raises(ValueError, match=message):
        find_equilibria(wrong)


@pytest.mark.parametrize("name", ["on_progress", "on_certified"])
def test_what_cannot_be_called_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: "print"}
    with pytest.raises(ValueError, match=rf"{name} must be callable, got 'print'"):
        find_equilibria(didactic_game(), **wrong)


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
        ({"scope": "wide"}, "scope must be one of 'local', 'global', got 'wide'"),
        ({"rank_by": "wealth"}, "rank_by must be .*, got 'wealth'"),
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


def test_seed_and_generator_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="seed and generator must not both be given"):
        find_equilibria(didactic_game(), seed=1, generator=torch.Generator())


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
