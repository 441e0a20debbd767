"""The best that one sender can do who knows its receiver: `dnl.optimal_persuasion`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.persuasion import Recommendation
from dnl.exact.problem import MARGINS
from dnl.exact.response import MISSED, best_response
from dnl.exact.status import Status
from games import PersuasionGame, checks
from games.persuasion import of_one_sender

ROUNDING = 1e-9  # of probabilities and utilities: what a solver may leave where it means none


@dataclass(frozen=True, eq=False)
class OptimalPersuasion:
    """The best policy found, and what no policy reaches.

    Attributes:
        policies: `(1, S, M)`.
        utility: what the simulator gives the sender for it.
        upper_bound: no policy gets more, whatever the receiver's tie rule.
        status: `"optimal"`, or why the bound may be loose (`Status`, with `.advice`).
    """

    policies: Tensor
    utility: float
    upper_bound: float
    status: Status


def optimal_persuasion(game: PersuasionGame, time_limit: float = 60.0) -> OptimalPersuasion:
    """Optimal Bayesian persuasion by a single sender.

    With a signal for every action one linear program over recommendations (Kamenica and Gentzkow
    2011, proposition 1; "Learning to Persuade", program 5). With fewer it is NP-hard (Dughmi, Kempe
    and Qiang 2016): then the best policy and bound within the time limit (`best_response`).

    Args:
        game: of one sender.
        time_limit: seconds, above 0; counts only with fewer signals than actions.

    Returns:
        In float64 on the CPU.

    Raises:
        ValueError: for a game of several senders or a bad limit.
        ImportError: if highspy is not installed.
    """
    game = of_one_sender(game).to("cpu", torch.float64)
    time_limit = checks.positive_number("time_limit", time_limit)
    ceiling = Recommendation(game, game.sender_utility[0].numpy()).bound()
    silence = torch.zeros(1, game.n_states, game.n_signals, dtype=torch.float64)
    silence[..., 0] = 1.0
    if game.n_signals < game.n_actions:
        found = best_response(game, silence, 0, None, time_limit)
        bound = max(min(found.upper_bound, ceiling), found.utility)
        return OptimalPersuasion(found.policy.unsqueeze(0), found.utility, bound, found.status)
    tried = [silence, *(plan for margin in MARGINS if (plan := obeyed(game, margin)) is not None)]
    utilities = [game.ex_ante_utility(policies).item() for policies in tried]
    best = max(range(len(tried)), key=utilities.__getitem__)
    bound = max(ceiling, utilities[best])
    noise = ROUNDING * game.sender_utility.abs().max().item()
    missed = bound - utilities[best] > MISSED * game.payoff_range.item() + noise
    status = Status.NOT_ATTAINED if missed else Status.OPTIMAL
    return OptimalPersuasion(tried[best], utilities[best], bound, status)


def obeyed(game: PersuasionGame, margin: float) -> Tensor | None:
    """The best recommendation of actions that the receiver prefers by a margin: `(1, S, M)`.

    Args:
        game: of one sender, with a signal for every action: signal a recommends action a.
        margin: of the receiver's utility range; below 0, recommendations that it would follow if
            another action were better by as much.

    Returns:
        None where no recommendation can be followed.
    """
    plan = Recommendation(game, game.sender_utility[0].numpy(), slack=-margin).best(
        tuple(range(game.n_actions))
    )
    if plan is None:
        return None
    policies = torch.zeros(1, game.n_states, game.n_signals, dtype=torch.float64)
    policies[0, :, : game.n_actions] = torch.from_numpy(plan).clamp_min(0)
    policies[policies < ROUNDING] = 0.0  # a message sent by a solver's rounding is not meant
    return policies / policies.sum(-1, keepdim=True)
