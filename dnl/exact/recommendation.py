"""Persuasion as a linear program over recommendations.

A planner sees the state and recommends an action. The receiver obeys if no other action is better
given the recommendation. Whatever several senders tell the receiver, a planner could recommend the
action that it then takes. So the best recommendation is worth at least as much as any profile of
policies (Kamenica and Gentzkow 2011, proposition 1).

If an action is as good as another in every possible state, the receiver's tie rule decides. An
action that it never takes is not recommended; if it goes by the senders' welfare, that is another
condition of obedience (`dnl.exact.tie_breaking`).

Variables: `y (S, A)`, the probability of recommending each action in each state.
"""

import numpy as np
import torch

from dnl.exact.deviation import SLACK, Deviation, receiver_side
from dnl.exact.linear_program import Array, LinearProgram, csr_matrix, vstack
from dnl.runtime.budget import FOREVER, Budget
from games import PersuasionGame


class Recommendation:
    """The program of a planner who recommends actions to maximise expected `worth`.

    Args:
        game: only its prior, the receiver's utility and the tie rule matter.
        worth: `(S, A)` the planner's utility.
        slack: the receiver obeys even if another action is better by up to this much, in its unit
            of ties; below 0, only if the recommended one is better by as much.
        least: pairs of a table `(S, A)` and a lower bound of its expected value.
        margin: by which the recommended action must be better than those that the tie rule prefers,
            in the unit of ties; 0 if a tie suffices.

    Attributes:
        taken: `(T,)` actions that the receiver may take.
    """

    def __init__(
        self,
        game: PersuasionGame,
        worth: Array,
        slack: float = SLACK,
        least: tuple[tuple[Array, float], ...] = (),
        margin: float = 0.0,
    ) -> None:
        game = game.to("cpu", torch.float64)
        problem = receiver_side(game)
        self.prior = game.prior.numpy()
        possible = np.flatnonzero(game.possible_actions.numpy())
        self.taken = possible[problem.ties.taken[0]]  # (T,)
        self.shape = n_states, _ = game.receiver_utility.shape
        n_taken = len(self.taken)
        index = np.arange(n_states * n_taken).reshape(n_states, n_taken)
        sums = csr_matrix(
            (np.ones(index.size), (np.repeat(np.arange(n_states), n_taken), index.ravel())),
            shape=(n_states, index.size),
        )
        obeyed = self._obeyed(problem, slack, margin)
        tables = [self._above(table) for table, _ in least]
        rows = [(table * self.prior[:, None]).ravel() for table, _ in tables]
        sizes = [max(float(np.abs(row).max()), 1e-300) for row in rows]
        kept = [row / size for row, size in zip(rows, sizes, strict=True)]
        floors = csr_matrix(np.array(kept).reshape(len(kept), index.size))
        limits = [
            (limit - lowest) / size
            for (_, limit), (_, lowest), size in zip(least, tables, sizes, strict=True)
        ]
        above, self.lowest = self._above(worth)
        self.range = float(self.prior @ np.ptp(above, axis=1))
        scaled = above / (self.range if self.range > 0 else 1.0)
        self.program = LinearProgram(
            (scaled * self.prior[:, None]).ravel(),
            np.ones(index.size),
            vstack([sums, obeyed, floors]),
            np.concatenate([np.ones(n_states), np.zeros(obeyed.shape[0]), np.array(limits)]),
            np.concatenate([np.ones(n_states), np.full(obeyed.shape[0] + len(limits), np.inf)]),
        )

    def _above(self, table: Array) -> tuple[Array, float]:
        """Columns `taken` above their lowest in each state `(S, T)`; the expected lowest."""
        mine = table[:, self.taken]
        lowest = mine.min(1)
        return mine - lowest[:, None], float(self.prior @ lowest)

    def _obeyed(self, problem: Deviation, slack: float, margin: float) -> csr_matrix:
        """Rows `(C, S T)`: no other action is better than the recommended one."""
        taken = np.flatnonzero(problem.ties.taken[0])
        ranked, strict = (t[np.ix_(taken, taken)] for t in (problem.ties.ranked[0], problem.strict))
        ahead, rank_ahead = (t[np.ix_(taken, taken)] for t in (problem.ahead, problem.rank_ahead))
        first, second = np.nonzero(~np.eye(len(taken), dtype=bool))  # (C,) recommended and rival
        by_rank = ranked[first, second]
        asked = np.where(by_rank, max(slack, 0.0), slack - margin * strict[first, second])
        lead = ahead[first, second] + asked[:, None]
        higher = rank_ahead[first[by_rank], second[by_rank]]
        higher = higher + slack - margin * strict[first, second][by_rank, None]
        first = np.concatenate([first, first[by_rank]])
        lead = np.concatenate([lead, higher]) * self.prior  # (C, S)
        size = np.abs(lead).max(1, initial=0.0)
        lead /= np.where(size > 0, size, 1.0)[:, None]
        n_rows, n_states = lead.shape
        column = np.arange(n_states) * len(taken) + first[:, None]
        row = np.repeat(np.arange(n_rows), n_states)
        return csr_matrix(
            (lead.ravel(), (row, column.ravel())), shape=(n_rows, n_states * len(taken))
        )

    def bound(self, budget: Budget = FOREVER) -> float:
        """Safe upper bound of the best value; minus infinity if nothing is feasible."""
        bound = self.program.solve(budget).bound
        return bound if bound == -np.inf else self.lowest + self.range * min(bound, 1.0)

    def best(self, actions: tuple[int, ...], budget: Budget = FOREVER) -> Array | None:
        """Best recommendation `(S, A)` of `actions` only; None if none is obeyed."""
        allowed = np.zeros((self.shape[0], len(self.taken)))
        allowed[:, np.isin(self.taken, actions)] = 1.0
        self.program.set_upper(allowed.ravel())
        point = self.program.solve(budget).point
        if point is None:
            return None
        plan = np.zeros(self.shape)
        plan[:, self.taken] = point.reshape(allowed.shape)
        return plan
