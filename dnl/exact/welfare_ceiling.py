"""Upper bounds of welfare: what no profile, and no global equilibrium, can exceed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.deviation import MARGINS
from dnl.exact.full_revelation import full_revelation
from dnl.exact.linear_program import Array
from dnl.exact.optimal_persuasion import obeyed
from dnl.exact.recommendation import Recommendation
from dnl.exact.tolerance import TOLERANCE
from dnl.runtime.budget import FOREVER, Budget
from games import PersuasionGame
from games.persuasion import persuasion_game
from games.surroundings import own_surroundings

ROUNDING_OF_SUM = 1e-12  # of a sum over the states, relative to the largest utility


@dataclass(frozen=True)
class WelfareCeiling:
    """Proven upper bounds of the senders' summed utilities.

    Attributes:
        any_profile: of all profiles of policies.
        global_equilibrium: of all profiles that `verify(..., radius=None)` certifies at its default
            tolerance. At most `any_profile`.
    """

    any_profile: float
    global_equilibrium: float


@own_surroundings()
def welfare_ceiling(game: PersuasionGame, budget: Budget = FOREVER) -> WelfareCeiling:
    """Bound welfare by the best recommendation of a planner who knows the state.

    Computed, like certificates, in float64 whatever the game's dtype.

    A sender that has a signal for each action optimal in some state can reveal everything alone.
    So in a global equilibrium it gets at least its utility under full revelation (Gentzkow and
    Kamenica 2017). The planner of `global_equilibrium` must grant that.

    Args:
        game: the game.
        budget: time and memory. When the time is over the bounds are loose but valid.

    Raises:
        ImportError: if highspy is not installed.
    """
    persuasion_game(game)
    game = game.to("cpu", torch.float64)
    return ceiling_of(game, game.sender_utility.sum(0), budget)


def ceiling_of(game: PersuasionGame, worth: Tensor, budget: Budget = FOREVER) -> WelfareCeiling:
    """The same bounds of the expected value of any table of state and action.

    Args:
        game: in float64 on the CPU.
        worth: `(S, A)`; the senders' sum for welfare. What senders can secure does not depend on
            it, so the bound of global equilibria holds for every table.
        budget: as above.
    """
    table = worth.numpy()
    any_profile = planned(game, table, budget)
    floors = participation(game) + _optimum_alone(game)
    if not floors:
        return WelfareCeiling(any_profile, any_profile)
    bound = planned(game, table, budget, floors)
    return WelfareCeiling(any_profile, min(bound, any_profile))


def own_ceilings(game: PersuasionGame, budget: Budget = FOREVER) -> Tensor:
    """Upper bounds `(N,)` of each sender's utility over all profiles.

    A profile that gives every sender this much is a global equilibrium. With a single signal nobody
    can say anything, and the bound is each sender's utility without information.

    Args:
        game: the game.
        budget: time and memory. When the time is over the bounds are loose but valid.

    Raises:
        ImportError: if highspy is not installed.
    """
    game = game.to("cpu", torch.float64)
    if game.n_signals == 1:
        return game.no_information()
    bounds = [planned(game, u.numpy(), budget) for u in game.sender_utility]
    return torch.tensor(bounds, dtype=torch.float64)


def participation(game: PersuasionGame) -> tuple[tuple[Array, float], ...]:
    """What each sender can secure by revealing everything alone: tables `(S, A)` and values.

    Values are lower by the tolerance of certificates. Empty if senders have too few signals.
    Senders of payoff range 0 demand nothing: rounding alone could make their demand impossible.
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
    at_stake = game.payoff_range > 0
    return tuple(zip(u[at_stake].numpy(), least[at_stake].tolist(), strict=True))


def _optimum_alone(game: PersuasionGame) -> tuple[tuple[Array, float], ...]:
    """What a single sender can get: its table `(S, A)` and value, lower by the tolerance.

    It gets that in every global equilibrium. Empty for several senders, or too few signals.
    """
    if game.n_senders > 1 or game.n_signals < game.n_actions or not game.payoff_range.any():
        return ()
    policies = obeyed(game, MARGINS[0])
    if policies is None:
        return ()
    found = game.ex_ante_utility(policies) - 1.01 * TOLERANCE * game.payoff_range
    return ((game.sender_utility[0].numpy(), found.item()),)


def planned(
    game: PersuasionGame, worth: Array, budget: Budget, least: tuple[tuple[Array, float], ...] = ()
) -> float:
    """Safe upper bound of the value of a planner who recommends actions.

    Args:
        game: in float64 on the CPU.
        worth: `(S, A)` the planner's utility.
        budget: when the time is over, the bound is that of the best action in each state.
        least: as in `Recommendation`.
    """
    informed = float(game.prior.numpy() @ worth.max(1)) + ROUNDING_OF_SUM * float(abs(worth).max())
    if budget.over:
        return informed
    return min(Recommendation(game, worth, least=least).bound(budget), informed)
