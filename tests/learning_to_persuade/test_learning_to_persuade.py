"""Learning to persuade: against known answers and the linear program."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl.exact.recommendation import Recommendation
from dnl.learning_to_persuade import (
    PAPER_WARM_UP,
    AlternatingConfig,
    LearnedPolicy,
    ReceiverNetwork,
    SenderProblem,
    TableNet,
    WarmUpConfig,
    learn_alternating,
    persuade_known,
)
from dnl.learning_to_persuade.networks import columns_of, expected_utility
from games import PersuasionGame, didactic_game, prosecutor_game, random_matrix_game
from games.receivers import BaseReceiver, QuantalReceiver, RationalReceiver

# Sizes at which a test takes seconds.
QUICK = WarmUpConfig(iterations=300)
SMALL = AlternatingConfig(
    schemes=100,
    fit_steps=400,
    batch_size=64,
    tune_steps=100,
    restarts=2,
    sender_steps=200,
    sender_lr=0.05,
    threshold=0.01,
)
TINY = dataclasses.replace(
    SMALL, schemes=5, fit_steps=2, tune_steps=2, sender_steps=2, rounds=3, threshold=0.0
)


def optimum(game: PersuasionGame) -> float:
    """The linear program's."""
    utility = game.sender_utility[0].numpy()
    best = Recommendation(game, utility).best(tuple(range(game.n_actions)))
    assert best is not None
    return float((game.prior.numpy()[:, None] * best * utility).sum())


def ask(game: PersuasionGame, policies: Tensor) -> float:
    """What a policy is truly worth."""
    return game.ex_ante_utility(policies).item()


# ---------------------------------------------------------------------------------- networks


def test_a_table_begins_as_a_layer_of_one_input_does() -> None:
    logits = TableNet.random((200, 5, 4), torch.Generator().manual_seed(0)).logits
    assert logits.std().item() == pytest.approx(math.sqrt(2 / 3), rel=0.05)
    assert logits.abs().max() <= 2
    torch.testing.assert_close(TableNet(logits)().sum(-1), torch.ones(200, 5))


def test_the_receiver_network_sees_one_column_at_a_time() -> None:
    network = ReceiverNetwork(3, 2, 4, hidden=(5, 6)).double()
    game = random_matrix_game(3, 4, seed=100, n_signals=2)
    columns = columns_of(game.sample_policies(7)[:, 0], game.prior)  # (B, M, S)
    assert network(columns).shape == (7, 2, 4)
    torch.testing.assert_close(network(columns)[3, 1], network(columns[3, 1]))


def test_expected_utility_is_equation_8() -> None:
    game = random_matrix_game(3, 4, seed=100, n_signals=2)
    policy, response = game.sample_policies(1)[0, 0], torch.rand(2, 4).double()
    utility = game.sender_utility[0]
    expected = sum(
        game.prior[s] * policy[s, m] * response[m, a] * utility[s, a]
        for s in range(3)
        for m in range(2)
        for a in range(4)
    )
    got = expected_utility(columns_of(policy, game.prior), response, utility)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("change", [{"n_states": 0}, {"n_actions": 1.5}, {"hidden": (3, 0)}])
def test_bad_networks(change: dict[str, Any]) -> None:
    sizes: dict[str, Any] = {"n_states": 2, "n_signals": 2, "n_actions": 2, "hidden": (3,)}
    with pytest.raises(ValueError, match=f"{next(iter(change))} must .* of at least 1"):
        ReceiverNetwork(**(sizes | change))


# ---------------------------------------------------------------------------------- warm-up


def test_the_prosecutor_persuades_the_judge() -> None:
    learned = persuade_known(prosecutor_game(), QUICK)
    assert 0.594 <= learned.utility <= 0.6 + 1e-9
    assert ask(prosecutor_game(), learned.policies) == pytest.approx(learned.utility, abs=1e-12)
    assert learned.predicted == pytest.approx(learned.utility, abs=0.02)
    assert (learned.queries, max(learned.utilities)) == (0, learned.utility)
    assert learned.policies.sum(-1).tolist() == [pytest.approx([1, 1], abs=1e-15)]  # in float64


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("seed", [100, 101])
def test_a_known_receiver_is_persuaded_about_as_well_as_can_be(size: int, seed: int) -> None:
    game = random_matrix_game(size, size, seed)
    learned = persuade_known(game, QUICK)
    assert 0.98 * optimum(game) <= learned.utility <= optimum(game) + 1e-9
    assert len(learned.utilities) == QUICK.iterations // QUICK.tested + 1


def test_the_paper_s_settings_do_worse() -> None:
    games = [random_matrix_game(8, 8, seed) for seed in (100, 101)]
    ours, theirs = (
        [persuade_known(game, config).utility / optimum(game) for game in games]
        for config in (QUICK, dataclasses.replace(PAPER_WARM_UP, tested=100))
    )
    assert min(ours) > 0.98
    assert 0.9 < sum(theirs) / 2 < sum(ours) / 2


@pytest.mark.parametrize("n_signals", [1, 2, 7])
def test_messages_need_not_be_as_many_as_actions(n_signals: int) -> None:
    game = random_matrix_game(4, 5, seed=100, n_signals=n_signals)
    learned = persuade_known(game, QUICK)
    assert learned.policies.shape == (1, 4, n_signals)
    nothing = game.no_information().item()
    if n_signals == 1:
        assert learned.utility == pytest.approx(nothing)
    else:
        assert nothing < learned.utility <= optimum(game) + 1e-9
    if n_signals == 7:
        assert learned.utility >= 0.98 * optimum(game)


def test_warm_up_s_seed_decides() -> None:
    game, config = random_matrix_game(4, 4, 100), WarmUpConfig(iterations=40, restarts=2)
    first, again, other = (persuade_known(game, config, seed) for seed in (0, 0, 1))
    assert torch.equal(first.policies, again.policies)
    assert first.utilities == again.utilities
    assert not torch.equal(first.policies, other.policies)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations must be an integer of at least 1, got 0"),
        ({"restarts": 1.5}, "restarts must be an integer of at least 1, got 1.5"),
        ({"tested": 0}, "tested must be an integer of at least 1, got 0"),
        ({"lr": (0.1,)}, r"lr must be the first and the last, got \(0.1,\)"),
        ({"lr": (0.1, 0)}, "lr must be finite and above 0, got 0"),
        ({"precision": (-1, 2)}, "precision must be finite and above 0, got -1"),
        ({"lean": -1}, "lean must be finite and at least 0, got -1"),
    ],
)
def test_bad_warm_up_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WarmUpConfig(**change)


def test_only_one_sender_warms_up() -> None:
    with pytest.raises(ValueError, match="game must be a PersuasionGame of one sender"):
        persuade_known(didactic_game())
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        persuade_known(prosecutor_game(), seed=-1)


# ---------------------------------------------------------------------------------- Algorithm 1


class Secretive(BaseReceiver):
    """Acts as a rational receiver of another game: what `game` says of its utility is wrong."""

    def __init__(self, game: PersuasionGame) -> None:
        lie = PersuasionGame(
            game.prior, -game.receiver_utility, game.sender_utility, game.n_signals, game.tie_break
        )
        super().__init__(lie)
        self.true = RationalReceiver(game)

    def _settle(self, policies: Tensor) -> Tensor:
        return self.true.respond(policies)


def learn(game: PersuasionGame, config: AlternatingConfig = SMALL, seed: int = 0) -> LearnedPolicy:
    """Algorithm 1 with a rational receiver."""
    return learn_alternating(SenderProblem.of(game), RationalReceiver(game), config, seed)


def test_most_of_the_optimum_is_found_by_asking() -> None:
    game = random_matrix_game(3, 3, seed=100)
    learned = learn(game)
    assert 0.9 * optimum(game) <= learned.utility <= optimum(game) + 1e-9
    assert ask(game, learned.policies) == pytest.approx(learned.utility, abs=1e-9)
    assert min(learned.accuracy) > 0.95
    assert learned.utilities[-1] == learned.utility


def test_the_prosecutor_persuades_an_unknown_judge() -> None:
    learned = learn(prosecutor_game())
    assert 0.5 <= learned.utility <= 0.6 + 1e-9


def test_fewer_messages_than_actions() -> None:
    game = random_matrix_game(3, 4, seed=100, n_signals=2)
    learned = learn(game)
    assert learned.policies.shape == (1, 3, 2)
    assert learned.utility > game.no_information().item()


def test_the_receiver_is_asked_and_not_looked_into() -> None:
    game = random_matrix_game(3, 3, seed=100)
    honest, receiver = learn(game), Secretive(game)
    secret = learn_alternating(SenderProblem.of(game), receiver, SMALL)
    assert torch.equal(secret.policies, honest.policies)
    assert secret.utilities == honest.utilities
    assert secret.queries == receiver.queries == len(secret.utilities)


def test_mixed_answers_are_learned_from_too() -> None:
    game = random_matrix_game(3, 3, seed=100)
    receiver = QuantalReceiver(game, precision=10.0)
    learned = learn_alternating(SenderProblem.of(game), receiver, SMALL)
    assert learned.predicted == pytest.approx(learned.utility, abs=SMALL.threshold)
    assert learned.utility > sum(learned.utilities[:100]) / 100


def test_it_stops_where_the_prediction_is_right() -> None:
    game = random_matrix_game(3, 3, seed=100)
    at_once = learn(game, dataclasses.replace(TINY, threshold=10.0))
    assert at_once.converged
    assert at_once.queries == TINY.schemes + 1  # type: ignore[operator]
    assert at_once.utility == at_once.utilities[-1]
    never = learn(game, TINY)
    assert not never.converged
    assert never.queries == len(never.utilities) == TINY.schemes + TINY.rounds + 1  # type: ignore[operator]
    assert never.utility == max(never.utilities)
    assert ask(game, never.policies) == pytest.approx(never.utility, abs=1e-9)


def test_the_threshold_is_in_units_of_the_sender_s_range() -> None:
    game = random_matrix_game(3, 3, seed=100)
    large = PersuasionGame(
        game.prior, game.receiver_utility, 1000 * game.sender_utility, 3, game.tie_break
    )
    config = dataclasses.replace(TINY, threshold=1.0)
    assert learn(large, config).converged


def test_algorithm_1_s_seed_decides() -> None:
    game = random_matrix_game(3, 3, seed=100)
    torch.manual_seed(5)
    first = learn(game, TINY)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    again = learn(game, TINY)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.policies, again.policies)
    assert first.utilities == again.utilities
    assert first.utilities != learn(game, TINY, seed=1).utilities


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemes": 1}, "schemes must be an integer of at least 2, got 1"),
        ({"test_share": 1}, "test_share must be a number above 0 and below 1, got 1"),
        ({"hidden": (4, 0)}, "hidden must be an integer of at least 1, got 0"),
        ({"fit_steps": -1}, "fit_steps must be an integer of at least 0, got -1"),
        ({"tune_steps": 0.5}, "tune_steps must be an integer of at least 0, got 0.5"),
        ({"sender_steps": -1}, "sender_steps must be an integer of at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"restarts": 0}, "restarts must be an integer of at least 1, got 0"),
        ({"rounds": 0}, "rounds must be an integer of at least 1, got 0"),
        ({"fit_lr": 0}, "fit_lr must be finite and above 0, got 0"),
        ({"tune_lr": 0}, "tune_lr must be finite and above 0, got 0"),
        ({"sender_lr": 0}, "sender_lr must be finite and above 0, got 0"),
        ({"threshold": -1}, "threshold must be finite and at least 0, got -1"),
    ],
)
def test_bad_settings_of_algorithm_1(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlternatingConfig(**change)


def test_random_policies_are_as_many_as_the_network_needs() -> None:
    assert AlternatingConfig().asked_first(n_actions=32) == 2048
    assert AlternatingConfig(schemes=7).asked_first(n_actions=32) == 7


def test_receivers_of_other_games_are_refused() -> None:
    problem = SenderProblem.of(random_matrix_game(3, 3, 100))
    with pytest.raises(ValueError, match="receiver must be one of games of shape"):
        learn_alternating(problem, RationalReceiver(prosecutor_game()))
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        learn_alternating(problem, RationalReceiver(random_matrix_game(3, 3, 100)), seed=-1)
