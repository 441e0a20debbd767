"""What no profile can exceed: how much welfare there is to be found at all."""

from dataclasses import dataclass

import torch

from dnl.exact.persuasion import Recommendation
from dnl.revelation import full_revelation
from dnl.tolerance import TOLERANCE
from games import PersuasionGame


@dataclass(frozen=True)
class WelfareCeiling:
    """Proven bounds of the senders' summed utilities.

    Attributes:
        any_profile: no profile of policies has a higher welfare, whatever the tie rule.
        global_equilibrium: no profile that `verify(..., radius=None)` certifies at its usual
            tolerance has a higher welfare. At most `any_profile`.
    """

    any_profile: float
    global_equilibrium: float


def welfare_ceiling(game: PersuasionGame) -> WelfareCeiling:
    """Bound welfare by the best recommendation of a planner who knows the state.

    Computed, like certificates, for the game in float64 whatever its dtype.

    In a global equilibrium no sender gets less than under full revelation if it could bring that
    about alone, which it can where it has a signal for each action that is optimal in some state
    (Gentzkow and Kamenica 2017). The planner of `global_equilibrium` must grant that.

    Raises:
        ImportError: if highspy is not installed.
    """
    game = game.to("cpu", torch.float64)
    u = game.sender_utility
    welfare = u.sum(0).numpy()
    any_profile = Recommendation(game, welfare).bound()
    alone = PersuasionGame(
        game.prior,
        game.receiver_utility,
        u.sum(0, keepdim=True),
        game.n_signals,
        game.tie_break,
    )
    if full_revelation(alone).policies is None:
        return WelfareCeiling(any_profile, any_profile)
    least = full_revelation(game).utilities - 1.01 * TOLERANCE * game.payoff_range
    floors = tuple(zip(u.numpy(), least.tolist(), strict=True))
    bound = Recommendation(game, welfare, least=floors).bound()
    return WelfareCeiling(any_profile, min(bound, any_profile))
