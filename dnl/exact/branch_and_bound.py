"""Best-first branch and bound on the receiver's actions.

Every relaxation offers columns of its own, and so a value, and tells by how much it overstates each
pair of signals. So incumbents come from every node, and a pair is split between its action with the
largest share and all its others: the pair whose overstatement promises the largest drop of the
bound, going by what earlier splits brought (pseudo-costs; Achterberg, Koch and Martin, "Branching
rules revisited", 2005).
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

FAITH = 2.0  # splits of a pair after which its own record counts as much as all pairs'
LEAST = 1e-6  # drop expected per excess, so that a pair without excess never comes first


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
    """Close the gap between the value of the best columns seen and the bound of all.

    Args:
        hull: the relaxation.
        gap: absolute, in normalised utility.
        budget: of the search.
        improve: is shown every node and returns the best value known after it (at least the
            node's own).
        best: value known at the start.
        decided: `(best, bound) -> bool`: stop early.
        ceiling: another bound of all, from the root and the best value known.
        reached: whether the receiver may take `actions (M, J)` at all, asked where every pair of
            signals is settled; None where closed cells count, that ties are on the boundary of.

    Returns:
        An `Outcome`; the bound is valid whatever the status.
    """
    root = hull.solve(frozenset(), budget)
    best = max(best, improve(hull, root))
    if not root.solved:
        late = budget.over
        status = Status.TIME_LIMIT if late else Status.SUSPECT
        return Outcome(best, max(best, root.bound), status)
    if root.bound == -np.inf:
        return Outcome(best, max(best, root.bound), Status.INFEASIBLE)
    highest = np.inf if ceiling is None else ceiling(root, best)
    drops = _Drops(hull.n_pairs)
    heap: list[tuple[float, int, Taken, Node]] = [(-root.bound, 0, frozenset(), root)]
    closed, nodes, suspect = -np.inf, 1, False  # largest bound among the leaves
    while heap:
        bound = max(min(max(-heap[0][0], closed), highest), best)
        if min(-heap[0][0], highest) <= max(best + gap, closed):
            break
        if decided is not None and decided(best, bound):
            return Outcome(best, bound, Status.OPTIMAL)
        if budget.over:
            return Outcome(best, bound, Status.TIME_LIMIT)
        negative, _, taken, node = heapq.heappop(heap)
        pair = _pair(hull, taken, drops.expected(node.excess))
        if pair is None:  # every pair is settled: a cell, up to the solver's tolerances
            if reached is None or reached(hull.settled(taken)):
                closed = max(closed, -negative)
            continue
        closing = -negative - best  # a larger drop brings no more than this one
        for side, out in enumerate(_split(hull, taken, node, pair)):
            child = hull.solve(taken | out, budget)
            nodes += 1
            # A child is part of its parent, so the parent's bound holds where it is the smaller.
            child_bound = min(child.bound, -negative)
            drops.learn(pair, side, node.excess[pair], min(-negative - child_bound, closing))
            best = max(best, improve(hull, child))
            if not child.solved:
                closed, suspect = max(closed, child_bound), True
            elif child_bound > -np.inf:
                heapq.heappush(heap, (-child_bound, nodes, taken | out, child))
    open_bound = -heap[0][0] if heap else -np.inf
    bound = max(min(max(open_bound, closed), highest), best)
    if suspect and bound > best + gap:
        late = budget.over
        return Outcome(best, bound, Status.TIME_LIMIT if late else Status.SUSPECT)
    return Outcome(best, bound, Status.OPTIMAL)


class _Drops:
    """What splits bring: drop of the bound per unit of the pair's excess, on both sides."""

    def __init__(self, n_pairs: int) -> None:
        self.total, self.count = np.zeros((2, n_pairs)), np.zeros((2, n_pairs))

    def learn(self, pair: int, side: int, excess: float, drop: float) -> None:
        if excess > 0 and np.isfinite(drop):
            self.total[side, pair] += drop / excess
            self.count[side, pair] += 1

    def expected(self, excess: Array) -> Array:
        """`(P,)`, from the excess of each: the geometric mean of both sides."""
        known = self.count.sum(1, keepdims=True)
        usual = np.where(known > 0, self.total.sum(1, keepdims=True) / np.maximum(known, 1), 1.0)
        rate = (self.total + FAITH * usual) / (self.count + FAITH)
        return excess * np.sqrt(np.maximum(rate, LEAST).prod(0))


def _pair(hull: HullRelaxation, taken: Taken, promise: Array) -> int | None:
    """The pair of the largest promise, or None where every pair has one entry left."""
    count = np.bincount(hull.entry_pair[_left(hull, taken)], minlength=hull.n_pairs)
    if not (count > 1).any():
        return None
    return int(np.where(count > 1, promise, -np.inf).argmax())


def _split(hull: HullRelaxation, taken: Taken, node: Node, pair: int) -> tuple[Taken, Taken]:
    """The two sets of entries of `pair` to take out."""
    entries = np.flatnonzero(_left(hull, taken) & (hull.entry_pair == pair))
    chosen = entries[node.shares[entries].argmax()]
    others = frozenset(int(e) for e in entries if e != chosen)
    return others, frozenset([int(chosen)])


def _left(hull: HullRelaxation, taken: Taken) -> NDArray[np.bool_]:
    left = np.ones(hull.n_entries, dtype=bool)
    left[list(taken)] = False
    return left
