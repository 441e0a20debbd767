"""Commitment: the best and the worst decision of a single leader whose follower best-responds.

Fix the follower's choice a. The leader's utility, and the conditions that no other choice is better
for the follower, are linear in the decision. So one linear program per choice gives the optimum
(Conitzer and Sandholm, 2006, "Computing the optimal strategy to commit to").

The optimum need not be attained: the follower is typically indifferent there, and its tie rule may
decide against the leader. So bounds let the follower break ties either way, and witnesses leave it
a small margin. A choice that the follower's rule never takes does not count: a choice of lower
index is as good wherever this one is optimal.

Shapes: `A` choices of the follower, `D` numbers that make up the leader's decision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnl.exact.deviation import MARGINS, SLACK
from dnl.exact.linear_program import Array, LinearProgram, Solution
from dnl.runtime.budget import FOREVER
from games.checks import shown
from games.followers.contracts import ContractGame
from games.followers.security import SecurityGame
from games.surroundings import own_surroundings


@dataclass(frozen=True, eq=False)
class Optimum:
    """A leader's best decision.

    Attributes:
        policies: `(1, S, M)`, float64 on the CPU.
        utility: the leader's utility from it in the simulator.
        upper_bound: no decision is worth more; at least `utility`, and at most about a millionth of
            the payoff range above it.
        action: the follower's choice.
    """

    policies: Tensor
    utility: float
    upper_bound: float
    action: int

    def __repr__(self) -> str:
        return (
            f"Optimum(utility={self.utility:.6g}, upper_bound={self.upper_bound:.6g}, "
            f"action={self.action}, policies: {tuple(self.policies.shape)})"
        )


@dataclass(frozen=True, eq=False)
class Worst:
    """A leader's worst decision; the follower still best-responds.

    Attributes:
        policies, utility, action: as in `Optimum`.
        lower_bound: no decision is worth less.
    """

    policies: Tensor
    utility: float
    lower_bound: float
    action: int

    def __repr__(self) -> str:
        return (
            f"Worst(utility={self.utility:.6g}, lower_bound={self.lower_bound:.6g}, "
            f"action={self.action}, policies: {tuple(self.policies.shape)})"
        )


@own_surroundings()
def follower_optimum(game: ContractGame | SecurityGame) -> Optimum:
    """The best decision of a game's only leader, with a proven bound: `A` linear programs.

    Computed in float64 on the CPU whatever the game's dtype. A poor choice if the follower has
    hundreds of choices: the programs are solved one by one, each from scratch.

    Raises:
        ValueError: if the game is neither a contract game nor a security game.
        ImportError: if highspy is not installed.

    Example:
        >>> from games import SecurityGame
        >>> game = SecurityGame([0, 0], [-2, -1], [0, 0], [2, 1], n_resources=1)
        >>> round(follower_optimum(game).upper_bound, 6)  # covers the targets 2/3 and 1/3
        -0.666667
    """
    policies, utility, bound, action = _extreme(game, 1.0)
    return Optimum(policies, utility, bound, action)


@own_surroundings()
def follower_worst(game: ContractGame | SecurityGame) -> Worst:
    """The worst decision of a game's only leader, with a proven bound: `A` linear programs.

    It puts a utility on a scale from worst to best: `(utility - worst) / (optimum - worst)`.

    Raises:
        ValueError: if the game is neither a contract game nor a security game.
        ImportError: if highspy is not installed.
    """
    policies, utility, bound, action = _extreme(game, -1.0)
    return Worst(policies, utility, bound, action)


def _extreme(game: ContractGame | SecurityGame, sign: float) -> tuple[Tensor, float, float, int]:
    """Policies, utility, bound and action of the decision with the highest `sign * utility`."""
    commitment = _commitment(game)
    choices = [a for a in range(len(commitment.score)) if commitment.is_taken(a)]
    bounds = [
        sign * commitment.utility_at_zero[a] + commitment.solve(a, sign, -SLACK).bound
        for a in choices
    ]
    found = [
        commitment.policies(torch.from_numpy(point), a)
        for a in choices
        for margin in MARGINS
        if (point := commitment.solve(a, sign, margin).point) is not None
    ]
    policies = torch.stack(found).unsqueeze(1)  # (B, 1, S, M)
    signed = sign * game.ex_ante_utility(policies)[:, 0]
    best = int(signed.argmax())
    reached = signed[best].item()
    bound = max(commitment.payoff_range * float(max(bounds)), reached)
    action = int(game.follower_action(policies[best]))
    return policies[best], sign * reached, sign * bound, action


@dataclass(frozen=True, eq=False)
class _Commitment:
    """A leader's decision `x (D,)` in [0, 1] with `sum(x) <= budget`, as linear programs.

    Attributes:
        score, score_at_zero: `(A, D)`, `(A,)`: the follower's scores, over their range, are
            `score @ x + score_at_zero`.
        utility, utility_at_zero: `(A, D)`, `(A,)`: the same for the leader, over its payoff range.
        budget: as above.
        payoff_range: the unit of `utility`.
        policies: maps `x` and a choice that is optimal at `x` to policies `(S, M)` of the same
            utility, at which the choice leads by at least as much.
    """

    score: Array
    score_at_zero: Array
    utility: Array
    utility_at_zero: Array
    budget: float
    payoff_range: float
    policies: Callable[[Tensor, int], Tensor]

    def is_taken(self, action: int) -> bool:
        """Whether the follower takes `action` at some `x`, where all of lower index are worse."""
        score, at_zero, before = self._leads(action)
        n_decisions = score.shape[1]
        lead = LinearProgram(
            np.append(np.zeros(n_decisions), 1.0),
            np.ones(n_decisions + 1),
            np.vstack(
                [
                    np.column_stack([score, -before.astype(np.float64)]),
                    np.append(np.ones(n_decisions), 0.0),
                ]
            ),
            np.append(-at_zero, -np.inf),
            np.append(np.full(len(at_zero), np.inf), self.budget),
        ).solve(FOREVER)
        return not before.any() or lead.bound > SLACK

    def _leads(self, action: int) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Leads of `action`: `(A - 1, D)`, `(A - 1,)` at zero; which rivals have lower index."""
        rivals = np.flatnonzero(np.arange(len(self.score)) != action)
        score = self.score[action] - self.score[rivals]
        return score, self.score_at_zero[action] - self.score_at_zero[rivals], rivals < action

    def solve(self, action: int, sign: float, margin: float) -> Solution:
        """The highest `sign * utility`, without its constant, if the follower takes `action`.

        A `margin` above 0 is required over choices of lower index only, as they win ties. One below
        0 is a slack over all others.
        """
        score, at_zero, before = self._leads(action)
        least = np.where(before, margin, min(margin, 0.0)) - at_zero
        n_decisions = score.shape[1]
        return LinearProgram(
            sign * self.utility[action],
            np.ones(n_decisions),
            np.vstack([score, np.ones(n_decisions)]),
            np.append(least, -np.inf),
            np.append(np.full(len(least), np.inf), self.budget),
        ).solve(FOREVER)


def _commitment(game: ContractGame | SecurityGame) -> _Commitment:
    if isinstance(game, ContractGame):
        score, score_at_zero, utility, utility_at_zero = _contract(game)
        budget, policies = score.shape[1], _wage_shares
    elif isinstance(game, SecurityGame):
        score, score_at_zero, utility, utility_at_zero = _security(game)
        budget, policies = game.n_resources, partial(_allocation, n_resources=game.n_resources)
    else:
        raise ValueError(f"game must be a ContractGame or a SecurityGame, got {shown(game)}")
    score_range = game.follower_range or 1.0
    payoff_range = game.payoff_range.item() or 1.0
    return _Commitment(
        score / score_range,
        score_at_zero / score_range,
        utility / payoff_range,
        utility_at_zero / payoff_range,
        float(budget),
        payoff_range,
        policies,
    )


def _contract(game: ContractGame) -> tuple[Array, Array, Array, Array]:
    """Scores and utilities, each with its constant; a decision is wages over `max_wage`."""
    probabilities, costs, rewards = _numpy(game.outcome_probabilities, game.costs, game.rewards)
    wage = game.max_wage * probabilities  # (A, O): expected, if paid in full
    return wage, -costs, -wage, probabilities @ rewards


def _wage_shares(shares: Tensor, action: int) -> Tensor:
    """Shares of the highest wage `(O,)` as policies `(O, 2)`."""
    return torch.stack([shares, 1 - shares], 1)


def _security(game: SecurityGame) -> tuple[Array, Array, Array, Array]:
    """Scores and utilities, each with its constant; a decision is the coverage of each target."""
    attacker, attacker_uncovered = _numpy(game.attacker_covered, game.attacker_uncovered)
    defender, defender_uncovered = _numpy(game.defender_covered, game.defender_uncovered)
    return (
        np.diag(attacker - attacker_uncovered),
        attacker_uncovered,
        np.diag(defender - defender_uncovered),
        defender_uncovered,
    )


def _allocation(coverage: Tensor, attacked: int, n_resources: int) -> Tensor:
    """Coverage `(T,)` as allocations `(R, T)`; spare resources guard the targets not attacked.

    These become even less attractive, so the attacked target stays the best one.
    """
    others = torch.arange(len(coverage)) != attacked
    room = (1 - coverage) * others
    left = max(n_resources - coverage.sum().item(), 0.0)
    guarded = coverage + room * min(left / max(room.sum().item(), 1e-300), 1.0)
    surplus = max(n_resources - guarded.sum().item(), 0.0)  # where all others are covered
    guarded = guarded + others * surplus / others.sum()
    return (guarded / guarded.sum()).expand(n_resources, -1)


def _numpy(*tensors: Tensor) -> tuple[Array, ...]:
    return tuple(tensor.double().cpu().numpy() for tensor in tensors)
