"""Equivalent statements of a game give the same values, verdicts and found welfare.

For every registered game: an action listed twice, a state split in two, and states, senders,
signals and actions in another order. The order of actions decides ties, so it is changed only in
games without ties.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

import dnl
from games import REGISTRY, PersuasionGame
from games.persuasion.labels import NAMES

Result = TypeVar("Result")

NEAR = 1e-6  # of the payoff range
CLOSED = 2e-6  # of the payoff range: a search ends when it is within 1e-6
REACHED = 1e-5  # of the payoff range: what a witness may lose to its margin
MEMBERS = ("full-revelation", "one-speaker")
RESPONDED = 2000  # joint signals x states x actions: beyond, best responses take seconds
SPLIT = 200  # the same where a state is split, which may leave fewer signals than states
SEARCHED = 80  # the same for a search of equilibria
FEW = ("first_action_again_at_the_end", "split_state", "other_states")  # in larger games


@dataclass(frozen=True, eq=False)
class Written:
    """A game, a profile `(N, S, M)` in it, and the index of the original's first sender."""

    game: PersuasionGame
    profile: Tensor
    sender: int = 0


def original(name: str) -> Written:
    names: dict[str, Any] = dict.fromkeys(NAMES)  # those of other actions would not fit
    game = replace(REGISTRY[name].make(0), **names)
    return Written(game, game.sample_policies(1, torch.Generator().manual_seed(0))[0])


def with_actions(written: Written, order: list[int]) -> Written:
    """The game with the actions of these indices."""
    game = written.game
    v, u = game.receiver_utility[:, order], game.sender_utility[:, :, order]
    return replace(written, game=replace(game, receiver_utility=v, sender_utility=u))


def with_states(written: Written, order: list[int], shares: Tensor | None = None) -> Written:
    """The game with the states of these indices, each with a share of its prior."""
    game = written.game
    prior = game.prior[order] if shares is None else game.prior[order] * shares
    changed = replace(
        game,
        prior=prior,
        receiver_utility=game.receiver_utility[order],
        sender_utility=game.sender_utility[:, order],
    )
    return replace(written, game=changed, profile=written.profile[:, order])


def first_action_again_at_the_end(written: Written) -> Written:
    """The copy has the highest index, so it is never taken."""
    return with_actions(written, [*range(written.game.n_actions), 0])


def last_action_twice_in_place(written: Written) -> Written:
    """The copy comes right before the action, so it is taken instead."""
    actions = list(range(written.game.n_actions))
    return with_actions(written, [*actions, actions[-1]])


def last_action_also_first(written: Written) -> Written:
    actions = list(range(written.game.n_actions))
    return with_actions(written, [actions[-1], *actions])


def split_state(written: Written) -> Written:
    """State 0 becomes two states with 3/10 and 7/10 of its prior."""
    n_states = written.game.n_states
    shares = torch.tensor([0.3, *[1.0] * (n_states - 1), 0.7], dtype=torch.float64)
    return with_states(written, [*range(n_states), 0], shares)


def other_states(written: Written) -> Written:
    return with_states(written, list(reversed(range(written.game.n_states))))


def other_senders(written: Written) -> Written:
    game = written.game
    return Written(
        replace(game, sender_utility=game.sender_utility.flip(0)),
        written.profile.flip(0),
        game.n_senders - 1,
    )


def other_signals(written: Written) -> Written:
    """Each sender orders its signals in its own way."""
    rolled = [policy.roll(n + 1, -1) for n, policy in enumerate(written.profile)]
    return replace(written, profile=torch.stack(rolled))


def other_actions(written: Written) -> Written:
    return with_actions(written, list(reversed(range(written.game.n_actions))))


ANY_GAME: dict[str, Callable[[Written], Written]] = {
    function.__name__: function
    for function in (
        first_action_again_at_the_end,
        last_action_twice_in_place,
        split_state,
        other_states,
        other_senders,
        other_signals,
    )
}
UNTIED_GAME: dict[str, Callable[[Written], Written]] = {  # utilities of continuous laws
    function.__name__: function for function in (last_action_also_first, other_actions)
}


def size(name: str) -> int:
    n, m, s, a = original(name).game.shape
    return m**n * s * a


CASES = [
    (name, change)
    for name in REGISTRY
    for change in (*ANY_GAME, *(UNTIED_GAME if name.startswith("synthetic") else ()))
    if change in FEW or size(name) <= RESPONDED
]
RESPONSES = [
    (name, change)
    for name, change in CASES
    if size(name) <= (SPLIT if change == "split_state" else RESPONDED)
]
ALONE = [case for case in RESPONSES if case[1] not in ("other_senders", "other_signals")]
SEARCHES = [(name, change) for name, change in CASES if size(name) <= SEARCHED]
of_cases = partial(pytest.mark.parametrize, ("name", "change"))


def changed(name: str, change: str) -> Written:
    return (ANY_GAME | UNTIED_GAME)[change](original(name))


def values(written: Written) -> Tensor:
    """Utilities of the profile, full revelation, no information, per sender; `(3, N)`."""
    game = written.game
    revealed = dnl.full_revelation(game).utilities
    rows = torch.stack([game.ex_ante_utility(written.profile), revealed, game.no_information()])
    return rows if written.sender == 0 else rows.flip(1)


def ceilings(written: Written) -> Tensor:
    ceiling = dnl.welfare_ceiling(written.game)
    return torch.tensor([ceiling.any_profile, ceiling.global_equilibrium], dtype=torch.float64)


def verdict(written: Written) -> str | tuple[str, ...]:
    return dnl.verify(written.game, written.profile).verdict


def response(written: Written) -> dnl.BestResponse:
    return dnl.best_response(written.game, written.profile, written.sender)


def welfare(written: Written) -> float:
    """The highest that the quick members find."""
    found = dnl.find_equilibria(written.game, time_limit=20.0, members=MEMBERS)
    return max((e.welfare for e in found), default=float("-inf"))


def optimum(written: Written) -> Tensor:
    """Utility and bound of the first sender alone."""
    game = written.game
    alone = replace(game, sender_utility=game.sender_utility[:1], tie_break="first")
    found = dnl.optimal_persuasion(alone, time_limit=20.0)
    return torch.tensor([found.utility, found.upper_bound], dtype=torch.float64)


@cache
def before(name: str, computed: Callable[[Written], Result]) -> Result:
    """The same for the game as it is registered."""
    return computed(original(name))


@pytest.mark.whole_run
@of_cases(CASES)
def test_values_and_verdicts_stay(name: str, change: str) -> None:
    old, new = original(name).game, changed(name, change)
    span = old.payoff_range
    torch.testing.assert_close(values(new) / span, before(name, values) / span, rtol=0, atol=NEAR)
    total = span.sum().item()
    torch.testing.assert_close(
        ceilings(new) / total, before(name, ceilings) / total, rtol=0, atol=NEAR
    )
    assert verdict(new) == before(name, verdict)


@pytest.mark.whole_run
@of_cases(RESPONSES)
def test_best_responses_stay(name: str, change: str) -> None:
    span = original(name).game.payoff_range[0].item()
    old, new = before(name, response), response(changed(name, change))
    assert new.upper_bound == pytest.approx(old.upper_bound, rel=0, abs=CLOSED * span)
    assert new.utility == pytest.approx(old.utility, rel=0, abs=REACHED * span)
    assert new.status == old.status


@of_cases(ALONE)
def test_optimal_persuasion_stays(name: str, change: str) -> None:
    span = original(name).game.payoff_range[0].item()
    torch.testing.assert_close(
        optimum(changed(name, change)) / span,
        before(name, optimum) / span,
        rtol=0,
        atol=CLOSED,
    )


@pytest.mark.whole_run
@of_cases(SEARCHES)
def test_found_welfare_stays(name: str, change: str) -> None:
    total = original(name).game.payoff_range.sum().item()
    found = welfare(changed(name, change))
    assert found > float("-inf")
    assert found == pytest.approx(before(name, welfare), rel=0, abs=NEAR * total)
