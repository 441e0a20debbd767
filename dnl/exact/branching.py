"""Best-first branch and bound on the receiver's actions.

Every relaxation offers columns of its own, and so a value, and tells by how much it overstates each
pair of signals. So incumbents come from every node and the pair that overstates most is split:
between its action with the largest share and all its others.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dnl.exact.hull import Hull, Node, Taken
from dnl.exact.status import Status


@dataclass(frozen=True)
class Outcome:
    """How a search ended: `best <= maximum <= bound`, normalised."""

    best: float
    bound: float
    status: Status
    nodes: int


def maximise(
    hull: Hull,
    gap: float,
    deadline: float,
    improve: Callable[[Hull, Node], float],
    best: float = -np.inf,
    decided: Callable[[float, float], bool] | None = None,
) -> Outcome:
    """Close the gap between the value of the best columns seen and the bound of all.

    Args:
        hull: the relaxation.
        gap: absolute, in normalised utility.
        deadline: of `time.perf_counter`.
        improve: is shown every node and returns the best value known after it (at least the
            node's own).
        best: value known at the start.
        decided: `(best, bound) -> bool`: stop early.

    Returns:
        An `Outcome`; the bound is valid whatever the status.
    """
    root = hull.solve(frozenset(), deadline)
    best = max(best, improve(hull, root))
    if not root.solved:
        late = time.perf_counter() >= deadline
        status = Status.TIME_LIMIT if late else Status.SUSPECT
        return Outcome(best, max(best, root.bound), status, 1)
    if root.bound == -np.inf:
        return Outcome(best, max(best, root.bound), Status.INFEASIBLE, 1)
    heap: list[tuple[float, int, Taken, Node]] = [(-root.bound, 0, frozenset(), root)]
    closed, nodes, suspect = -np.inf, 1, False  # largest bound among the leaves
    while heap:
        bound = max(-heap[0][0], closed, best)
        if -heap[0][0] <= max(best + gap, closed):
            break
        if decided is not None and decided(best, bound):
            return Outcome(best, bound, Status.OPTIMAL, nodes)
        if time.perf_counter() >= deadline:
            return Outcome(best, bound, Status.TIME_LIMIT, nodes)
        negative, _, taken, node = heapq.heappop(heap)
        split = _split(hull, taken, node)
        if split is None:  # every pair is settled: a cell, up to the solver's tolerances
            closed = max(closed, -negative)
            continue
        for out in split:
            child = hull.solve(taken | out, deadline)
            nodes += 1
            # A child is part of its parent, so the parent's bound holds where it is the smaller.
            child_bound = min(child.bound, -negative)
            best = max(best, improve(hull, child))
            if not child.solved:
                closed, suspect = max(closed, child_bound), True
            elif child_bound > -np.inf:
                heapq.heappush(heap, (-child_bound, nodes, taken | out, child))
    open_bound = -heap[0][0] if heap else -np.inf
    bound = max(open_bound, closed, best)
    if suspect and bound > best + gap:
        late = time.perf_counter() >= deadline
        return Outcome(best, bound, Status.TIME_LIMIT if late else Status.SUSPECT, nodes)
    return Outcome(best, bound, Status.OPTIMAL, nodes)


def _split(hull: Hull, taken: Taken, node: Node) -> tuple[Taken, Taken] | None:
    """The two sets of entries to take out, or None where every pair has one entry left."""
    left = np.ones(hull.n_entries, dtype=bool)
    left[list(taken)] = False
    count = np.bincount(hull.entry_pair[left], minlength=hull.n_pairs)
    if not (count > 1).any():
        return None
    pair = int(np.where(count > 1, node.excess, -np.inf).argmax())
    entries = np.flatnonzero(left & (hull.entry_pair == pair))
    chosen = entries[node.shares[entries].argmax()]
    others = frozenset(int(e) for e in entries if e != chosen)
    return others, frozenset([int(chosen)])
