"""Best response within a radius, and for any radius where signals are scarcer than states.

The program is the hull relaxation over the box of columns around the policy; where nothing can flip
it is the linear program itself, else branch and bound closes it. Every node's actions are tried as
a cell of their own, and from the best cell own signals exchange their columns, which is what makes
incumbents good: where many joint signals can flip, they come late otherwise, not the bound.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dnl.exact.branching import Outcome, maximise
from dnl.exact.cell import Cells
from dnl.exact.exchange import exchange
from dnl.exact.hull import Hull, Node
from dnl.exact.linear import Array
from dnl.exact.problem import MARGINS, Deviation
from dnl.exact.signals import Signals

POLISHES = 3  # times that a cell's optimum is looked at again: its closure may favour another cell
EXACT = 0.3  # of the gap, that the own signals' bounds may leave


class LocalResponse:
    """Search for the best columns within `radius` of `deviation.own`.

    Attributes:
        witnesses: policies `(S, M)` to try in the simulator, the most promising first.
        outcome: bounds in normalised utility.
    """

    def __init__(
        self,
        deviation: Deviation,
        radius: float,
        gap: float,
        deadline: float,
        decided: Callable[[float, float], bool] | None = None,
        starts: tuple[NDArray[np.int64], ...] = (),
    ) -> None:
        self.deviation, self.gap, self.deadline, self.decided = deviation, gap, deadline, decided
        low, width = deviation.box(radius)
        unit = min(radius, 1.0)
        self.hull = Hull(deviation, low, width, total="policy", unit=unit)
        pairs = np.stack([self.hull.pair_own, self.hull.pair_other], 1)
        candidates = np.zeros((self.hull.n_pairs, deviation.value.shape[1]), dtype=bool)
        candidates[self.hull.entry_pair, self.hull.entry_action] = True
        self.cells = Cells(deviation, low, width, pairs, candidates, unit)
        self._signals: Signals | None = None
        self._exchanged = -np.inf
        self._seen: set[bytes] = set()
        self._found: dict[bytes, tuple[float, NDArray[np.int64], Array]] = {}
        self._keep(deviation.own)
        for actions in starts:
            self._polish(actions)
        self.outcome: Outcome = maximise(
            self.hull, gap, deadline, self._improve, self._best(), decided, self._ceiling
        )
        self.witnesses = self._witnesses()

    def _improve(self, hull: Hull, node: Node) -> float:
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
        for columns in exchange(self.cells, signals, actions, bound, self.deadline):
            self._keep(columns)
            if self._closed(bound):
                break
        self._exchanged = self._best()

    def _ceiling(self, root: Node, best: float) -> float:
        """The bound of the own signals alone at the prices of the root."""
        if self._closed(root.bound):
            return root.bound
        left = EXACT * (root.bound - best)
        return self._own_signals().bound(self.hull.row_prices(root), left, self.deadline)

    def _own_signals(self) -> Signals:
        if self._signals is None:  # often not needed
            hull = self.hull
            self._signals = Signals(self.deviation, hull.low, hull.width, hull.unit)
        return self._signals

    def _closed(self, bound: float) -> bool:
        best = self._best()
        return bound <= best + self.gap or (self.decided is not None and self.decided(best, bound))

    def _polish(self, actions: NDArray[np.int64]) -> None:
        for _ in range(POLISHES):
            key = actions.tobytes()
            if key in self._seen:
                return
            self._seen.add(key)
            optimum = self.cells.best(actions, self.deviation.margin)
            if optimum is None:
                return
            actions = self._keep(optimum.columns)

    def _keep(self, columns: Array) -> NDArray[np.int64]:
        utilities, actions = self.deviation.closure(columns)
        key, value = actions.tobytes(), float(utilities.sum())
        if key not in self._found or value > self._found[key][0]:
            self._found[key] = value, actions, columns
        return actions

    def _best(self) -> float:
        return max(value for value, _, _ in self._found.values())

    def _witnesses(self) -> list[Array]:
        ranked = sorted(self._found.values(), key=lambda found: -found[0])
        policies = []
        for _, actions, columns in ranked[:3]:
            # Ties within the tolerance go the game's way: try inside the cell, then on its edge.
            free = columns.sum(1) <= 0
            tried = [self.cells.best(actions, margin, free) for margin in MARGINS]
            policies += [
                *(optimum.columns.T for optimum in tried if optimum is not None),
                columns.T,
            ]
        return [policy / policy.sum(1, keepdims=True) for policy in policies]
