"""Division of the subject: the questions, what is said about them, and what comes of it."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

import dnl
from dnl.equilibria.division import division, questions, speeches
from games import PersuasionGame
from tests.cases.finding import Sizes, contested, convicted_best, prosecutors, searching, tensors


def partition(labels: Tensor) -> frozenset[frozenset[int]]:
    named = labels.tolist()
    return frozenset(
        frozenset(s for s, name in enumerate(named) if name == block) for block in set(named)
    )


def case(game: PersuasionGame, which: int, n_cases: int) -> frozenset[frozenset[int]]:
    """The states by guilt in one case: its bit of their number."""
    bit = n_cases - 1 - which
    return partition(torch.tensor([s >> bit & 1 for s in range(game.n_states)]))


@pytest.mark.parametrize("n_cases", [2, 3])
def test_the_cases_are_asked_about_first(n_cases: int) -> None:
    game = prosecutors((0.3,) * n_cases, (1.0,) * n_cases)
    asked = [partition(labels) for labels in questions(game)]
    assert set(asked[:n_cases]) == {case(game, which, n_cases) for which in range(n_cases)}


def test_questions_have_several_answers_and_come_once() -> None:
    game = contested((2, 3, 5, 4), seed=0)
    asked = [partition(labels) for labels in questions(game)]
    assert len(asked) == len(set(asked)) >= 5
    assert min(map(len, asked)) >= 2
    v = game.receiver_utility
    for a, b in itertools.combinations(range(4), 2):
        ahead = partition((v[:, a] > v[:, b]).long())
        assert ahead in asked or len(ahead) == 1


def test_one_case_alone_is_the_prosecutor() -> None:
    """Convicted always if guilty, and of the innocent 3 in 7: a conviction must be even odds."""
    game = prosecutors(own=True)
    labels = torch.tensor([s >> 2 & 1 for s in range(8)])
    said = speeches(game, labels)
    assert len(said) >= 2
    for policy in said:  # about the first case only
        for state in range(8):
            assert torch.equal(policy[state], policy[4 * (state >> 2)])
    convicting = [policy[:, policy[4].argmax()] for policy in said]
    plans = [(float(column[0]), float(column[4])) for column in convicting]
    assert any(plan == pytest.approx((3 / 7, 1.0), abs=1e-5) for plan in plans)
    assert any(plan == pytest.approx((0.0, 1.0), abs=1e-9) for plan in plans)  # the answer itself


GUILTY = [(0.3, 0.3, 0.3), (0.2, 0.4), (0.1, 0.25, 0.4)]


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("guilty", GUILTY)
def test_every_prosecutor_is_as_persuasive_as_it_can_be(
    guilty: tuple[float, ...], own: bool, tie_break: str
) -> None:
    weights = tuple(1.0 + 0.5 * k for k in range(len(guilty)))
    game = prosecutors(guilty, weights, own=own, tie_break=tie_break)
    search = searching(game)
    proposed = tensors(division(search))
    best = convicted_best(guilty) * (1 if own else len(guilty))
    welfare = [search.worth(policies).item() for policies in proposed]
    assert max(welfare) == pytest.approx(best, abs=1e-4)
    assert max(welfare) <= search.ceiling.any_profile + 1e-9
    top = proposed[welfare.index(max(welfare))]
    assert search.is_every_best(top)


@pytest.mark.whole_run
@pytest.mark.usefixtures("few_starts")
@pytest.mark.parametrize(("n_cases", "own", "welfare"), [(2, False, 2.4), (3, True, 1.8)])
def test_the_finder_divides(n_cases: int, own: bool, welfare: float) -> None:
    """Found and proven as a global equilibrium, welfare at the ceiling."""
    game = prosecutors((0.3,) * n_cases, (1.0,) * n_cases, own=own)
    found = dnl.find_equilibria(game, time_limit=60.0)
    assert found[0].welfare == pytest.approx(welfare, abs=1e-4)
    assert found[0].welfare >= dnl.welfare_ceiling(game).any_profile - 1e-4
    assert found[0].is_global
    assert dnl.verify(game, found[0].policies, None).is_equilibrium


@pytest.mark.parametrize("sizes", [(2, 2, 3, 3), (2, 4, 4, 4), (3, 2, 4, 3), (1, 2, 3, 3)])
def test_what_is_proposed_survives(sizes: Sizes) -> None:
    for seed in range(3):
        search = searching(contested(sizes, seed))
        first, second = tensors(division(search)), tensors(division(search))
        for one, two in zip(first, second, strict=True):
            search.game.check_policies(one)
            assert torch.equal(one, two)
            assert search.survives(one.unsqueeze(0)).all()


def spoiled(game: PersuasionGame) -> PersuasionGame:
    """With an action twice, and with a first state that never happens."""
    prior = torch.cat([torch.zeros(1).double(), game.prior])
    v, u = (
        torch.cat([table[..., :1, :], table], -2)
        for table in (game.receiver_utility, game.sender_utility)
    )
    v, u = (torch.cat([table, table[..., -1:]], -1) for table in (v, u))
    return PersuasionGame(prior, v, u, game.n_signals, game.tie_break)


def test_duplicates_and_impossible_states_are_harmless() -> None:
    search = searching(spoiled(prosecutors()))
    welfare = [search.worth(policies).item() for policies in tensors(division(search))]
    assert max(welfare) == pytest.approx(5.4, abs=1e-4)


def test_nothing_is_said_where_nothing_can_be() -> None:
    mute = dataclasses.replace(prosecutors(), n_signals=1)
    assert tensors(division(searching(mute))) == []
    game = prosecutors()
    careless = dataclasses.replace(game, receiver_utility=torch.zeros(8, 8).double())
    for policies in tensors(division(searching(careless))):
        game.check_policies(policies)
    assert tensors(division(searching(game, seconds=-1.0))) == []
