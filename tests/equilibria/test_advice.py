"""What a reader is told to do after a search: only what can help."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl import Equilibrium, find_equilibria, full_revelation
from dnl.equilibria.advice import next_steps
from dnl.equilibria.verification import Verdict
from dnl.exact.deviation import deviation
from dnl.exact.global_response import GlobalResponse
from dnl.exact.local_response import LocalResponse
from dnl.exact.status import Status
from dnl.runtime.budget import Budget
from games import PersuasionGame, didactic_game, prosecutor_game
from tests.cases.finding import contested, verified

pytestmark = pytest.mark.usefixtures("few_starts")

OPTIMUM = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
SILENCE = torch.full((1, 2, 2), 0.5, dtype=torch.float64)


def equilibrium(game: PersuasionGame, policies: Tensor, status: str = "complete") -> Equilibrium:
    local, everywhere = verified(game, policies), verified(game, policies, None)
    return Equilibrium(game, policies, local, everywhere, "by hand", status)


def told(game: PersuasionGame, found: Sequence[Equilibrium], **more: Any) -> str:
    return "\n".join(next_steps(game, found, **more))


def undecided(game: PersuasionGame, status: Status) -> Equilibrium:
    """The optimum, whose proof ended with this status at a bound of 0.01."""
    gain = torch.full((1,), 0.01, dtype=torch.float64)
    everywhere = replace(
        verified(game, OPTIMUM, None),
        gain=gain,
        relative_gain=gain,
        verdict=Verdict.UNDECIDED,
        status=(str(status),),
    )
    return replace(equilibrium(game, OPTIMUM), global_verification=everywhere)


# ------------------------------------------------------------------------- how good the best can be


def test_where_the_ceiling_is_met_nothing_is_to_be_gained() -> None:
    """The optimum of the prosecutor, whatever ended the search."""
    game = prosecutor_game()
    for status in ("complete", "time limit", "interruption"):
        found = [equilibrium(game, OPTIMUM, status), equilibrium(game, SILENCE, status)]
        assert next_steps(game, found) == (
            "Number 1 has the highest welfare of all Nash equilibria (0.6, proven): no search can "
            "find a better one.",
        )


def test_more_time_is_advised_where_the_clock_ended_the_search_only() -> None:
    game = didactic_game()
    truth = full_revelation(game).policies
    assert truth is not None  # worth 0.8, and 2.0 is the best
    for status, word in (
        ("time limit", "a longer time_limit (--time-limit) may find a better one"),
        ("complete", "More time changes nothing, but another seed (--seed)"),
        ("interruption", "The search was interrupted"),
    ):
        text = told(game, [equilibrium(game, truth, status)])
        assert "Number 1 is the best Nash equilibrium found (welfare: 0.8)" in text
        assert "none exceeds 2" in text
        assert word in text
        assert ("longer time_limit" in text) == (status == "time limit")


def test_a_ceiling_that_a_local_equilibrium_meets_leaves_nash_ones_to_search_for() -> None:
    """Silence is worth 19.04 in this game, as much as any profile, but is not Nash."""
    game = contested((2, 2, 3, 2), seed=1)
    found = find_equilibria(game, members=["no-information", "full-revelation"], time_limit=10.0)
    text = told(game, found)
    assert "Number 1 is the best Nash equilibrium found (welfare: 10.5104)" in text
    assert "No profile of policies has a higher welfare than number 2 (19.0421, proven)" in text


def test_the_ranking_is_that_of_the_search() -> None:
    game = didactic_game()
    truth = full_revelation(game).policies
    assert truth is not None
    text = told(game, [equilibrium(game, truth, "time limit")], rank_by="receiver")
    assert "the highest receiver's utility of all Nash equilibria (1, proven)" in text
    assert "time_limit" not in text


# --------------------------------------------------------------------------------- nothing is Nash


def test_without_a_nash_equilibrium() -> None:
    game = contested((2, 2, 3, 2), seed=1)
    silent = torch.full((2, 3, 2), 0.5, dtype=torch.float64)
    text = told(game, [equilibrium(game, silent)])
    assert "None of them is proven to be Nash, yet full revelation is a Nash equilibrium" in text
    assert 'members=["full-revelation"] (--members full-revelation) finds it' in text
    assert 'scope="global" (--global) spends the whole search on Nash equilibria' in text
    alone = prosecutor_game()  # here full revelation is none
    text = told(alone, [equilibrium(alone, SILENCE)])
    assert "None of them is proven to be Nash. This does not show that there is none" in text
    nothing = told(alone, [], scope="global", status="time limit")
    assert nothing.startswith("No Nash equilibrium was certified. This does not show")
    assert "the last 10% of the time are for proofs" in nothing
    assert "--global" not in nothing
    assert told(alone, []).startswith("No profile was certified.")


# ----------------------------------------------------------------------- why verdicts are undecided


@pytest.mark.parametrize(
    ("status", "word", "time_helps"),
    [
        (Status.TIME_LIMIT, "the proof ran out of time", True),
        (Status.MEMORY_LIMIT, "more entries than memory allows. More time does not help", False),
        (Status.NOT_ATTAINED, 'More time does not help, tie_break="senders" may', False),
        (Status.SUSPECT, "rescale utilities", False),
        (Status.OPTIMAL, "about as large as the tolerance", False),
    ],
)
def test_why_a_verdict_is_undecided(status: Status, word: str, time_helps: bool) -> None:
    game = prosecutor_game("first")
    one = undecided(game, status)
    text = told(game, [one, one])
    assert "Whether numbers 1, 2 are Nash is undecided: " in text
    assert word in text
    assert ("longer time_limit" in text) == time_helps
    assert "Whether number 1 is Nash" in told(game, [one])


def test_another_tie_rule_is_advised_where_it_can_change_something() -> None:
    game = prosecutor_game("senders")  # it is that rule already
    assert "tie_break" not in told(game, [undecided(game, Status.NOT_ATTAINED)])


def test_a_program_that_memory_does_not_hold_says_so() -> None:
    """Not that it ran out of time."""
    game = contested((2, 3, 3, 3), seed=0)
    policies = game.sample_policies(1, torch.Generator().manual_seed(0))[0]
    problem = deviation(game, policies.numpy(), 0)
    small = Budget(Budget.within(100.0).deadline, memory=100)
    assert GlobalResponse(problem, 1e-6, small).status is Status.MEMORY_LIMIT
    assert LocalResponse(problem, 1.0, 1e-6, small).status is Status.MEMORY_LIMIT
    assert GlobalResponse(problem, 1e-6, Budget.within(100.0)).status is Status.OPTIMAL


# ---------------------------------------------------------------------------- limits not attained


def test_a_limit_that_another_tie_rule_attains() -> None:
    """Under "first" the judge acquits at the optimum, so the prosecutor must stay below 0.6."""
    game = prosecutor_game("first")
    (best, *_) = find_equilibria(game, members=["planner"], time_limit=10.0)
    assert 0.6 - 1e-6 < best.welfare < 0.6
    text = told(game, [best])
    assert "The ceiling is a limit" in text
    assert 'With tie_break="senders" a profile attains it' in text
    attained = prosecutor_game("senders")
    (best, *_) = find_equilibria(attained, members=["planner"], time_limit=10.0)
    assert "limit" not in told(attained, [best])


def test_a_value_that_is_attained_is_no_limit() -> None:
    """All want what the receiver wants: full revelation gives everybody 1."""
    game = PersuasionGame([0.5, 0.5], [[1, 0], [0, 1]], [[[1, 0], [0, 1]]] * 2, n_signals=2)
    truth = full_revelation(game).policies
    assert truth is not None
    text = told(game, [equilibrium(game, truth)])
    assert text.startswith("Number 1 has the highest welfare of all Nash equilibria (2, proven)")
    assert "limit" not in text
