"""Posteriors that one signal of a sender may induce, and what they are worth to it.

Posteriors lie on boundaries of action regions, where the receiver is indifferent. Their value is
a limit: there the receiver favours the sender. If `reached_only` is set, it is the value in the
best neighbouring region that the game's tie rule reaches.

Shapes: `S'` states of positive probability, `J` joint signals of the others.
"""

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnl.exact.action_regions import ActionRegions
from dnl.exact.deviation import Deviation
from dnl.exact.linear_program import Array
from dnl.exact.response_search import INWARD_STEPS
from dnl.runtime.budget import Budget

POOL_SIZE = 2_000  # most posteriors tried before the first exact pricing
POOL_PRODUCTS = 2e8  # most products (posterior entry x joint signal x action) for the pool
POOL_SEED = 0  # the same pool every time: a response depends on the game and the profile only
STEP_NUMBERS = 1e7  # numbers worked out between two looks at the clock
SAME_UTILITY = 1e-9  # normalised: a limit and what is played differ by more, or by rounding
MAX_TIE_CHOICES = 64  # most ways to resolve the ties of one posterior that are tried


class Posteriors:
    """Posteriors and their values, as columns for the master program.

    Args:
        deviation: the sender's program.
        budget: time and memory.

    Attributes:
        support: `(S',)` indices of the states of positive probability.
        prior: `(S',)`.
        problem: the program of a single posterior; its weights are the others' likelihoods.
        points, values: `(B, S')` and `(B,)`; the vertices of the simplex come first.
        candidates: `(1, J, A)` actions that some posterior may lead to; None without time to tell.
        reached_only: whether values count only regions that the tie rule reaches.
    """

    def __init__(self, deviation: Deviation, budget: Budget) -> None:
        self.support = np.flatnonzero(deviation.prior > 0)
        self.prior = deviation.prior[self.support]
        self.budget, self.reached_only = budget, False
        rank = deviation.rank
        self.problem = Deviation(
            weights=deviation.weights[:, self.support] / self.prior,
            value=deviation.value[self.support],
            utility=deviation.utility[self.support],
            own=np.zeros((1, len(self.support))),
            rank=None if rank is None else rank[self.support],
        )
        self._reached: dict[bytes, bool] = {}
        own = deviation.own[:, self.support] * self.prior
        self.points = self._pool(own[own.sum(1) > 0])
        self.values = self.evaluate(self.points)
        low, width = self.box
        self.candidates = self.problem.candidates(low, width, budget)
        if self.candidates is not None:
            others = np.arange(len(self.problem.weights))
            pairs = np.stack([np.zeros_like(others), others], 1)
            self._regions = ActionRegions(
                self.problem, low, width, pairs, self.candidates[0], 1.0, posterior=True
            )

    @property
    def box(self) -> tuple[Array, Array]:
        """Corner and widths `(1, S')` of the box of all posteriors."""
        return np.zeros_like(self.problem.own), np.ones_like(self.problem.own)

    def add(self, points: Array) -> None:
        """Add posteriors `(B, S')`."""
        self.points = np.concatenate([self.points, points])
        self.values = np.concatenate([self.values, self.evaluate(points)])

    def count_only_reached(self) -> None:
        """From now on, count only regions that the game's tie rule reaches."""
        self.reached_only = True
        self.values = self.evaluate(self.points)

    def evaluate(self, points: Array) -> Array:
        """Utility per unit of mass at posteriors `(B, S') -> (B,)`.

        Minus infinity for those whose turn comes after the deadline, except for the vertices.
        """
        values = np.full(len(points), -np.inf)
        n_signals, n_states = self.problem.weights.shape
        entries = n_signals * (n_states + 4 * self.problem.value.shape[1])
        step = min(self.budget.rows(8 * entries), max(1, int(STEP_NUMBERS // entries)))
        for start in range(0, len(points), step):
            if start >= n_states and self.budget.over:
                break
            part = slice(start, start + step)
            values[part] = self.problem.closure(points[part])[0].sum(-1)
            if self.reached_only:
                played = self.problem.played(points[part]).sum(-1)
                for index in np.flatnonzero(values[part] > played + SAME_UTILITY):
                    found = self._best_region(points[start + index])
                    reached = played[index] if found is None else max(found[0], played[index])
                    values[start + index] = reached
        return values

    def is_reached(self, actions: NDArray[np.int64]) -> bool:
        """Whether the receiver may take `actions (1, J)` at some posterior."""
        key = actions.tobytes()
        if key not in self._reached:
            self._reached[key] = self._regions.is_reached(actions, self.budget)
        return self._reached[key]

    def inwards(self, point: Array) -> Array:
        """Posteriors `(B, S')` near `point` inside the best region that touches it."""
        found = None if self.budget.over else self._best_region(point)
        if found is None:
            return point[None]
        near = []
        for reach in INWARD_STEPS:
            low = np.maximum(point - reach, 0.0)[None]
            width = np.minimum(point + reach, 1.0) - low
            inside = self._regions.within(low, width).inside(found[1], self.budget)
            if inside is not None and inside[0] > -np.inf:
                near.append(inside[1][0] / inside[1].sum())
        return np.array(near).reshape(-1, len(point))

    def _pool(self, present: Array) -> Array:
        """Posteriors to start from: vertices, prior, `present` ones `(B, S')`, random ones."""
        generator = np.random.default_rng(POOL_SEED)
        size = len(self.support)
        each = self.problem.weights.size * self.problem.value.shape[1]
        count = int(min(POOL_SIZE, max(POOL_PRODUCTS / each, 1)))
        spread = generator.exponential(size=(count, size))
        spread *= generator.random((count, size)) < generator.random((count, 1))  # random faces
        spread = spread[spread.sum(1) > 0]
        pool = np.concatenate([np.eye(size), self.prior[None], present, spread])
        return pool / pool.sum(1, keepdims=True)

    def _best_region(self, point: Array) -> tuple[float, NDArray[np.int64]] | None:
        """The best region that touches `point` and that the tie rule reaches.

        Returns:
            The utility at the point and the region's actions `(1, J)`; None where none of the first
            `MAX_TIE_CHOICES` is reached.
        """
        utility, open_to = self.problem.open_actions(point)  # (J, A) each
        ranked = np.where(open_to, utility, -np.inf).argsort(1, kind="stable")[:, ::-1]
        sorted_utility = np.take_along_axis(utility, ranked, 1)
        rows = np.arange(len(ranked))
        choices = _best_first(sorted_utility, open_to.sum(1))
        for _, choice in zip(range(MAX_TIE_CHOICES), choices, strict=False):
            actions = ranked[rows, choice][None]
            if self.is_reached(actions):
                return float(sorted_utility[rows, choice].sum()), actions
        return None


def _best_first(values: Array, counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """All choices `(J,)` of one entry per row, in order of falling sums.

    Args:
        values: `(J, A)`, falling in each row.
        counts: `(J,)`, entries of each row to choose from.
    """
    first = (0,) * len(values)
    heap, seen = [(0.0, first)], {first}  # the loss and the choice
    while heap:
        lost, choice = heapq.heappop(heap)
        yield np.array(choice)
        for row in np.flatnonzero(np.array(choice) + 1 < counts).tolist():
            step = (*choice[:row], choice[row] + 1, *choice[row + 1 :])
            if step not in seen:
                seen.add(step)
                less = values[row, choice[row]] - values[row, choice[row] + 1]
                heapq.heappush(heap, (lost + float(less), step))
