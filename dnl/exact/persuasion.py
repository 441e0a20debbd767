"""Persuasion as a linear program over recommendations.

Whatever several senders tell the receiver together, one could tell it alone by recommending the
action that the receiver then takes; it obeys if no other action is better given the recommendation.
So the best recommendation is worth at least as much as any profile of policies (Kamenica and
Gentzkow 2011, proposition 1).

Variables: `y (S, A)`, the probability of recommending each action in each state.
"""

import numpy as np

from dnl.exact.linear import Array, LinearProgram
from dnl.exact.problem import SLACK
from dnl.exact.sparse import csr_matrix, vstack
from games import PersuasionGame


class Recommendation:
    """The program of a planner who recommends actions and wants the highest `worth`.

    Args:
        game: only its prior and the receiver's utility matter.
        worth: `(S, A)` what the planner gets.
        slack: the receiver obeys where another action is better by up to this much, as a fraction
            of its utility range; below 0, only where the recommended one is better by as much.
        least: pairs of a table `(S, A)` and the least expected value that it must have.
    """

    def __init__(
        self,
        game: PersuasionGame,
        worth: Array,
        slack: float = SLACK,
        least: tuple[tuple[Array, float], ...] = (),
    ) -> None:
        self.prior, v = (t.double().cpu().numpy() for t in (game.prior, game.receiver_utility))
        self.shape = n_states, n_actions = v.shape
        self.lowest, self.range = float(worth.min()), float(np.ptp(worth))
        span = np.ptp(v)
        value = (v - v.min()) / span if span > 0 else np.zeros_like(v)
        states, actions = np.arange(n_states), np.arange(n_actions)
        index = states[:, None] * n_actions + actions  # (S, A)
        sums = csr_matrix(
            (np.ones(index.size), (np.repeat(states, n_actions), index.ravel())),
            shape=(n_states, index.size),
        )
        first, second = np.nonzero(~np.eye(n_actions, dtype=bool))  # (C,) obeyed and rival
        better = (value[:, first] - value[:, second] + slack) * self.prior[:, None]  # (S, C)
        size = np.abs(better).max(0, initial=0.0)
        better /= np.where(size > 0, size, 1.0)
        obeyed = csr_matrix(
            (better.ravel(), (np.tile(np.arange(len(first)), n_states), index[:, first].ravel())),
            shape=(len(first), index.size),
        )
        tables = [((table * self.prior[:, None]).ravel(), limit) for table, limit in least]
        sizes = [max(float(np.abs(row).max()), 1e-300) for row, _ in tables]
        kept = [row / size for (row, _), size in zip(tables, sizes, strict=True)]
        floors = csr_matrix(np.array(kept).reshape(len(kept), index.size))
        limits = [limit / size for (_, limit), size in zip(tables, sizes, strict=True)]
        scaled = (worth - self.lowest) / (self.range if self.range > 0 else 1.0)
        self.program = LinearProgram(
            (scaled * self.prior[:, None]).ravel(),
            np.ones(index.size),
            vstack([sums, obeyed, floors]).tocsr(),
            np.concatenate([np.ones(n_states), np.zeros(len(first)), np.array(limits)]),
            np.concatenate([np.ones(n_states), np.full(len(first) + len(limits), np.inf)]),
        )

    def bound(self) -> float:
        """Safe upper bound of the best value; minus infinity where nothing is feasible."""
        bound = self.program.solve().bound
        return bound if bound == -np.inf else self.lowest + self.range * min(bound, 1.0)

    def best(self, actions: tuple[int, ...]) -> Array | None:
        """Best recommendation out of `actions` only, `(S, A)`; None where none is obeyed."""
        allowed = np.zeros(self.shape)
        allowed[:, list(actions)] = 1.0
        self.program.set_upper(allowed.ravel())
        point = self.program.solve().point
        return None if point is None else point.reshape(self.shape)
