"""Mistakes in calling the learners: refused before any query, by name, with what came."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from dnl.learning_to_persuade import (
    AlternatingConfig,
    AskingConfig,
    LearnedPolicy,
    PlayConfig,
    SenderProblem,
    WarmUpConfig,
    info_q,
    learn_alternating,
    learn_by_asking,
    persuade_known,
    play,
)
from dnl.training.trainer import minimise
from games import random_matrix_game
from games.receivers import QLearningReceiver, RationalReceiver

GAME = random_matrix_game(n_states=2, n_actions=2, seed=0)
PROBLEM, RECEIVER = SenderProblem.of(GAME), RationalReceiver(GAME)
LEARNER = QLearningReceiver(GAME, visits=20)


def fresh() -> QLearningReceiver:
    """A receiver that has been asked nothing."""
    return QLearningReceiver(GAME, visits=20)


Learner = Callable[..., LearnedPolicy]
LEARNERS: list[tuple[str, Learner, type, Any]] = [
    ("asking", lambda *a, **k: learn_by_asking(PROBLEM, RECEIVER, *a, **k), AskingConfig,
     AskingConfig(queries=12, random_queries=2, members=1, steps=1)),
    ("alternating", lambda *a, **k: learn_alternating(PROBLEM, RECEIVER, *a, **k),
     AlternatingConfig,
     AlternatingConfig(schemes=4, fit_steps=1, tune_steps=1, sender_steps=1, rounds=1)),
    ("known", lambda *a, **k: persuade_known(GAME, *a, **k), WarmUpConfig,
     WarmUpConfig(iterations=2, restarts=2)),
    ("play", lambda *a, **k: info_q(PROBLEM, fresh(), *a, **k), PlayConfig, PlayConfig(rounds=20)),
]  # fmt: skip
EACH = pytest.mark.parametrize(
    ("learn", "kind", "quick"), [rest for _, *rest in LEARNERS], ids=[name for name, *_ in LEARNERS]
)


@EACH
def test_a_config_is_of_its_class(learn: Learner, kind: type, quick: Any) -> None:
    for wrong in ({"seed": 3}, {}, 0, "quick"):
        with pytest.raises(ValueError, match=f"^config must be an? {kind.__name__}, got "):
            learn(wrong)
    message = rf"got {{'seed': 3}}: {kind.__name__}\(\*\*config\) makes one$"
    with pytest.raises(ValueError, match=message):
        learn({"seed": 3})


@EACH
def test_a_generator_stands_for_the_seed_that_it_draws(
    learn: Learner, kind: type, quick: Any
) -> None:
    drawn = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(3)))
    one = learn(quick, generator=torch.Generator().manual_seed(3))
    again = learn(quick, seed=drawn)
    assert torch.equal(one.policies, again.policies)
    assert one.utilities == again.utilities
    with pytest.raises(ValueError, match="seed and generator must not both be given"):
        learn(quick, seed=1, generator=torch.Generator())
    with pytest.raises(ValueError, match=r"seed must be an integer of at least 0, got 0\.5"):
        learn(quick, seed=0.5)


@EACH
def test_results_print_in_a_line(learn: Learner, kind: type, quick: Any) -> None:
    text = repr(learn(quick))
    assert len(text) <= 160
    assert text.startswith("LearnedPolicy(")
    assert "tensor(" not in text


def test_a_config_keeps_its_own_seed() -> None:
    config = PlayConfig(rounds=20, seed=7)
    own = info_q(PROBLEM, fresh(), config)
    told = info_q(PROBLEM, fresh(), replace(config, seed=0), seed=7)
    assert own.utilities == told.utilities


@pytest.mark.parametrize("wrong", [None, {}, 3, PROBLEM])
def test_plays_are_sequences(wrong: Any) -> None:
    with pytest.raises(ValueError, match="problems must be a sequence, got "):
        play("info-q", wrong, [LEARNER])
    with pytest.raises(ValueError, match="receivers must be a sequence, got "):
        play("info-q", [PROBLEM], wrong)
    with pytest.raises(ValueError, match=r"method must be one of .*: did you mean 'info-q'"):
        play("inof-q", [PROBLEM], [LEARNER])


@pytest.mark.parametrize("wrong", [None, {}, 3, "game"])
def test_other_things_are_no_games(wrong: Any) -> None:
    with pytest.raises(ValueError, match="game must be a PersuasionGame of one sender, got "):
        persuade_known(wrong)
    with pytest.raises(ValueError, match="problem must be a SenderProblem, got "):
        learn_by_asking(wrong, RECEIVER)
    with pytest.raises(ValueError, match="receiver must be a BaseReceiver, got "):
        learn_alternating(PROBLEM, wrong)


def test_one_action_leaves_nothing_to_ask() -> None:
    game = random_matrix_game(n_states=2, n_actions=1, seed=0)
    with pytest.raises(ValueError, match="problem must have at least two actions, got 1"):
        learn_by_asking(SenderProblem.of(game), RationalReceiver(game))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"module": {}}, "module must be a Module, got {}"),
        ({"loss": None}, "loss must be callable, got None"),
        ({"rate": 1.0}, r"rate must be callable, got 1\.0"),
        ({"device": {}}, "device must be a device of this machine, .* got {}"),
        ({"loss": lambda module, step: None}, "loss must be a scalar, got None"),
        ({"loss": lambda module, step: torch.ones(())}, "loss must depend on .* got no gradient"),
    ],
)
def test_wrong_minimisations(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"module": nn.Linear(1, 1), "steps": 1, "lr": 0.1}
    arguments["loss"] = lambda module, step: module.weight.sum()
    with pytest.raises(ValueError, match=message):
        minimise(**arguments | wrong)
