"""Optimal Bayesian persuasion: the best policy of one sender that knows its receiver."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.best_response import ATTAINED_GAP, MARGIN_LOSS, best_response
from dnl.exact.deviation import MARGINS
from dnl.exact.recommendation import Recommendation
from dnl.exact.status import Status
from dnl.runtime.budget import Budget
from games import PersuasionGame, checks
from games.persuasion.game import of_one_sender
from games.surroundings import own_surroundings

MIN_PROBABILITY = 1e-9  # smaller ones are the solver's rounding of 0
LEVEL_ROUNDING = 1e-9  # relative to a utility, whose level all actions may share


@dataclass(frozen=True, eq=False)
class OptimalPersuasion:
    """The best policy found, and a proven bound.

    Attributes:
        policies: `(1, S, M)`.
        utility: the sender's utility from it in the simulator.
        upper_bound: no policy gets more; at least `utility`.
        is_attained: whether `utility` equals the bound, within 1e-8 of the payoff range. Often the
            supremum is a limit only: the receiver is indifferent there, and its tie rule decides
            against the sender. With the status `"optimal"` the policy comes within 2e-6 of it.
        status: `"optimal"`, or why the bound may be loose (`Status`, with `.advice`).
    """

    policies: Tensor
    utility: float
    upper_bound: float
    is_attained: bool
    status: Status

    def __repr__(self) -> str:
        return (
            f"OptimalPersuasion(utility={self.utility:.6g}, upper_bound={self.upper_bound:.6g}, "
            f"is_attained={self.is_attained}, status={str(self.status)!r}, "
            f"policies: {tuple(self.policies.shape)})"
        )


@own_surroundings()
def optimal_persuasion(game: PersuasionGame, time_limit: float = 60.0) -> OptimalPersuasion:
    """Optimal Bayesian persuasion by a single sender.

    With a signal for every action that the receiver may take, this is one linear program over
    recommendations (Kamenica and Gentzkow 2011, proposition 1; "Learning to Persuade", program 5).
    With fewer signals the problem is NP-hard (Dughmi, Kempe and Qiang 2016): the result is then the
    best policy and bound that `best_response` finds within the time limit.

    Args:
        game: a game of one sender.
        time_limit: seconds, above 0.

    Returns:
        An `OptimalPersuasion`, in float64 on the CPU.

    Raises:
        ValueError: for a game of several senders or a bad limit.
        ImportError: if highspy is not installed.
    """
    budget = Budget.within(checks.positive_number("time_limit", time_limit))
    game = of_one_sender(game).to("cpu", torch.float64)
    unit = game.payoff_range.item()
    program = Recommendation(game, game.sender_utility[0].numpy())
    bound = program.bound(budget)
    silence = torch.zeros(1, game.n_states, game.n_signals, dtype=torch.float64)
    silence[..., 0] = 1.0
    plans = [silence]
    if len(program.taken) <= game.n_signals:
        plans += [plan for margin in MARGINS if (plan := _told(game, margin, budget)) is not None]
    utilities = [game.ex_ante_utility(plan).item() for plan in plans]
    best = max(range(len(plans)), key=utilities.__getitem__)
    policies, utility = plans[best], utilities[best]
    noise = LEVEL_ROUNDING * abs(bound)
    status = Status.OPTIMAL
    if bound - utility > MARGIN_LOSS * unit + noise:
        left = max(budget.left, 1e-3)
        found = best_response(game, policies, 0, None, left, tolerance=MARGIN_LOSS / 10)
        status, bound = found.status, min(bound, found.upper_bound)
        if found.utility > utility:
            policies, utility = found.policy.unsqueeze(0), found.utility
        if bound - utility <= 2 * MARGIN_LOSS * unit + noise:
            status = Status.OPTIMAL
    bound = max(bound, utility)
    attained = bound - utility <= ATTAINED_GAP * unit + noise
    return OptimalPersuasion(policies, utility, bound, attained, status)


def _told(game: PersuasionGame, margin: float, budget: Budget) -> Tensor | None:
    """The best recommendation `(1, S, M)` that the receiver obeys under its own tie rule.

    Args:
        game: a game of one sender, with a signal for every action that the receiver may take.
        margin: by which an action must be better than those that the rule prefers at a tie.
        budget: time and memory.
    """
    worth = game.sender_utility[0].numpy()
    program = Recommendation(game, worth, slack=0.0, margin=margin)
    plan = program.best(tuple(range(game.n_actions)), budget)
    if plan is None:
        return None
    told = torch.from_numpy(plan)[:, program.taken]
    return _policies(told, game.n_signals)


def _policies(told: Tensor, n_signals: int) -> Tensor:
    """Recommendations `(S, A)` as policies `(1, S, M)`: signal a recommends action a."""
    policies = told.new_zeros(1, len(told), n_signals)
    policies[0, :, : told.shape[1]] = told.clamp_min(0)
    policies[policies < MIN_PROBABILITY] = 0.0
    return policies / policies.sum(-1, keepdim=True)


def obeyed(game: PersuasionGame, margin: float) -> Tensor | None:
    """The best recommendation of actions that the receiver prefers by a margin: `(1, S, M)`.

    Args:
        game: a game of one sender, with a signal for every action: signal a recommends action a.
        margin: in units of the receiver's ties; below 0, other actions may be better by as much.

    Returns:
        None if no recommendation is obeyed.
    """
    plan = Recommendation(game, game.sender_utility[0].numpy(), slack=-margin).best(
        tuple(range(game.n_actions))
    )
    if plan is None:
        return None
    return _policies(torch.from_numpy(plan), game.n_signals)
