"""Each own signal alone: what its best column is worth at given prices of the states' rows.

The rows are all that ties the own signals together. Where a unit of each state's row has its price,
every signal has a small program of its own. Together with the prices their bounds bound any policy
(Lagrangian relaxation), often better than the hulls pair by pair.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnl.exact.branch_and_bound import maximise
from dnl.exact.deviation import Deviation
from dnl.exact.hull_relaxation import HullRelaxation, Node
from dnl.exact.linear_program import BOUND_ROUNDING, Array
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

PATIENCE = 15  # relaxations solved for one signal at given prices


@dataclass(frozen=True, eq=False)
class Priced:
    """What one own signal can be worth, its column's price subtracted.

    Attributes:
        columns: `(S,)` each, found on the way, best first.
        bound: of every column, safe.
    """

    columns: list[Array]
    bound: float


class OwnSignals:
    """The programs of the own signals; arguments as in `HullRelaxation`."""

    def __init__(
        self,
        deviation: Deviation,
        low: Array,
        width: Array,
        candidates: NDArray[np.bool_],
        unit: float,
    ) -> None:
        self.deviation = deviation
        each = [slice(m, m + 1) for m in range(len(low))]
        self.hulls = [
            HullRelaxation(deviation, low[m], width[m], candidates[m], total="free", unit=unit)
            for m in each
        ]

    def __len__(self) -> int:
        return len(self.hulls)

    def worth(self, column: Array, prices: Array) -> float:
        """Utility of `column (S,)` less its price."""
        return float(self.deviation.closure(column)[0].sum() - prices @ column)

    def bound(self, prices: Array, gap: float, budget: Budget) -> float:
        """Of the utility of all policies in the box: the prices of the rows and what is above.

        Args:
            prices: `(S,)` per unit of column; any are valid.
            gap: that the bounds of all signals together may leave.
            budget: of the search.
        """
        share = gap / len(self)
        worth = sum(self.price(m, prices, share, budget).bound for m in range(len(self)))
        return float(prices.sum() + BOUND_ROUNDING * np.abs(prices).sum()) + worth

    def price(
        self, own: int, prices: Array, gap: float, budget: Budget, above: float = -np.inf
    ) -> Priced:
        """Look for columns of signal `own` worth more than `above`, for a while.

        Args:
            own: index of the signal.
            prices: `(S,)` per unit of column.
            gap: between the best column, or `above`, and the bound.
            budget: of the search.
            above: a value.
        """
        hull, best, seen = self.hulls[own], above, 0
        found: list[tuple[float, Array]] = []

        def improve(hull: HullRelaxation, node: Node) -> float:
            nonlocal best, seen
            seen += 1
            if node.columns is not None and node.value > above:
                found.append((node.value, node.columns[0]))
                best = max(best, node.value)
            return best

        hull.set_prices(prices)
        outcome = maximise(
            hull, gap, budget, improve, above, decided=lambda best, bound: seen > PATIENCE
        )
        columns = [column for _, column in sorted(found, key=lambda pair: -pair[0])]
        # A column always exists: an infeasible program is a failure of the solver.
        failed = outcome.status is Status.INFEASIBLE
        return Priced(columns, np.inf if failed else outcome.bound)
