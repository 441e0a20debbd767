"""Senders of one message per state, learning while their receivers learn."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl.learning_to_persuade import baselines
from dnl.learning_to_persuade.baselines import METHODS, info_policy, info_q, model_receiver, play
from dnl.learning_to_persuade.problem import LearnedPolicy, SenderProblem
from dnl.learning_to_persuade.senders import InferenceSender, ModelSender, PlayConfig
from games import PersuasionGame, random_matrix_game
from games.randomness import stream
from games.receivers import (
    BanditReceiver,
    LearningReceiver,
    QLearningReceiver,
    RationalReceiver,
    ReinforceReceiver,
)

GAMES = [random_matrix_game(4, 3, seed) for seed in range(3)]
TASTE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
TOGETHER = PersuasionGame([0.4, 0.3, 0.3], TASTE, [TASTE], n_signals=3)  # both want the state told
PLAYERS: dict[str, type[LearningReceiver]] = {
    "model-r": BanditReceiver,
    "info-q": QLearningReceiver,
    "info-policy": ReinforceReceiver,
}
CONFIG = PlayConfig(rounds=300)
methods = pytest.mark.parametrize("method", METHODS)


def run(method: str, games: list[PersuasionGame], config: PlayConfig) -> list[LearnedPolicy]:
    make: Any = PLAYERS[method]
    receivers = [make(game, visits=300) for game in games]
    return play(method, [SenderProblem.of(game) for game in games], receivers, config)


def same(a: LearnedPolicy, b: LearnedPolicy) -> bool:
    known = a.predicted == pytest.approx(b.predicted, nan_ok=True)
    rest = replace(a, policies=b.policies, predicted=b.predicted)
    return known and torch.equal(a.policies, b.policies) and repr(rest) == repr(b)


@methods
def test_results(method: str) -> None:
    for game, result in zip(GAMES, run(method, GAMES, CONFIG), strict=True):
        assert result.method == method
        assert result.policies.shape == (1, 4, 3)
        assert ((result.policies == 0) | (result.policies == 1)).all()  # deterministic
        assert (result.policies.sum(-1) == 1).all()
        assert result.queries == 1
        make: Any = PLAYERS[method]
        answer = make(game, visits=300).respond(result.policies)
        value = SenderProblem.of(game).value(result.policies.unsqueeze(0), answer.unsqueeze(0))
        assert result.utility == pytest.approx(value.item())
        assert result.utilities == (result.utility,)
        assert (result.predicted == result.predicted) == (method == "model-r")


@methods
def test_plays_do_not_depend_on_company_or_blocks(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = run(method, GAMES, CONFIG)
    monkeypatch.setattr(baselines, "DRAW_BYTES", 8 * 100)
    for game, result in zip(GAMES, together, strict=True):
        assert same(run(method, [game], CONFIG)[0], result)


@methods
def test_the_seed_decides(method: str) -> None:
    game = random_matrix_game(12, 12, seed=0)
    one, other = (run(method, [game], replace(CONFIG, seed=seed))[0] for seed in (0, 1))
    assert same(one, run(method, [game], CONFIG)[0])
    assert not torch.equal(one.policies, other.policies)


@pytest.mark.parametrize("method", ["info-q", "info-policy"])
def test_who_helps_to_infer_tells_all(method: str) -> None:
    result = run(method, [TOGETHER], PlayConfig(rounds=100))[0]
    assert (result.policies.sum(-2) == 1).all()  # a message for each state
    assert RationalReceiver(TOGETHER).respond(result.policies)[..., 0].sum().item() == 1
    assert result.utility > 0.8
    assert result.converged


def test_a_model_of_the_receiver_finds_what_both_want() -> None:
    receiver = QLearningReceiver(TOGETHER, visits=2000)
    result = model_receiver(SenderProblem.of(TOGETHER), receiver, PlayConfig(rounds=5000))
    assert result.utility > 0.95
    assert result.predicted > 0.95
    assert result.converged


def test_there_is_no_persuading_in_one_state() -> None:
    game = PersuasionGame([1.0], [[0.0, 1.0]], [[[1.0, 0.0]]], n_signals=2)
    problem, config = SenderProblem.of(game), PlayConfig(rounds=500)
    for result in (
        model_receiver(problem, QLearningReceiver(game, visits=1000), config),
        info_q(problem, QLearningReceiver(game, visits=1000), config),
        info_policy(problem, ReinforceReceiver(game, visits=1000), config),
    ):
        assert result.utility < 0.1


def sender(make: Any, n_signals: int, prior: list[float], utility: list[Any]) -> Any:
    return make(
        torch.tensor([prior], dtype=torch.float64),
        torch.tensor([utility], dtype=torch.float64),
        n_signals,
        PlayConfig(step=0.25),
        [stream("test")],
    )


def index(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


def test_a_model_is_an_average_of_actions_and_is_answered() -> None:
    one = sender(ModelSender, 2, [0.5, 0.5], [[4.0, 0.0], [0.0, 4.0]])
    assert one.model.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    one.see(index(0), index(1), index(0))
    one.see(index(0), index(1), index(0))
    assert one.model.tolist() == [[[0.5, 0.5], [0.71875, 0.28125]]]
    assert one.intended().tolist() == [[1, 0]]
    no = torch.tensor([[0.3, 1.0]])  # explores only below its probability, 0.5 at first
    assert one.send(0, index(0), no).tolist() == [1]
    assert one.send(0, index(0), torch.tensor([[0.3, 0.49]])).tolist() == [0]
    assert one.send(16_000, index(0), torch.tensor([[0.3, 0.0]])).tolist() == [1]
    policies = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    assert one.predicted(policies).item() == pytest.approx(0.5 * 4 * 0.71875 + 0.5 * 4 * 0.5)


def test_inference_is_bayes_on_the_naive_sender() -> None:
    generator = stream("test")
    prior = [0.1, 0.2, 0.3, 0.4]
    for n_signals in (2, 3, 6):
        for _ in range(50):
            one = sender(InferenceSender, n_signals, prior, [[0.0, 1.0]] * 4)
            one.average = torch.rand(1, 4, n_signals, dtype=torch.float64, generator=generator)
            average = one.average[0].tolist()
            naive = [row.index(max(row)) for row in average]
            for state, found in enumerate(one.intended()[0].tolist()):
                inferred = []
                for message in range(n_signals):
                    senders = [s for s in range(4) if naive[s] == message]
                    share = sum(prior[s] for s in senders)
                    right = prior[state] * (state in senders) / share if senders else 1.0
                    inferred.append((right, average[state][message]))
                assert found == inferred.index(max(inferred))


def test_a_message_once_sent_stays_the_naive_one() -> None:
    one = sender(InferenceSender, 3, [0.5, 0.5], [[5.0, 7.0], [5.0, 6.0]])
    assert ((one.average < 3) & (one.average > 2.99)).all()
    one.see(index(1), index(2), index(0))
    assert one.average[0, 1, 2].item() == pytest.approx(3 + 0.25 * 2, abs=1e-5)
    assert one.average[0, 1].argmax().item() == 2


PROBLEM = SenderProblem.of(GAMES[0])
Q = QLearningReceiver(GAMES[0])


@pytest.mark.parametrize(
    ("method", "problems", "receivers", "message"),
    [
        ("info", [PROBLEM], [Q], "method must be one of 'model-r', 'info-q', 'info-policy'"),
        ("info-policy", [PROBLEM], [Q], "receivers of info-policy must be ReinforceReceivers"),
        ("model-r", [PROBLEM], [RationalReceiver(GAMES[0])], "must be LearningReceivers"),
        ("model-r", [PROBLEM], [], "receivers must be as many as problems .*, got 0 for 1"),
        ("model-r", [], [], "receivers must be as many as problems and at least one"),
        ("info-q", [PROBLEM] * 2, [Q, QLearningReceiver(GAMES[0], epsilon=0.2)], "must be alike"),
        (
            "model-r",
            [PROBLEM] * 2,
            [Q, QLearningReceiver(TOGETHER)],
            "receivers must have games of one shape",
        ),
        ("model-r", [SenderProblem.of(TOGETHER)], [Q], "receiver must be one of games of shape"),
    ],
)
def test_bad_plays(method: str, problems: Any, receivers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        play(method, problems, receivers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": 9}, "rounds must be an integer of at least 10, got 9"),
        ({"step": 1.0}, "step must be a number above 0 and below 1, got 1.0"),
        ({"exploration": 0}, "exploration must be a number above 0 and below 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_bad_configs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlayConfig(**arguments)
