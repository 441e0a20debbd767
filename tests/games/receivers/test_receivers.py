"""Receivers as they answer a sender."""

from typing import Any

import pytest
import torch
from torch import Tensor

from games import PersuasionGame, random_matrix_game
from games.receivers import (
    RECEIVERS,
    BaseReceiver,
    LearningReceiver,
    QuantalReceiver,
    RationalReceiver,
    ReceiverKind,
)

GAME = random_matrix_game(3, 4, seed=0)


def test_matrix_games_are_uniform_and_known_by_their_seed() -> None:
    game = random_matrix_game(30, 40, seed=1)
    assert game.shape == (1, 40, 30, 40)
    assert game.prior.tolist() == pytest.approx([1 / 30] * 30)
    for table in (game.sender_utility, game.receiver_utility):
        assert table.min() >= 0
        assert table.max() <= 1
        assert table.mean().item() == pytest.approx(0.5, abs=0.05)
    assert random_matrix_game(30, 40, seed=1) == game
    assert random_matrix_game(30, 40, seed=2) != game
    few = random_matrix_game(30, 40, seed=1, n_signals=4)
    assert few.n_signals == 4
    assert torch.equal(few.receiver_utility, game.receiver_utility)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_states": 0}, "n_states must be an integer of at least 1, got 0"),
        ({"n_actions": 2.5}, "n_actions must be an integer of at least 1, got 2.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"n_signals": 0}, "n_signals must be an integer of at least 1, got 0"),
    ],
)
def test_bad_matrix_games(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_matrix_game(**{"n_states": 2, "n_actions": 2, "seed": 0, **arguments})


def test_a_rational_receiver_maximises() -> None:
    policies = GAME.sample_policies(5)
    receiver = RationalReceiver(GAME)
    answers = receiver.respond(policies)
    for policy, answer in zip(policies, answers, strict=True):
        for message in range(4):
            weight = GAME.prior * policy[0, :, message]
            values = [(weight * GAME.receiver_utility[:, a]).sum().item() for a in range(4)]
            assert answer[message].tolist() == [
                float(a == values.index(max(values))) for a in range(4)
            ]
    assert receiver.queries == 5


@pytest.mark.parametrize("precision", [0.5, 5.0])
def test_a_quantal_receiver_errs_as_logit_says(precision: float) -> None:
    policy = GAME.sample_policies(1)[0]
    answer = QuantalReceiver(GAME, precision).respond(policy)
    for message in range(4):
        posterior = GAME.prior * policy[0, :, message]
        posterior = posterior / posterior.sum()
        odds = (precision * (posterior @ GAME.receiver_utility)).exp()
        torch.testing.assert_close(answer[message], odds / odds.sum())


def test_a_precise_quantal_receiver_is_rational() -> None:
    policies = GAME.sample_policies(20)
    expected = RationalReceiver(GAME).respond(policies)
    torch.testing.assert_close(QuantalReceiver(GAME, 1e6).respond(policies), expected)


@pytest.mark.parametrize("name", RECEIVERS)
def test_answers(name: str) -> None:
    kind = RECEIVERS[name]
    receiver = kind.make(GAME, **({"visits": 20, "seed": 1} if kind.learns else {}))
    assert kind.learns == isinstance(receiver, LearningReceiver)
    silence = torch.zeros(1, 3, 4, dtype=torch.float64)
    silence[..., 1] = 1.0
    answer = receiver.respond(silence)
    assert answer.sum(-1).tolist() == pytest.approx([0, 1, 0, 0])  # zero where never sent
    assert receiver.respond(silence.float()).dtype == torch.float32
    before = receiver.queries
    with pytest.raises(ValueError, match=r"policies must have shape \(B, N, S, M\)"):
        receiver.respond(torch.ones(1, 4, 3))
    with pytest.raises(ValueError, match="policies must hold distributions"):
        receiver.respond(silence * float("nan"))
    assert receiver.queries == before


def test_bad_receivers() -> None:
    two = PersuasionGame([1.0], [[0.0]], [[[0.0]], [[0.0]]], n_signals=1)
    with pytest.raises(ValueError, match="game must be a PersuasionGame of one sender"):
        RationalReceiver(two)
    with pytest.raises(ValueError, match="precision must be finite and above 0, got -1"):
        QuantalReceiver(GAME, -1.0)


class Stubborn(BaseReceiver):
    """Takes action 0, whatever it is told."""

    def _settle(self, policies: Tensor) -> Tensor:
        sent = policies.sum((1, 2)) > 0  # (B, M)
        first = torch.eye(self.game.n_actions, dtype=policies.dtype)[0]
        return sent.unsqueeze(-1) * first


def test_a_receiver_from_outside_meets_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RECEIVERS, "_entries", dict(RECEIVERS))
    RECEIVERS.register(ReceiverKind("stubborn", Stubborn))
    test_answers("stubborn")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"make": Stubborn}, "name must be a string that is not empty, got None"),
        ({"name": "stubborn"}, "make must be callable, got None"),
        ({"name": "stubborn", "make": Stubborn, "learns": 1}, "learns must be a bool, got 1"),
        ({"name": "bandit", "make": Stubborn}, "name 'bandit' is taken, by ReceiverKind"),
    ],
)
def test_bad_kinds_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RECEIVERS.register(ReceiverKind(**fields))
    assert "stubborn" not in RECEIVERS
