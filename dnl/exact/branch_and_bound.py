"""Best-first branch and bound over the receiver's actions.

A node is a hull relaxation with some actions taken out. It gives a bound, columns that may improve
the best value, and for each pair of signals by how much it overstates the pair's utility (its
excess). We split a pair between the action with the largest share and all its others. We choose
the pair that promises the largest drop of the bound, judging by earlier splits (pseudo-costs;
Achterberg, Koch and Martin, "Branching rules revisited", 2005).
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnl.exact.hull_relaxation import HullRelaxation, Node, Taken
from dnl.exact.linear_program import Array
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

AVERAGE_WEIGHT = 2.0  # splits of a pair that weigh as much as the average over all pairs
MIN_DROP = 1e-6  # expected drop of the bound per unit of excess, so a pair without excess is last


@dataclass(frozen=True)
class Outcome:
    """How a search ended: `best <= maximum <= bound`, normalised."""

    best: float
    bound: float
    status: Status


def maximise(
    hull: HullRelaxation,
    gap: float,
    budget: Budget,
    improve: Callable[[HullRelaxation, Node], float],
    best: float = -np.inf,
    decided: Callable[[float, float], bool] | None = None,
    ceiling: Callable[[Node, float], float] | None = None,
    reached: Callable[[NDArray[np.int64]], bool] | None = None,
) -> Outcome:
    """Close the gap between the best value found and the bound of all columns.

    Args:
        hull: the relaxation.
        gap: absolute, in normalised utility.
        budget: time and memory.
        improve: called with every node; returns the best value known after it, at least the node's.
        best: value known at the start.
        decided: `(best, bound) -> bool`: whether to stop early.
        ceiling: another bound of all columns, from the root and the best value known.
        reached: whether the receiver may take `actions (M, J)` at all; asked once all pairs are
            settled. None counts every region together with its boundary.

    Returns:
        An `Outcome`; the bound is valid whatever the status.
    """
    root = hull.solve(frozenset(), budget)
    best = max(best, improve(hull, root))
    if not root.solved:
        return Outcome(best, max(best, root.bound), _unsolved(budget))
    if root.bound == -np.inf:
        return Outcome(best, max(best, root.bound), Status.INFEASIBLE)
    highest = np.inf if ceiling is None else ceiling(root, best)
    drops = _Drops(hull.n_pairs)
    heap: list[tuple[float, int, Taken, Node]] = [(-root.bound, 0, frozenset(), root)]
    n_nodes = 1
    closed, suspect = -np.inf, False  # largest bound of the leaves; whether one was not solved
    while heap:
        bound = max(min(max(-heap[0][0], closed), highest), best)
        if min(-heap[0][0], highest) <= max(best + gap, closed):
            break
        if decided is not None and decided(best, bound):
            return Outcome(best, bound, Status.OPTIMAL)
        if budget.over:
            return Outcome(best, bound, Status.TIME_LIMIT)
        negative, _, taken, node = heapq.heappop(heap)
        pair = _next_pair(hull, taken, drops.expected(node.excess))
        if pair is None:  # every pair is settled: exact, up to the solver's tolerances
            if reached is None or reached(hull.settled(taken)):
                closed = max(closed, -negative)
            continue
        closing = -negative - best  # a larger drop brings no more than this one
        for side, out in enumerate(_split(hull, taken, node, pair)):
            child = hull.solve(taken | out, budget)
            n_nodes += 1
            # A child is part of its parent, so it inherits a smaller bound of the parent.
            child_bound = min(child.bound, -negative)
            drops.learn(pair, side, node.excess[pair], min(-negative - child_bound, closing))
            best = max(best, improve(hull, child))
            if not child.solved:
                closed, suspect = max(closed, child_bound), True
            elif child_bound > -np.inf:
                heapq.heappush(heap, (-child_bound, n_nodes, taken | out, child))
    open_bound = -heap[0][0] if heap else -np.inf
    bound = max(min(max(open_bound, closed), highest), best)
    status = _unsolved(budget) if suspect and bound > best + gap else Status.OPTIMAL
    return Outcome(best, bound, status)


def _unsolved(budget: Budget) -> Status:
    """The status after a relaxation that was not solved."""
    return Status.TIME_LIMIT if budget.over else Status.SUSPECT


class _Drops:
    """Pseudo-costs: drop of the bound per unit of a pair's excess, for both sides of a split."""

    def __init__(self, n_pairs: int) -> None:
        self.total, self.count = np.zeros((2, n_pairs)), np.zeros((2, n_pairs))

    def learn(self, pair: int, side: int, excess: float, drop: float) -> None:
        if excess > 0 and np.isfinite(drop):
            self.total[side, pair] += drop / excess
            self.count[side, pair] += 1

    def expected(self, excess: Array) -> Array:
        """Drops `(P,)` from excesses `(P,)`: the geometric mean of both sides."""
        known = self.count.sum(1, keepdims=True)
        usual = np.where(known > 0, self.total.sum(1, keepdims=True) / np.maximum(known, 1), 1.0)
        rate = (self.total + AVERAGE_WEIGHT * usual) / (self.count + AVERAGE_WEIGHT)
        return excess * np.sqrt(np.maximum(rate, MIN_DROP).prod(0))


def _next_pair(hull: HullRelaxation, taken: Taken, promise: Array) -> int | None:
    """The open pair of the largest promise `(P,)`; None if all pairs have one entry left."""
    count = np.bincount(hull.entry_pair[_left(hull, taken)], minlength=hull.n_pairs)
    if not (count > 1).any():
        return None
    return int(np.where(count > 1, promise, -np.inf).argmax())


def _split(hull: HullRelaxation, taken: Taken, node: Node, pair: int) -> tuple[Taken, Taken]:
    """The entries of `pair` to take out on either side of its split."""
    entries = np.flatnonzero(_left(hull, taken) & (hull.entry_pair == pair))
    chosen = entries[node.shares[entries].argmax()]
    others = frozenset(int(e) for e in entries if e != chosen)
    return others, frozenset([int(chosen)])


def _left(hull: HullRelaxation, taken: Taken) -> NDArray[np.bool_]:
    """`(E,)`: entries that are not taken out."""
    left = np.ones(hull.n_entries, dtype=bool)
    left[list(taken)] = False
    return left
