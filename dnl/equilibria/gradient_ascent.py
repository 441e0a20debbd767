"""Extra-gradient ascent on the true utility, on a smoothed receiver's or on a surrogate.

Gradients do not see jumps. A smoothed receiver chooses by a softmax of expected utilities (quantal
response) and approaches the true one as its temperature falls. From the end points of an ascent,
exact best responses within a shrinking radius lead to local equilibria.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dnl.equilibria.response_walks import walk, walk_radii
from dnl.equilibria.search import Proposals, Search
from dnl.gradients.extragradient import ExtragradientConfig, extragradient
from dnl.layers import quantal_response
from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.fitting import fit
from games import PersuasionGame
from games.persuasion.simulation import joint_weights

MOST_ASCENTS = 48  # starting points
MOST_FINISHED = 12  # end points from which best responses go on, highest worth first
TEMPERATURES = (0.1, 0.03, 0.01, 0.003)  # of the receiver, as fractions of its utility range
MOST_GRADIENT_ENTRIES = 2**24  # of the smoothed utility, for all senders: a second's work


# The fit of a surrogate: the benchmark's quick budget.
FIT_SAMPLES = 10_000  # profiles
FIT_EPOCHS = 10


class TimeOverError(Exception):
    """The time ran out during an ascent."""


def extragradient_smoothed(search: Search) -> Proposals:
    """Ascend with a smoothed receiver of falling temperature, then the true one, then finish."""
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
    """The same utility, raising `TimeOverError` once the search's time is over."""

    def evaluate(policies: Tensor) -> Tensor:
        if search.budget.over:
            raise TimeOverError
        return utility(policies)

    return evaluate


def surrogate_ascent(surrogate: str, search: Search) -> Proposals:
    """The paper's own method: fit the network called `surrogate` to samples, ascend it, finish."""
    config = FitConfig(samples=FIT_SAMPLES, epochs=FIT_EPOCHS, test_samples=1_000, device="cpu")
    fitted = fit(search.game, surrogate, config, search.seed)
    yield None
    yield from surrogate_ends(search, fitted)


def surrogate_ends(search: Search, utility: Callable[[Tensor], Tensor]) -> Proposals:
    """Ascend a utility from random starts, then finish.

    Args:
        search: what to search.
        utility: `(B, N, S, M) -> (B, N)`, for example a `FittedSurrogate`.
    """
    starts = search.game.sample_policies(MOST_ASCENTS, search.generator("surrogate"))
    dtype = utility.networks.dtype if isinstance(utility, FittedSurrogate) else starts.dtype
    yield from finished(search, extragradient(utility, starts.to(dtype)).policies.double())


def finished(search: Search, policies: Tensor) -> Proposals:
    """Each of `policies (B, N, S, M)`, itself and where best responses lead, best first."""
    policies = policies / policies.sum(-1, keepdim=True)
    order = search.worth(policies).argsort(descending=True, stable=True)
    for index in order[:MOST_FINISHED].tolist():
        if search.budget.over:
            return
        yield from policies[index : index + 1][search.survives(policies[index : index + 1])]
        yield from walk(search, policies[index], walk_radii(search))


def smoothed_utility(game: PersuasionGame, temperature: float) -> Callable[[Tensor], Tensor]:
    """Ex-ante utilities when the receiver chooses by a softmax: `(B, N, S, M) -> (B, N)`.

    Args:
        game: the game.
        temperature: of the softmax, as a fraction of the receiver's utility range.
    """
    v, u = game.receiver_utility, game.sender_utility
    spread = (v.amax() - v.amin()).item()
    scale = temperature * spread if spread > 0 else 1.0  # an indifferent receiver

    def utility(policies: Tensor) -> Tensor:
        joint = joint_weights(policies) * game.prior  # (B, K, S)
        posterior = joint / joint.sum(-1, keepdim=True).clamp_min(1e-12)
        choice = quantal_response(posterior @ v, scale)  # (B, K, A)
        return torch.einsum("bks,bka,nsa->bn", joint, choice, u)

    return utility


def _numbers(game: PersuasionGame) -> int:
    """Entries that the gradients of one profile take, one pass per sender."""
    joint = game.n_signals**game.n_senders
    return game.n_senders * joint * (game.n_states + game.n_actions)
