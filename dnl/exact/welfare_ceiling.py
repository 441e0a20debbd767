"""What no profile can exceed: how much welfare there is to be found at all."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.full_revelation import full_revelation
from dnl.exact.linear_program import Array
from dnl.exact.recommendation import Recommendation
from dnl.exact.tolerance import TOLERANCE
from dnl.runtime.budget import Budget
from games import PersuasionGame, checks
from games.surroundings import own_surroundings


@dataclass(frozen=True)
class WelfareCeiling:
    """Proven bounds of the senders' summed utilities.

    Attributes:
        any_profile: no profile of policies has a higher welfare.
        global_equilibrium: no profile that `verify(..., radius=None)` certifies at its usual
            tolerance has a higher welfare. At most `any_profile`.
    """

    any_profile: float
    global_equilibrium: float


@own_surroundings()
def welfare_ceiling(game: PersuasionGame, budget: Budget | None = None) -> WelfareCeiling:
    """Bound welfare by the best recommendation of a planner who knows the state.

    Computed, like certificates, for the game in float64 whatever its dtype.

    In a global equilibrium no sender gets less than under full revelation if it could bring that
    about alone, which it can where it has a signal for each action that is optimal in some state
    (Gentzkow and Kamenica 2017). The planner of `global_equilibrium` must grant that.

    Args:
        game: the game.
        budget: None for no limit. When the time is over the bounds are valid, but loose.

    Raises:
        ImportError: if highspy is not installed.
    """
    checks.instance("game", game, PersuasionGame)
    budget = budget or Budget()
    game = game.to("cpu", torch.float64)
    welfare = game.sender_utility.sum(0).numpy()
    any_profile = planned(game, welfare, budget)
    floors = participation(game)
    if not floors:
        return WelfareCeiling(any_profile, any_profile)
    bound = planned(game, welfare, budget, floors)
    return WelfareCeiling(any_profile, min(bound, any_profile))


def own_ceilings(game: PersuasionGame, budget: Budget | None = None) -> Tensor:
    """What each sender cannot exceed, whatever all senders do: `(N,)`.

    A profile that gives every sender this much is a global equilibrium. With a single signal
    nobody can say anything, and a sender's ceiling is what it gets.

    Args:
        game: the game.
        budget: None for no limit. When the time is over the bounds are valid, but loose.

    Raises:
        ImportError: if highspy is not installed.
    """
    budget = budget or Budget()
    game = game.to("cpu", torch.float64)
    if game.n_signals == 1:
        return game.no_information()
    bounds = [planned(game, u.numpy(), budget) for u in game.sender_utility]
    return torch.tensor(bounds, dtype=torch.float64)


def participation(game: PersuasionGame) -> tuple[tuple[Array, float], ...]:
    """What each sender can secure by revealing everything alone: tables `(S, A)` and values.

    Less than that by the tolerance of certificates. Empty where a sender has too few signals.
    """
    u = game.sender_utility
    alone = PersuasionGame(
        game.prior,
        game.receiver_utility,
        u.sum(0, keepdim=True),
        game.n_signals,
        game.tie_break,
    )
    if full_revelation(alone).policies is None:
        return ()
    least = full_revelation(game).utilities - 1.01 * TOLERANCE * game.payoff_range
    return tuple(zip(u.numpy(), least.tolist(), strict=True))


def planned(
    game: PersuasionGame, worth: Array, budget: Budget, least: tuple[tuple[Array, float], ...] = ()
) -> float:
    """Safe upper bound of what a planner can get who recommends actions.

    Args:
        game: float64 on the CPU.
        worth: `(S, A)` what the planner gets.
        budget: when the time is over, the bound is that of the best action in each state.
        least: as in `Recommendation`.
    """
    informed = float(game.prior.numpy() @ worth.max(1))
    rounding = 1e-12 * float(abs(worth).max())
    if budget.over:
        return informed + rounding
    return min(Recommendation(game, worth, least=least).bound(budget), informed + rounding)
