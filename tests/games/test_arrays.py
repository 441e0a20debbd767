"""Nested lists and arrays of numpy and pandas do what tensors do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from games import (
    Focused,
    PersuasionGame,
    Zoomed,
    random_contract_game,
    random_matrix_game,
    random_pricing_game,
    random_security_game,
    stack,
    synthetic_game,
)
from games.persuasion.gambit import payoff_table, pure_equilibria
from games.receivers import RationalReceiver
from games.value import GameValue

GAME = synthetic_game(2, 2, 3, 2, seed=0, law="contested")
POLICIES = GAME.sample_policies(4, seed=0)  # (B, N, S, M)
TRIED = GAME.sample_policies(5, seed=1)[:4].flatten(0, 1)[:5].expand(4, 5, 3, 2)  # (B, D, S, M)
FORMS = {
    "lists": lambda tensor: tensor.tolist(),
    "numpy": lambda tensor: tensor.numpy(),
    "rows": lambda tensor: list(tensor.numpy()),
    "objects": lambda tensor: tensor.numpy().astype(object),
    "tensors": list,
}


def same(got: Any, expected: Any) -> None:
    for one, other in zip(*map(parts, (got, expected)), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def parts(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "method",
    ["ex_ante_utility", "receiver_ex_ante_utility", "receiver_action", "posteriors", "as_policies"],
)
def test_policies_may_be_arrays(method: str, form: str) -> None:
    call = getattr(GAME, method)
    same(call(FORMS[form](POLICIES)), call(POLICIES))
    same(call(FORMS[form](POLICIES[0])), call(POLICIES[0]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["deviation_utility", "deviation_gain"])
def test_deviations_may_be_arrays(method: str, form: str) -> None:
    call, change = getattr(GAME, method), FORMS[form]
    expected = call(POLICIES, 1, TRIED)
    same(call(change(POLICIES), 1, change(TRIED)), expected)
    same(call(POLICIES, 1, change(TRIED)), expected)
    same(call(change(POLICIES), np.int64(1), TRIED), expected)
    single = call(POLICIES.float(), 1, change(TRIED))  # arrays follow the policies
    assert single.dtype == torch.float32


@pytest.mark.parametrize("form", FORMS)
def test_other_functions_take_arrays(form: str) -> None:
    change = FORMS[form]
    mass = GAME.posteriors(POLICIES)[1]
    same(GAME.action_at(change(mass)), GAME.action_at(mass))
    stacked = stack([GAME]).ex_ante_utility(change(POLICIES.unsqueeze(0)))
    same(stacked[0], GAME.ex_ante_utility(POLICIES))
    estimates = [
        GAME.estimate_ex_ante_utility(policies, 10, seed=3).utility
        for policies in (change(POLICIES), POLICIES)
    ]
    same(*estimates)
    one = random_matrix_game(3, 2, 0)
    asked = one.sample_policies(2, seed=0)
    same(RationalReceiver(one).respond(change(asked)), RationalReceiver(one).respond(asked))


@pytest.mark.parametrize("form", ["lists", "numpy"])
@pytest.mark.parametrize(
    ("game", "read"),
    [
        (random_contract_game(2, 2, 0), "wages"),
        (random_pricing_game(2, 2, 0), "prices"),
        (random_security_game(3, 1, 0), "coverage"),
    ],
    ids=["contract", "pricing", "security"],
)
def test_games_with_followers_take_arrays(game: Any, read: str, form: str) -> None:
    change = FORMS[form]
    policies = game.sample_policies(4, seed=0)
    for name in ("ex_ante_utility", "follower_action", read):
        same(getattr(game, name)(change(policies)), getattr(game, name)(policies))
    part = Zoomed(game, change(policies[0]), 0.5)
    assert part == Zoomed(game, policies[0], 0.5)
    for derived in (part, Focused(game, [part])):
        same(derived.ex_ante_utility(change(policies)), derived.ex_ante_utility(policies))


def test_tables_of_gambit_may_be_arrays() -> None:
    pure = torch.eye(2, dtype=torch.float64)[torch.cartesian_prod(*[torch.arange(2)] * 3)]
    table = payoff_table(GAME, pure)
    same(payoff_table(GAME, pure.numpy()), table)
    same(payoff_table(GAME, [pure.tolist(), pure.numpy()]), table)
    assert pure_equilibria(table.numpy(), 1e-9) == pure_equilibria(table.tolist(), 1e-9)
    assert pure_equilibria(table.numpy(), 1e-9) == pure_equilibria(table, 1e-9)


def test_frames_of_policies_and_of_utilities() -> None:
    own = [pd.DataFrame(policy.numpy()) for policy in POLICIES[0]]
    same(GAME.ex_ante_utility(own), GAME.ex_ante_utility(POLICIES[0]))
    game = PersuasionGame(
        pd.Series(GAME.prior.numpy()),
        pd.DataFrame(GAME.receiver_utility.numpy()),
        [pd.DataFrame(table.numpy()) for table in GAME.sender_utility],
        2,
    )
    assert game == GAME


def test_tensors_keep_their_gradients() -> None:
    policies = POLICIES.clone().requires_grad_()
    assert GAME.as_policies(policies) is policies
    (gradient,) = torch.autograd.grad(GAME.ex_ante_utility(policies).sum(), policies)
    assert gradient.abs().sum() > 0


def test_mass_of_another_number_of_states_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mass must have shape \(..., S\) = \(..., 3\), got \(2,"):
        GAME.action_at([0.5, 0.5])


def test_every_game_has_the_same_way_in() -> None:
    for game in (GAME, random_contract_game(2, 2, 0)):
        assert isinstance(game, GameValue)
        with pytest.raises(ValueError, match="policies must have shape"):
            game.as_policies([[0.5, 0.5]])
