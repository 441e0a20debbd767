"""Best response within a radius, and for any radius where signals are scarcer than states.

The program is the hull relaxation over the box of columns around the policy; where nothing can flip
it is the linear program itself, else branch and bound closes it. Every node's actions are tried as
a cell of their own, and from the best cell own signals exchange their columns, which is what makes
incumbents good: where many joint signals can flip, they come late otherwise, not the bound.

A first search lets the receiver favour the sender on the boundaries of cells. What the game's own
receiver grants comes close to that nearly always: columns a little inside of the cell. Where it
does not, a second search counts only cells that the receiver's rule reaches.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dnl.exact.action_regions import ActionRegions
from dnl.exact.branch_and_bound import Outcome, maximise
from dnl.exact.deviation import MARGINS, Deviation
from dnl.exact.hull_relaxation import HullRelaxation, Node
from dnl.exact.lagrangian import OwnSignals
from dnl.exact.linear_program import Array
from dnl.exact.local_search import local_search
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

POLISHES = 3  # times that a cell's optimum is looked at again: its closure may favour another cell
EXACT = 0.3  # of the gap, that the own signals' bounds may leave
# Parts of the way to the inside of a cell that witnesses go.
INWARDS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 0.1, 1.0)

Decided = Callable[[float, float], bool]


class LocalResponse:
    """Search for the best columns within `radius` of `deviation.own`.

    Args:
        deviation: the sender's program.
        radius: of the box.
        gap: between value and bound where the search ends, normalised.
        budget: time and memory.
        decided: `(attained, bound) -> bool`: stop early.
        starts: `(M, J)` each, actions whose cells are tried first.

    Attributes:
        witness: the best policy found `(S, M)`, as the game plays.
        attained: what it is worth as the game plays, normalised.
        bound: of all policies in the box, normalised.
        status: how the search ended.
    """

    def __init__(
        self,
        deviation: Deviation,
        radius: float,
        gap: float,
        budget: Budget,
        decided: Decided | None = None,
        starts: tuple[NDArray[np.int64], ...] = (),
    ) -> None:
        self.deviation, self.gap, self.budget, self.decided = deviation, gap, budget, decided
        self.attained, self.witness = -np.inf, deviation.own.T
        self._found: dict[bytes, tuple[float, NDArray[np.int64], Array]] = {}
        self._keep(deviation.own)
        low, width = deviation.box(radius)
        unit = min(radius, 1.0)
        candidates = deviation.candidates(low, low + width, budget)
        self.bound, self.status = np.inf, Status.TIME_LIMIT
        if candidates is None or not HullRelaxation.fits(candidates, low.shape[1], budget):
            return
        self.candidates = candidates
        self.hull = HullRelaxation(deviation, low, width, candidates, total="policy", unit=unit)
        pairs = np.stack([self.hull.pair_own, self.hull.pair_other], 1)
        open_to = candidates[self.hull.pair_own, self.hull.pair_other]
        self.regions = ActionRegions(deviation, low, width, pairs, open_to, unit)
        self._signals: OwnSignals | None = None
        self._exchanged = -np.inf
        self._seen: set[bytes] = set()
        for actions in starts:
            self._polish(actions)
        self._take(
            maximise(self.hull, gap, budget, self._improve, self._best(), decided, self._ceiling)
        )
        self._move_inwards()
        if not self._is_settled() and self.status is Status.OPTIMAL:
            self._take(
                maximise(
                    self.hull,
                    gap,
                    budget,
                    self._improve_attained,
                    self.attained,
                    decided,
                    reached=lambda actions: self.regions.is_reached(actions, budget),
                )
            )

    def _take(self, outcome: Outcome) -> None:
        self.bound, self.status = min(self.bound, outcome.bound), outcome.status

    def _is_settled(self) -> bool:
        """Whether what is attained meets the bound, or decides what was asked."""
        if self.decided is not None and self.decided(self.attained, self.bound):
            return True
        return self.bound <= self.attained + self.gap

    # ------------------------------------------------------- boundaries in the sender's favour

    def _improve(self, hull: HullRelaxation, node: Node) -> float:
        if node.columns is not None:
            self._keep(node.columns)
            if hull.n_pairs:
                self._polish(node.actions)
                self._polish(hull.actions_of(node))
                self._walk(node.bound)
        return self._best()

    def _walk(self, bound: float) -> None:
        """Exchange columns from the best cell on, unless that was done or `bound` is met."""
        value, actions, _ = max(self._found.values(), key=lambda found: found[0])
        if value <= self._exchanged or self._closed(bound):
            return
        signals = self._own_signals()
        for columns in local_search(self.regions, signals, actions, bound, self.budget):
            self._keep(columns)
            if self._closed(bound):
                break
        self._exchanged = self._best()

    def _ceiling(self, root: Node, best: float) -> float:
        """The bound of the own signals alone at the prices of the root."""
        if self._closed(root.bound) or self.budget.over:
            return root.bound
        left = EXACT * (root.bound - best)
        return self._own_signals().bound(self.hull.row_prices(root), left, self.budget)

    def _own_signals(self) -> OwnSignals:
        if self._signals is None:  # often not needed
            hull = self.hull
            self._signals = OwnSignals(
                self.deviation, hull.low, hull.width, self.candidates, hull.unit
            )
        return self._signals

    def _closed(self, bound: float) -> bool:
        best = self._best()
        return bound <= best + self.gap or (self.decided is not None and self.decided(best, bound))

    def _polish(self, actions: NDArray[np.int64]) -> None:
        for _ in range(POLISHES):
            key = actions.tobytes()
            if key in self._seen or self.budget.over:
                return
            self._seen.add(key)
            optimum = self.regions.best(actions, 0.0, self.budget)
            if optimum is None:
                return
            actions = self._keep(optimum.columns)

    def _keep(self, columns: Array) -> NDArray[np.int64]:
        self._attain(columns)
        utilities, actions = self.deviation.closure(columns)
        key, value = actions.tobytes(), float(utilities.sum())
        if key not in self._found or value > self._found[key][0]:
            self._found[key] = value, actions, columns
        return actions

    def _best(self) -> float:
        return max(value for value, _, _ in self._found.values())

    # ------------------------------------------------------------------- as the game plays

    def _attain(self, columns: Array) -> None:
        """Remember `columns (M, S)` if the game's receiver makes them the best so far."""
        policy = columns.T / columns.sum(0)[:, None]
        worth = float(self.deviation.played(policy.T).sum())
        if worth > self.attained:
            self.attained, self.witness = worth, policy

    def _move_inwards(self) -> None:
        """Look for columns inside the best cells, where the receiver's rule decides nothing."""
        ranked = sorted(self._found.values(), key=lambda found: -found[0])
        for value, actions, columns in ranked[:3]:
            if value <= self.attained + 0.1 * self.gap or self.budget.over:
                return
            self._enter(actions, columns)

    def _enter(self, actions: NDArray[np.int64], columns: Array) -> None:
        free = columns.sum(1) <= 0
        for margin in MARGINS:
            optimum = self.regions.best(actions, margin, self.budget, free)
            if optimum is not None:
                self._attain(optimum.columns)
        inside = self.regions.inside(actions, self.budget)
        if inside is not None and inside[0] > 0:
            for share in INWARDS:
                self._attain(columns + share * (inside[1] - columns))

    def _improve_attained(self, hull: HullRelaxation, node: Node) -> float:
        if node.columns is not None:
            self._attain(node.columns)
        if node.columns is not None and hull.n_pairs:
            for actions in (node.actions, hull.actions_of(node)):
                if (key := b"entered" + actions.tobytes()) not in self._seen:
                    self._seen.add(key)
                    optimum = self.regions.best(actions, 0.0, self.budget)
                    if optimum is not None:
                        self._enter(actions, optimum.columns)
        return self.attained
