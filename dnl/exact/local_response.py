"""Best response within a radius, and within any radius if signals are scarcer than states.

The program is the hull relaxation over the box of columns around the policy. If no action can
change in the box, it is the exact linear program; otherwise branch and bound closes it. With many
joint signals good policies are found late, not the bound. So the search also solves the action
region of every node, and improves the best one by local search over own signals.

The first search lets the receiver favour the sender on boundaries of regions. The game's own tie
rule nearly always grants almost as much to columns slightly inside. If not, a second search counts
only regions that the tie rule reaches.
"""

import numpy as np
from numpy.typing import NDArray

from dnl.exact.action_regions import ActionRegions
from dnl.exact.branch_and_bound import Outcome, maximise
from dnl.exact.deviation import MARGINS, Deviation
from dnl.exact.hull_relaxation import HullRelaxation, Node
from dnl.exact.lagrangian import OwnSignals
from dnl.exact.linear_program import Array
from dnl.exact.local_search import local_search
from dnl.exact.response_search import INWARD_STEPS, Decided, ResponseSearch
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

MAX_REGION_STEPS = 3  # times that we move on to the region that an optimum's ties favour
LAGRANGIAN_GAP = 0.3  # share of the root's gap that the own signals' bounds may leave
INNER_REGIONS = 3  # best regions in whose inside witnesses are sought


class LocalResponse(ResponseSearch):
    """Search for the best columns within `radius` of `deviation.own`.

    Args:
        deviation, gap, budget, decided: as in `ResponseSearch`.
        radius: of the box.
        starts: `(M, J)` each, actions whose regions are tried first.
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
        super().__init__(deviation, gap, budget, decided)
        self._found: dict[bytes, tuple[float, NDArray[np.int64], Array]] = {}
        self._keep(deviation.own)
        low, width = deviation.box(radius)
        unit = min(radius, 1.0)
        candidates = deviation.candidates(low, low + width, budget)
        self.bound, self.status = np.inf, Status.TIME_LIMIT
        if candidates is None:
            return
        if misfit := HullRelaxation.misfit(candidates, low.shape[1], budget):
            self.status = misfit
            return
        self.candidates = candidates
        self.hull = HullRelaxation(deviation, low, width, candidates, total="policy", unit=unit)
        pairs = np.stack([self.hull.pair_own, self.hull.pair_other], 1)
        open_to = candidates[self.hull.pair_own, self.hull.pair_other]
        self.regions = ActionRegions(deviation, low, width, pairs, open_to, unit)
        self._signals: OwnSignals | None = None
        self._searched = -np.inf
        self._seen: set[bytes] = set()
        for actions in starts:
            self._follow(actions)
        self._end(
            maximise(self.hull, gap, budget, self._improve, self._best(), decided, self._ceiling)
        )
        self._move_inwards()
        if not self._is_settled() and self.status is Status.OPTIMAL:
            self._end(
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

    def _end(self, outcome: Outcome) -> None:
        """Keep the bound and status with which a search ended."""
        self.bound, self.status = min(self.bound, outcome.bound), outcome.status

    # ------------------------------------------ first search: ties favour the sender

    def _improve(self, hull: HullRelaxation, node: Node) -> float:
        """Learn from a node; return the best value known."""
        if node.columns is not None:
            self._keep(node.columns)
            if hull.n_pairs:
                self._follow(node.actions)
                self._follow(hull.actions_of(node))
                self._improve_signals(node.bound)
        return self._best()

    def _improve_signals(self, bound: float) -> None:
        """Local search from the best region, unless it was done or `bound` is met."""
        value, actions, _ = max(self._found.values(), key=lambda found: found[0])
        if value <= self._searched or self._is_closed(self._best(), bound):
            return
        signals = self._own_signals()
        for columns in local_search(self.regions, signals, actions, bound, self.budget):
            self._keep(columns)
            if self._is_closed(self._best(), bound):
                break
        self._searched = self._best()

    def _ceiling(self, root: Node, best: float) -> float:
        """Lagrangian bound from the own signals, at the prices of the root relaxation."""
        if self._is_closed(best, root.bound) or self.budget.over:
            return root.bound
        gap = LAGRANGIAN_GAP * (root.bound - best)
        return self._own_signals().bound(self.hull.row_prices(root), gap, self.budget)

    def _own_signals(self) -> OwnSignals:
        if self._signals is None:  # often not needed
            hull = self.hull
            self._signals = OwnSignals(
                self.deviation, hull.low, hull.width, self.candidates, hull.unit
            )
        return self._signals

    def _follow(self, actions: NDArray[np.int64]) -> None:
        """Solve the region of `actions (M, J)`, then those that its optimum's ties favour."""
        for _ in range(MAX_REGION_STEPS):
            key = actions.tobytes()
            if key in self._seen or self.budget.over:
                return
            self._seen.add(key)
            optimum = self.regions.best(actions, 0.0, self.budget)
            if optimum is None:
                return
            actions = self._keep(optimum.columns)

    def _keep(self, columns: Array) -> NDArray[np.int64]:
        """Remember columns `(M, S)`; return the actions that the sender favours at their ties."""
        self._attain(columns)
        utilities, actions = self.deviation.closure(columns)
        key, value = actions.tobytes(), float(utilities.sum())
        if key not in self._found or value > self._found[key][0]:
            self._found[key] = value, actions, columns
        return actions

    def _best(self) -> float:
        """The best value found if ties favour the sender."""
        return max(value for value, _, _ in self._found.values())

    # ------------------------------------------ second search: the game's own tie rule

    def _move_inwards(self) -> None:
        """Look for columns inside the best regions, where no tie rule is needed."""
        ranked = sorted(self._found.values(), key=lambda found: -found[0])
        for value, actions, columns in ranked[:INNER_REGIONS]:
            if value <= self.attained + 0.1 * self.gap or self.budget.over:
                return
            self._try_inside(actions, columns)

    def _try_inside(self, actions: NDArray[np.int64], columns: Array) -> None:
        """Try columns inside the region of `actions`: with margins, and inwards from `columns`."""
        free = columns.sum(1) <= 0
        for margin in MARGINS:
            optimum = self.regions.best(actions, margin, self.budget, free)
            if optimum is not None:
                self._attain(optimum.columns)
        inside = self.regions.inside(actions, self.budget)
        if inside is not None and inside[0] > 0:
            for share in INWARD_STEPS:
                self._attain(columns + share * (inside[1] - columns))

    def _improve_attained(self, hull: HullRelaxation, node: Node) -> float:
        """Learn from a node; return the best value by the game's tie rule."""
        if node.columns is None:
            return self.attained
        self._attain(node.columns)
        for actions in (node.actions, hull.actions_of(node)) if hull.n_pairs else ():
            key = b"inside" + actions.tobytes()
            if key not in self._seen:
                self._seen.add(key)
                optimum = self.regions.best(actions, 0.0, self.budget)
                if optimum is not None:
                    self._try_inside(actions, optimum.columns)
        return self.attained
