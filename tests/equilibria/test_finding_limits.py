"""What the finder does with its time: looks at the clock, and proves nothing twice."""

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import dnl
from dnl.equilibria.member import MEMBERS, default_members
from dnl.equilibria.search import Search
from dnl.equilibria.verification import verify, verify_profile
from dnl.runtime.budget import Budget
from games import PersuasionGame, synthetic_game
from tests.cases.finding import contested, groups, prosecutors

pytestmark = pytest.mark.usefixtures("few_starts")
MEMBERS_THAT_SEARCH = [
    n for n in default_members() if n not in ("no-information", "full-revelation")
]


class Clock:
    """A clock for budgets that moves by a step at each look, whatever happens in between."""

    def __init__(self) -> None:
        self.now, self.looks, self.step = time.perf_counter(), 0, 0.0

    def perf_counter(self) -> float:
        self.looks += 1
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("dnl.runtime.budget.time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


@pytest.mark.parametrize("looks", [0, 3, 30])
@pytest.mark.parametrize("name", MEMBERS_THAT_SEARCH)
def test_members_end_soon_after_the_time(
    name: str, looks: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look again a few times at most: each loop on the way out once."""
    monkeypatch.setattr("dnl.equilibria.search.PROFILES_AT_ONCE", 2)
    search = Search(contested((3, 2, 3, 3), seed=1), 0.005, Budget.within(1000.0))
    clock.looks, clock.step = 0, 1000.0 / (looks + 0.5)
    for _ in MEMBERS[name].propose(search):
        pass
    assert clock.looks <= looks + 12


def test_extragradient_looks_at_the_clock_at_every_gradient(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = contested((2, 3, 3, 3), seed=0)
    search = Search(game, 0.005, Budget.within(100.0))
    asked = 0

    def utility(game: Any, temperature: float) -> Any:
        def counted(policies: torch.Tensor) -> torch.Tensor:
            nonlocal asked
            asked += 1
            return game.ex_ante_utility(policies)

        return counted

    monkeypatch.setattr("dnl.equilibria.gradient_ascent.smoothed_utility", utility)
    clock.step = 10.0
    assert list(MEMBERS["extragradient"].propose(search)) == []
    assert 5 <= asked <= 12
    assert search.cut


def test_large_games_have_fewer_starts_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.MOST_GRADIENT_ENTRIES", 2 * 3 * 16 * 8)
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.extragradient", record := Recorder())
    list(MEMBERS["extragradient"].propose(Search(contested((2, 4, 4, 4), seed=0), 0.005)))
    assert [len(starts) for _, starts, _ in record.calls] == [3] * 5  # temperatures, true pieces
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.MOST_GRADIENT_ENTRIES", 100)
    assert (
        list(MEMBERS["extragradient"].propose(Search(contested((2, 4, 4, 4), seed=0), 0.005))) == []
    )


class Recorder:
    """Takes the place of extra-gradient: stays where it starts."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, torch.Tensor, Any]] = []

    def __call__(self, utility: Any, starts: torch.Tensor, config: Any) -> SimpleNamespace:
        self.calls.append((utility, starts, config))
        return SimpleNamespace(policies=starts)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The radii of the verifications that the finder asks for."""
    radii: list[float | None] = []

    def spy(*args: Any, **more: Any) -> dnl.Verification:
        radii.append(args[2])
        return verify_profile(*args, **more)

    monkeypatch.setattr("dnl.equilibria.portfolio.verify_profile", spy)
    return radii


@pytest.mark.parametrize("sizes", [(2, 1, 3, 3), (3, 1, 2, 4), (2, 1, 40, 40)])
def test_with_one_signal_the_search_ends_at_once(
    sizes: tuple[int, int, int, int], verified: list[float | None]
) -> None:
    game = synthetic_game(*sizes, seed=0)
    (only,) = dnl.find_equilibria(game, time_limit=1000.0)
    assert verified == []  # nobody can deviate
    assert (only.status, only.is_global, only.global_gap) == ("complete", True, 0.0)
    torch.testing.assert_close(only.utilities, game.no_information())


def test_a_global_certificate_is_a_local_one(verified: list[float | None]) -> None:
    found = dnl.find_equilibria(groups(2, 2, 2, 4), members=["agreement"], time_limit=100.0)
    assert [e.is_global for e in found] == [True]
    assert 0.005 not in verified
    assert found[0].verification.verdict == "certified"
    assert found[0].verification.radius == 0.005
    assert (found[0].verification.gain <= 1e-5 * found[0].game.payoff_range).all()
    assert torch.equal(found[0].verification.witness, found[0].policies)


def test_at_a_small_radius_a_global_certificate_does_not_suffice(
    verified: list[float | None],
) -> None:
    """There less gain is allowed: 1e-5 of the range at 0.005, a tenth of it at 0.0005."""
    game = contested((2, 3, 3, 3), seed=2)
    for e in dnl.find_equilibria(game, radius=0.0005, time_limit=20.0):
        assert e.verification.radius == 0.0005
        assert (e.verification.gain <= 1e-6 * game.payoff_range).all()


def test_what_the_search_has_proven_is_not_lost_to_the_clock(
    monkeypatch: pytest.MonkeyPatch, verified: list[float | None]
) -> None:
    """No time is kept for verification at the end: the search's own certificates must do."""
    monkeypatch.setattr("dnl.equilibria.portfolio.Budget", SimpleNamespace(within=Hurried))
    game = contested((2, 2, 2, 2), seed=1)
    found = dnl.find_equilibria(game, members=["no-information", "full-revelation"])
    assert verified == []
    assert {e.source for e in found} == {"no-information", "full-revelation"}
    for e in found:
        assert verify(game, e.policies).is_equilibrium
        assert e.verification.is_equilibrium
        assert e.is_global <= verify(game, e.policies, None).is_equilibrium
        best = verify(game, e.policies, None).witness_gain
        assert (best <= e.global_verification.gain + 1e-9).all()


class Hurried:
    """A budget that has time for the search and none for what comes after."""

    left = 0.0

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def part(self, share: float) -> Budget:
        return Budget.within(share * self.seconds)


@pytest.mark.whole_run
@pytest.mark.parametrize(
    "game", [prosecutors((0.3, 0.3), (1.0, 1.0)), groups(2, 2, 3, 6), contested((2, 2, 3, 3), 0)]
)
def test_what_is_returned_differs_in_outcome(game: PersuasionGame) -> None:
    found = dnl.find_equilibria(game, time_limit=15.0)
    outcomes = [game.stacked().outcome_distribution(e.policies[None, None])[0, 0] for e in found]
    assert len(found) >= 2
    for i, one in enumerate(found):
        for j, two in enumerate(found):
            apart = (outcomes[i] - outcomes[j]).abs().sum() / 2 > 1e-4
            better = one.welfare > two.welfare + 1e-7 and not one.is_global
            worse = two.welfare > one.welfare + 1e-7 and not two.is_global
            assert i == j or apart or better or worse
            assert math.isfinite(one.welfare)
