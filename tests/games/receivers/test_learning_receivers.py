"""Receivers who learn from repeated play."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from games import PersuasionGame, random_matrix_game
from games.randomness import stream
from games.receivers import (
    BanditReceiver,
    LearningReceiver,
    QLearningReceiver,
    RationalReceiver,
    ReinforceReceiver,
)
from games.receivers import learning as module
from games.receivers.learners import draw_, tsallis_distribution
from tests.references import learning as reference

GAME = random_matrix_game(3, 4, seed=0)
PLAIN = PersuasionGame(  # who knows the state gains 1, and the messages of PLAIN_POLICY tell it
    [0.5, 0.3, 0.2], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[[0, 0, 1]] * 3], n_signals=4
)
PLAIN_POLICY = torch.tensor([[[0.9, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]], dtype=torch.float64)
KINDS: list[type[LearningReceiver]] = [BanditReceiver, QLearningReceiver, ReinforceReceiver]
Make = Callable[..., Any]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("kind", "loop", "settings"),
    [
        (BanditReceiver, reference.bandit, {}),
        (QLearningReceiver, reference.q_learning, {"patience": 3.0, "epsilon": 0.1}),
        (ReinforceReceiver, reference.reinforce, {"step": 0.2}),
    ],
)
def test_plain_loops_agree(kind: Make, loop: Make, settings: dict[str, float]) -> None:
    policies = GAME.sample_policies(2, torch.Generator().manual_seed(0))
    policies[1, 0] = torch.tensor([0.0, 0.5, 0.0, 0.5])
    answers = kind(GAME, visits=301, seed=5, **settings).respond(policies)
    v = GAME.receiver_utility
    rewards = ((v - v.min()) / (v.max() - v.min())).tolist()
    for number, (policy, answer) in enumerate(zip(policies, answers, strict=True)):
        source = stream("receiver", 5, GAME.identity, number)
        uniforms = torch.rand(301, 4, 3, dtype=torch.float64, generator=source)
        for message in range(4):
            joint = (GAME.prior * policy[0, :, message]).tolist()
            if not sum(joint):
                assert answer[message].tolist() == [0.0] * 4
                continue
            done = loop(joint, rewards, uniforms[:, message].tolist(), **settings)[150:]
            expected = [done.count(action) / 151 for action in range(4)]
            assert answer[message].tolist() == pytest.approx(expected, abs=1e-12)


def test_tsallis_distributions() -> None:
    losses = torch.rand(200, 7, dtype=torch.float64, generator=stream("test")) ** 3 * 50
    losses[::2, 0] = 0.0
    found = tsallis_distribution(losses)
    expected = torch.tensor([reference.tsallis(row) for row in losses.tolist()])
    torch.testing.assert_close(found, expected.to(found), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.sum(-1), torch.ones(200).to(found))


def test_nothing_impossible_is_drawn() -> None:
    chances = torch.tensor([[0.0, 0.2, 0.0, 0.3, 0.0]], dtype=torch.float64).repeat(5, 1)
    below = 1 - 2.0**-53
    uniforms = torch.tensor([0.0, 0.39, 0.41, 0.99, below], dtype=torch.float64)
    assert draw_(chances, uniforms).tolist() == [1, 1, 3, 3, 3]


@kinds
def test_all_settle_on_what_is_plainly_best(kind: Make) -> None:
    answer = kind(PLAIN, visits=1000).respond(PLAIN_POLICY)
    expected = RationalReceiver(PLAIN).respond(PLAIN_POLICY)
    assert answer[2].tolist() == [0, 0, 0]  # never sent
    torch.testing.assert_close(answer, expected, rtol=0, atol=0.05)


@kinds
def test_regret_falls_with_visits(kind: Make) -> None:
    policies = GAME.sample_policies(20, torch.Generator().manual_seed(1))
    utility = GAME.posteriors(policies)[1] @ GAME.receiver_utility  # (B, M, A)
    regrets = []
    for visits in (40, 400, 4000):
        answer = kind(GAME, visits=visits).respond(policies)
        regrets.append((utility.amax(-1) - (answer * utility).sum(-1)).mean().item())
    assert regrets[0] > 1.5 * regrets[1] > 3 * regrets[2]
    assert regrets[2] < 0.01


@kinds
def test_answers_do_not_depend_on_company_blocks_or_earlier_questions(
    kind: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = GAME.sample_policies(5, torch.Generator().manual_seed(2))
    together = kind(GAME, visits=50).respond(policies)
    receiver = kind(GAME, visits=50)
    apart = torch.stack([receiver.respond(policy) for policy in policies])
    assert torch.equal(together, apart)
    assert receiver.queries == 5
    monkeypatch.setattr(module, "MAX_CONTEXTS", 8)  # two policies at a time
    monkeypatch.setattr(module, "DRAW_BYTES", 8 * 200)  # a few visits at a time
    assert torch.equal(kind(GAME, visits=50).respond(policies), together)
    other = kind(GAME, visits=50)
    other.respond(policies.flip(0)[:2])
    assert torch.equal(other.respond(policies[2:]), together[2:])


@kinds
def test_the_seed_decides(kind: Make) -> None:
    def answer(seed: int) -> Tensor:
        found: Tensor = kind(GAME, visits=50, seed=seed).respond(policies)
        return found

    policies = GAME.sample_policies(3, torch.Generator().manual_seed(3))
    before = torch.get_rng_state()
    assert torch.equal(answer(1), answer(1))
    assert not torch.equal(answer(1), answer(2))
    assert torch.equal(torch.get_rng_state(), before)
    same = policies[:1].repeat(2, 1, 1, 1)
    first, second = kind(GAME, visits=50).respond(same)
    assert not torch.equal(first, second)  # asked again, it plays again


@kinds
def test_contract(kind: Make) -> None:
    policies = GAME.sample_policies(2, torch.Generator().manual_seed(4))
    receiver = kind(GAME, visits=3)
    answer = receiver.respond(policies.float())
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer.sum(-1), torch.ones(2, 4))
    assert receiver.respond(policies[:0]).shape == (0, 4, 4)
    still = PersuasionGame([1.0], [[2.0, 2.0]], [[[0.0, 1.0]]], n_signals=1)  # nothing to learn
    assert kind(still, visits=10).respond(still.sample_policies(1)).sum().item() == 1


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (BanditReceiver, {"visits": 1}, "visits must be an integer of at least 2, got 1"),
        (BanditReceiver, {"seed": -1}, "seed must be an integer of at least 0, got -1"),
        (QLearningReceiver, {"patience": 0}, "patience must be finite and above 0, got 0"),
        (QLearningReceiver, {"epsilon": 1}, "epsilon must be a number above 0 and below 1, got 1"),
        (ReinforceReceiver, {"step": -0.1}, "step must be finite and above 0, got -0.1"),
    ],
)
def test_bad_arguments(make: Make, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(GAME, **arguments)
