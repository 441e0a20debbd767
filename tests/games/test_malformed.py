"""No argument of a family, game, receiver or export is answered by anything but a ValueError."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from games import (
    ContractGame,
    Focused,
    PricingGame,
    SecurityGame,
    Zoomed,
    advertising_products_game,
    advertising_quality_game,
    didactic_game,
    prosecutor_game,
    random_contract_game,
    random_matrix_game,
    random_pricing_game,
    random_security_game,
    ride_hailing_game,
    stack,
    synthetic_game,
)
from games.persuasion.gambit import grid_policies, payoff_table, pure_equilibria
from games.receivers import (
    BanditReceiver,
    QLearningReceiver,
    QuantalReceiver,
    RationalReceiver,
    ReinforceReceiver,
)

WRONG: list[Any] = [
    None,
    "",
    "x",
    ["0.5"],
    {},
    [],
    [[]],
    (1, 2, 3),
    ("a",),
    [None],
    float("nan"),
    float("inf"),
    1e308,
    -1e308,
    10**400,
    [10**400],
    2**70,
    -1,
    1.5,
    1j,
    True,
    b"1",
    object(),
    len,
    np.array(["x"]),
    torch.zeros(2, 0),
]
GAME, CONTRACT = didactic_game(), random_contract_game(2, 2, 0)
PROFILES = GAME.sample_policies(2, seed=0)
ONE = prosecutor_game()

# What to call, and arguments that are right.
CALLS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (advertising_quality_game, {"n_firms": 2}),
    (advertising_products_game, {}),
    (ride_hailing_game, {"n_orders": (1, 1)}),
    (prosecutor_game, {}),
    (random_matrix_game, {"n_states": 2, "n_actions": 2, "seed": 0}),
    (synthetic_game, {"n_senders": 2, "n_signals": 2, "n_states": 2, "n_actions": 2, "seed": 0}),
    (random_contract_game, {"n_actions": 2, "n_outcomes": 2, "seed": 0}),
    (random_pricing_game, {"n_sellers": 2, "n_types": 2, "seed": 0}),
    (random_security_game, {"n_targets": 3, "n_resources": 1, "seed": 0}),
    (
        ContractGame,
        {
            "outcome_probabilities": [[0.8, 0.2], [0.2, 0.8]],
            "costs": [0, 1.5],
            "rewards": [0, 10],
            "max_wage": 10,
        },
    ),
    (
        PricingGame,
        {"values": [[1, 1], [0.3, 0.4]], "weights": [0.5, 0.5], "costs": [0, 0], "max_price": 1},
    ),
    (
        SecurityGame,
        {
            "defender_covered": [0, 0],
            "defender_uncovered": [-2, -1],
            "attacker_covered": [0, 0],
            "attacker_uncovered": [2, 1],
            "n_resources": 1,
        },
    ),
    (Zoomed, {"game": CONTRACT, "centre": CONTRACT.sample_policies(1, seed=0)[0], "size": 0.5}),
    (Focused, {"game": CONTRACT, "parts": ()}),
    (stack, {"games": [GAME]}),
    (grid_policies, {"n_states": 2, "n_signals": 2, "steps": 1}),
    (payoff_table, {"game": GAME, "strategies": grid_policies(2, 2)}),
    (pure_equilibria, {"table": [[1.0], [2.0]], "tolerance": 0}),
    (RationalReceiver, {"game": ONE}),
    (QuantalReceiver, {"game": ONE, "precision": 1}),
    (BanditReceiver, {"game": ONE, "visits": 5}),
    (QLearningReceiver, {"game": ONE, "patience": 1, "epsilon": 0.1}),
    (ReinforceReceiver, {"game": ONE, "step": 0.1}),
    *(
        (getattr(GAME, method), {"policies": PROFILES})
        for method in ("ex_ante_utility", "receiver_action", "posteriors", "as_policies")
    ),
    *(
        (method, {"policies": PROFILES, "sender": 0, "deviations": PROFILES})
        for method in (GAME.deviation_utility, GAME.deviation_gain)
    ),
    (GAME.estimate_ex_ante_utility, {"policies": PROFILES, "draws": 5}),
    (CONTRACT.follower_action, {"policies": CONTRACT.sample_policies(2, seed=0)}),
    (GAME.sample_policies, {"count": 2}),
    (GAME.sender_index, {"sender": 0}),
    (GAME.action_at, {"mass": [0.5, 0.5]}),
    (GAME.to, {}),
]


@pytest.mark.parametrize(
    ("call", "good"), CALLS, ids=[getattr(call, "__qualname__", "") for call, _ in CALLS]
)
def test_malformed_arguments_are_value_errors(
    call: Callable[..., Any], good: dict[str, Any]
) -> None:
    call(**good)
    refused = 0
    for name in inspect.signature(call).parameters:
        for wrong in WRONG:
            try:
                call(**(good | {name: wrong}))
            except ValueError:
                refused += 1
    assert refused > len(WRONG) / 2
