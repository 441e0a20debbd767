"""The planner's recommendations: what everybody wants, or what all are granted."""

import dataclasses

import pytest
import torch

import dnl
from dnl.equilibria.planner import planner
from dnl.exact.welfare_ceiling import own_ceilings
from games import PersuasionGame, synthetic_game
from tests.cases.finding import Sizes, contested, searching, tensors
from tests.equilibria.test_division import spoiled

SIZES: list[Sizes] = [(2, 3, 4, 3), (3, 4, 3, 4), (1, 3, 3, 3)]


def of_one_mind(sizes: Sizes, seed: int) -> PersuasionGame:
    """All senders want the same, in units of their own; the last one does not care."""
    game = contested(sizes, seed)
    u = torch.stack([(n + 1) * game.sender_utility[0] + n for n in range(sizes[0])])
    if sizes[0] > 1:
        u[-1] = 7.0
    return dataclasses.replace(game, sender_utility=u)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", SIZES)
def test_where_all_want_the_same_all_get_it(sizes: Sizes, seed: int) -> None:
    game = of_one_mind(sizes, seed)
    search = searching(game)
    proposed = tensors(planner(search))
    best = max(proposed, key=lambda policies: search.worth(policies).item())
    slack = 1e-5 * game.payoff_range + 1e-9
    assert (game.ex_ante_utility(best) >= own_ceilings(game) - slack).all()
    assert search.worth(best).item() >= search.ceiling.any_profile - slack.sum().item()
    assert search.is_every_best(best)
    assert dnl.verify(game, best, None).is_equilibrium


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 2, 4, 4), (2, 4, 4, 4), (3, 2, 3, 3)])
def test_what_is_proposed_survives_and_comes_once(sizes: Sizes) -> None:
    count = 0
    for seed in range(4):
        search = searching(contested(sizes, seed))
        proposed = tensors(planner(search))
        count += len(proposed)
        for policies in proposed:
            search.game.check_policies(policies)
            assert search.survives(policies.unsqueeze(0)).all()
            assert (policies.sum(1) > 0).all()  # all signals are in use
    assert count > 0


def test_with_fewer_signals_than_actions_the_least_used_is_given_up() -> None:
    """Three states to name, two signals: the state of least weight is not told apart."""
    identity = torch.eye(3, dtype=torch.float64)
    wanted = identity.expand(2, 3, 3)
    game = PersuasionGame([0.5, 0.3, 0.2], identity, wanted, n_signals=2)
    search = searching(game)
    best = max(search.worth(policies).item() for policies in tensors(planner(search)))
    assert best == pytest.approx(2 * 0.8)


def test_duplicates_and_impossible_states_are_harmless() -> None:
    game = spoiled(of_one_mind((2, 4, 3, 3), 1))
    search = searching(game)
    proposed = tensors(planner(search))
    assert any(search.is_every_best(policies) for policies in proposed)
    careless = dataclasses.replace(game, receiver_utility=0 * game.receiver_utility)
    for policies in tensors(planner(searching(careless))):
        game.check_policies(policies)


def test_nothing_comes_when_the_time_is_over() -> None:
    assert tensors(planner(searching(contested((2, 2, 2, 2), 0), seconds=-1.0))) == []
    mute = synthetic_game(2, 1, 3, 3, seed=0)
    for policies in tensors(planner(searching(mute))):
        mute.check_policies(policies)
