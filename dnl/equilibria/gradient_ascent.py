"""Extra-gradient: on the true utility's own pieces, on a smoothed receiver, or on a surrogate.

Gradients see no jumps. A receiver with temperature chooses by a softmax of expected utilities
(quantal response); as the temperature falls it becomes the true one. End points are finished by
exact best responses within a shrinking radius.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dnl.equilibria.response_walks import radii, walk
from dnl.equilibria.search import Proposals, Search
from dnl.gradients.extragradient import ExtragradientConfig, extragradient
from dnl.layers import quantal_response
from dnl.surrogates.fitted import FittedSurrogate
from games import PersuasionGame
from games.persuasion.simulation import joint_weights

MOST_ASCENTS = 48  # starting points
MOST_FINISHED = 12  # end points that are finished, best welfare first
TEMPERATURES = (0.1, 0.03, 0.01, 0.003)  # of the receiver, as fractions of its utility range
MOST_GRADIENT_ENTRIES = 2**24  # of one gradient of the smoothed utility, all senders: a second


class TimeOverError(Exception):
    """The time is over in the middle of an ascent."""


def extragradient_smoothed(search: Search) -> Proposals:
    """Ascend a smoothed receiver whose temperature falls, then the true pieces, then finish."""
    game = search.game
    count = min(MOST_ASCENTS, MOST_GRADIENT_ENTRIES // _numbers(game))
    if count == 0:
        return
    policies = game.sample_policies(count, search.generator("extragradient"))
    config = ExtragradientConfig(iterations=25)
    utilities = [smoothed_utility(game, temperature) for temperature in TEMPERATURES]
    for utility in (*utilities, game.ex_ante_utility):
        try:
            policies = extragradient(timed(search, utility), policies, config).policies
        except TimeOverError:
            search.cut = True
            return
        yield None
    yield from finished(search, policies)


def timed(search: Search, utility: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same utility, which raises `TimeOverError` when the search's time is over."""

    def evaluate(policies: Tensor) -> Tensor:
        if search.budget.over:
            raise TimeOverError
        return utility(policies)

    return evaluate


def surrogate_ends(search: Search, utility: Callable[[Tensor], Tensor]) -> Proposals:
    """The paper's own way, black box: ascend a fitted surrogate, then finish.

    Args:
        search: what to search.
        utility: `(B, N, S, M) -> (B, N)`, for example a `FittedSurrogate`.
    """
    starts = search.game.sample_policies(MOST_ASCENTS, search.generator("surrogate"))
    dtype = utility.networks.dtype if isinstance(utility, FittedSurrogate) else starts.dtype
    yield from finished(search, extragradient(utility, starts.to(dtype)).policies.double())


def finished(search: Search, policies: Tensor) -> Proposals:
    """Each of `policies (B, N, S, M)` as it is and walked to rest, best welfare first."""
    policies = policies / policies.sum(-1, keepdim=True)
    order = search.welfare(policies).argsort(descending=True, stable=True)
    for index in order[:MOST_FINISHED].tolist():
        if search.budget.over:
            return
        yield from policies[index : index + 1][search.survives(policies[index : index + 1])]
        yield from walk(search, policies[index], radii(search.radius))


def smoothed_utility(game: PersuasionGame, temperature: float) -> Callable[[Tensor], Tensor]:
    """Ex-ante utilities when the receiver chooses by a softmax: `(B, N, S, M) -> (B, N)`.

    Args:
        game: the game.
        temperature: of the posterior expected utility, as a fraction of the receiver's range.
    """
    v, u = game.receiver_utility, game.sender_utility
    spread = (v.amax() - v.amin()).item()
    scale = temperature * spread if spread > 0 else 1.0  # a receiver that does not care

    def utility(policies: Tensor) -> Tensor:
        joint = joint_weights(policies) * game.prior  # (B, K, S)
        posterior = joint / joint.sum(-1, keepdim=True).clamp_min(1e-12)
        choice = quantal_response(posterior @ v, scale)  # (B, K, A)
        return torch.einsum("bks,bka,nsa->bn", joint, choice, u)

    return utility


def _numbers(game: PersuasionGame) -> int:
    """How many numbers a gradient of one profile takes: a pass for each sender."""
    joint = game.n_signals**game.n_senders
    return game.n_senders * joint * (game.n_states + game.n_actions)
