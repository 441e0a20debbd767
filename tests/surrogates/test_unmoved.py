"""What a process has set for all of torch moves no fit, no ascent and nothing that is learned."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dnl
from dnl import FitConfig, FittedSurrogate, extragradient, fit, full_revelation
from dnl.gradients.extragradient import ExtragradientConfig
from dnl.gradients.own_gradient import Utility, own_gradient
from dnl.learning_to_persuade.alternating import AlternatingConfig, learn_alternating
from dnl.learning_to_persuade.asking import AskingConfig, learn_by_asking
from dnl.learning_to_persuade.baselines import model_receiver
from dnl.learning_to_persuade.problem import LearnedPolicy, SenderProblem
from dnl.learning_to_persuade.senders import PlayConfig
from dnl.learning_to_persuade.warm_up import WarmUpConfig, persuade_known
from dnl.surrogates.fitted import stack_surrogates
from dnl.surrogates.registry import SURROGATES, Architecture, make_surrogate
from dnl.training.trainer import minimise
from games import FollowerGame, PersuasionGame, random_contract_game, synthetic_game
from games.receivers import QLearningReceiver, RationalReceiver
from tests.cases.surroundings import SURROUNDINGS, Surroundings, autocast, default_dtype

everywhere = pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS)
TINY = FitConfig(
    samples=70,
    test_samples=50,
    epochs=2,
    batch_size=32,
    architecture=Architecture(hidden=(8, 8, 8), hyper=(4, 4), followers=2),
    device="cpu",
)
GAME = synthetic_game(2, 2, 3, 3, seed=0, law="contested")
STARTS = GAME.sample_policies(4, torch.Generator().manual_seed(0)).float()


def values(fitted: FittedSurrogate) -> list[Tensor]:
    """All numbers of a fit, and the names of its tensors' types."""
    return [*fitted.networks.parameters(), fitted.mean, fitted.scale, fitted.mse]


def assert_same(results: list[Tensor], expected: list[Tensor]) -> None:
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == right.dtype
        assert not result.is_inference()
        assert torch.equal(result, right)


FITS: list[tuple[str, FollowerGame, str]] = [
    *((name, GAME, "float32") for name in sorted(SURROGATES)),
    ("dnl", GAME, "float64"),
    ("follower-dnl", random_contract_game(3, 3, seed=0), "float32"),
]


@cache
def fitted_alone(case: int) -> FittedSurrogate:
    """With torch's own settings."""
    surrogate, game, dtype = FITS[case]
    return fit(game, surrogate, dataclasses.replace(TINY, dtype=dtype))


@everywhere
@pytest.mark.parametrize(
    "case",
    range(len(FITS)),
    ids=[f"{name}-{type(game).__name__}-{dtype}" for name, game, dtype in FITS],
)
def test_fits_are_unmoved(around: Surroundings, case: int, tmp_path: Path) -> None:
    (surrogate, game, dtype), expected = FITS[case], fitted_alone(case)
    config = dataclasses.replace(TINY, dtype=dtype)
    with around():
        fitted = fit(game, surrogate, config)
        fitted.save(tmp_path / "fit.pt")
        loaded = FittedSurrogate.load(tmp_path / "fit.pt")
        moved = fitted.to("cpu")
    policies = game.sample_policies(3, torch.Generator().manual_seed(0))
    for one in (fitted, loaded, moved):
        assert_same(values(one), values(expected))
        assert torch.equal(one.own_gradient(policies), expected.own_gradient(policies))


@pytest.fixture(scope="module")
def surrogates() -> list[FittedSurrogate]:
    return [fit(GAME, "dnl", TINY), fit(GAME, "posterior-dnl", TINY)]


@everywhere
@pytest.mark.parametrize("step", ["adam", "sgd"])
def test_ascents_are_unmoved(
    around: Surroundings, step: str, surrogates: list[FittedSurrogate]
) -> None:
    config = ExtragradientConfig(iterations=3, step=step)
    game = GAME.to(dtype=torch.float32)

    def ascents(starts: Tensor) -> list[Tensor]:
        utilities: list[Utility] = [game.ex_ante_utility, *surrogates]
        found = [extragradient(utility, starts, config).policies for utility in utilities]
        stacked = stack_surrogates(surrogates[:1])
        return [
            *found,
            extragradient(stacked, starts.unsqueeze(0), config).policies,
            *(own_gradient(utility, starts) for utility in utilities),
        ]

    expected = ascents(STARTS)
    with around():
        results = ascents(STARTS)
        made_there = ascents(STARTS.clone())
    assert_same(results, expected)
    assert_same(made_there, expected)


def test_surrogates_predict_in_the_dtype_of_their_argument_under_autocast(
    surrogates: list[FittedSurrogate],
) -> None:
    for fitted in surrogates:
        expected = fitted(STARTS)
        with autocast():
            assert_same([fitted(STARTS)], [expected])


@everywhere
def test_exact_results_are_unmoved(around: Surroundings) -> None:
    game = GAME.to(dtype=torch.float32)

    def results() -> tuple[list[float], list[Tensor]]:
        revelation, ceiling = full_revelation(game), dnl.welfare_ceiling(game)
        alone = PersuasionGame(game.prior, game.receiver_utility, game.sender_utility[:1], 3)
        persuasion = dnl.optimal_persuasion(alone)
        response = dnl.best_response(game, STARTS[0], 0, 0.1)
        verification = dnl.verify(game, STARTS, 0.01)
        found = dnl.find_equilibria(game, members=("full-revelation", "one-speaker", "blocks"))
        numbers = [ceiling.any_profile, persuasion.utility, response.utility, response.upper_bound]
        return numbers, [
            revelation.utilities,
            persuasion.policies,
            response.policy,
            verification.gain,
            *(equilibrium.policies for equilibrium in found),
        ]

    numbers, tensors = results()
    with around():
        numbers_there, tensors_there = results()
    assert len(tensors) > 5
    assert numbers_there == numbers
    assert_same(tensors_there, tensors)


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_networks_are_made_in_single_precision(name: str) -> None:
    torch.manual_seed(0)
    expected = make_surrogate(name, GAME.shape, TINY.architecture).state_dict()
    torch.manual_seed(0)
    with default_dtype():
        found = make_surrogate(name, GAME.shape, TINY.architecture).state_dict()
    assert found.keys() == expected.keys()
    assert_same(list(found.values()), list(expected.values()))


# ---------------------------------------------------------------------------- learning to persuade

ONE_SENDER = synthetic_game(1, 3, 2, 3, seed=1)


def known() -> LearnedPolicy:
    return persuade_known(ONE_SENDER, WarmUpConfig(iterations=12, restarts=2))


def alternating() -> LearnedPolicy:
    config = AlternatingConfig(schemes=8, fit_steps=5, tune_steps=3, sender_steps=4, rounds=2)
    return learn_alternating(SenderProblem.of(ONE_SENDER), RationalReceiver(ONE_SENDER), config)


def asking() -> LearnedPolicy:
    config = AskingConfig(queries=14, steps=5)
    return learn_by_asking(SenderProblem.of(ONE_SENDER), RationalReceiver(ONE_SENDER), config)


def playing() -> LearnedPolicy:
    receiver = QLearningReceiver(ONE_SENDER, visits=20)
    return model_receiver(SenderProblem.of(ONE_SENDER), receiver, PlayConfig(rounds=20))


@pytest.mark.whole_run
@everywhere
@pytest.mark.parametrize("learn", [known, alternating, asking, playing])
def test_what_is_learned_is_unmoved(
    around: Surroundings, learn: Callable[[], LearnedPolicy]
) -> None:
    expected = learn()
    with around():
        found = learn()
    assert_same([found.policies], [expected.policies])
    assert (found.utility, found.utilities) == (expected.utility, expected.utilities)


# ---------------------------------------------------------------------------- any loss


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(2, 2))


def loss(module: nn.Module, step: int) -> Tensor:
    assert isinstance(module, Line)
    at: Any = torch.tensor([[1.0, 2.0]], dtype=torch.float32, device="cpu")
    return (at @ module.slope).square().sum()


@everywhere
def test_minimising_is_unmoved(around: Surroundings) -> None:
    expected, found = Line(), Line()
    minimise(expected, loss, 5, lr=0.1)
    with around():
        minimise(found, loss, 5, lr=0.1)
    assert_same([found.slope], [expected.slope])
    assert not torch.equal(found.slope, torch.ones(2, 2))


def test_parameters_made_in_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        module = Line()
    with pytest.raises(ValueError, match=r"module must be made outside torch\.inference_mode"):
        minimise(module, loss, 5, lr=0.1)


def test_a_fit_seeds_no_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def seeded(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded)
    fit(GAME, "relu", TINY)
    asking()
    alternating()
