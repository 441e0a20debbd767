"""Extra-gradient as a member: a smoothed receiver, and surrogates."""

import dataclasses

import pytest
import torch

import dnl
from dnl import find_equilibria
from dnl.equilibria.gradient_ascent import smoothed_utility, surrogate_ends
from tests.cases.finding import IDENTITY, contested, searching, tensors
from tests.references import simulation as reference

pytestmark = pytest.mark.usefixtures("few_starts")


def test_a_cold_receiver_is_the_true_one() -> None:
    game = contested((2, 3, 3, 3), seed=0)
    profiles = game.sample_policies(40, torch.Generator().manual_seed(0))
    margins = [
        reference.margin(game.prior, game.receiver_utility, policies) for policies in profiles
    ]
    away = profiles[torch.tensor(margins) > torch.tensor(margins).median()]
    truth = game.ex_ante_utility(away)
    errors = [
        (smoothed_utility(game, temperature)(away) - truth).abs().max().item()
        for temperature in (0.1, 0.01, 1e-3, 1e-6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9 < errors[0]


@pytest.mark.parametrize("temperature", [0.1, 0.003])
def test_impossible_joint_signals_are_harmless(temperature: float) -> None:
    game = contested((2, 2, 2, 2), seed=0)
    pure = torch.tensor([IDENTITY, [[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    policies = pure[None].requires_grad_()
    utility = smoothed_utility(game, temperature)
    values = utility(policies)
    # By hand: the joint signal (s, 0) reveals state s.
    scale = temperature * (game.receiver_utility.max() - game.receiver_utility.min())
    choice = (game.receiver_utility / scale).softmax(-1)  # (S, A)
    by_hand = torch.einsum("s,sa,nsa->n", game.prior, choice, game.sender_utility)
    torch.testing.assert_close(values[0], by_hand, rtol=1e-9, atol=1e-9)
    values.sum().backward()
    assert policies.grad is not None
    assert policies.grad.isfinite().all()


def test_the_true_utility_is_a_surrogate_like_any_other() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    search = searching(game)
    proposed = tensors(surrogate_ends(search, game.ex_ante_utility))
    assert proposed
    game.check_policies(torch.stack(proposed))
    assert any(search.certifies(policies, 0.005, 1e-5) for policies in proposed)


def test_a_fitted_surrogate_proposes() -> None:
    game = contested((2, 2, 2, 2), seed=1)
    config = dnl.FitConfig(samples=50, epochs=1, test_samples=50, device="cpu")
    fitted = dnl.fit(game, "relu", config)
    for policies in surrogate_ends(searching(game), fitted):  # float32 networks, float64 profiles
        assert policies is None or searching(game).survives(policies[None])
        break


@pytest.mark.parametrize("value", [0.0, 1.0, 1e8])
def test_a_receiver_that_does_not_care_breaks_no_member(value: float) -> None:
    game = contested((2, 2, 2, 2), seed=0)
    careless = torch.full_like(game.receiver_utility, value)
    game = dataclasses.replace(game, receiver_utility=careless)
    find_equilibria(game, time_limit=5.0, members=["extragradient"])
