"""Profiles that reports and figures are tested with, whatever their verdicts."""

from typing import Any

import torch
from torch import Tensor

from dnl import Equilibrium
from games import PersuasionGame, prosecutor_game, synthetic_game
from tests.cases.finding import verified

TRUTH, SILENCE = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]
NOISE = [[0.5, 0.5], [0.5, 0.5]]
OPTIMUM = [[4 / 7, 3 / 7], [0.0, 1.0]]  # accuse the guilty and 3/7 of the innocent


def profile(
    game: PersuasionGame, policies: list[Any] | Tensor, method: str = "exact"
) -> Equilibrium:
    """An `Equilibrium` of these policies, whatever the verdict."""
    policies = torch.as_tensor(policies, dtype=torch.float64)
    few = None if method == "exact" else 1
    local = verified(game, policies, method=method, time_limit=5.0, deviations=few)
    everywhere = verified(game, policies, None, method=method, time_limit=5.0, deviations=few)
    return Equilibrium(game, policies, local, everywhere, "blocks", "complete")


def accusation() -> Equilibrium:
    """The prosecutor's optimum."""
    return profile(prosecutor_game(), [OPTIMUM])


def random_profile(
    sizes: tuple[int, int, int, int], seed: int = 0, method: str = "sampled"
) -> Equilibrium:
    """Of a game of the sizes (N, M, S, A); figures do not show how it was verified."""
    game = synthetic_game(*sizes, seed=seed, law="contested")
    generator = torch.Generator().manual_seed(seed)
    return profile(game, game.sample_policies(1, generator)[0], method)


def experts() -> PersuasionGame:
    """Two experts advise a regulator, who wants to approve what works and is unsure in the middle.

    One expert is paid for approvals, the other for rejections; both like restrictions a little.
    """
    return PersuasionGame(
        prior=[0.5, 0.3, 0.2],
        receiver_utility=[[1.0, 0.4, 0.0], [0.0, 0.4, 0.0], [0.0, 0.4, 1.0]],
        sender_utility=[[[1.0, 0.3, 0.0]] * 3, [[0.0, 0.3, 1.0]] * 3],
        n_signals=3,
        state_names=["it works", "it works for some", "it has no effect"],
        action_names=["approve", "approve with restrictions", "reject"],
        sender_names=["the producer", "the competitor"],
    )
