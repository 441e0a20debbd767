"""Lagrangian relaxation: each own signal alone, at prices of the rows that tie them together.

A policy's columns add up to 1 in every state; only these rows tie the own signals together. If
each state's row has a price, every signal has a small program of its own. The prices plus the
signals' bounds bound every policy, often better than the hulls of single pairs do.
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

MAX_RELAXATIONS = 15  # solved for one signal at given prices


@dataclass(frozen=True, eq=False)
class Priced:
    """Columns of one own signal, valued by their utility less their price.

    Attributes:
        columns: `(S,)` each, those found, best first.
        bound: safe upper bound of every column's value.
    """

    columns: list[Array]
    bound: float


class OwnSignals:
    """One program per own signal; arguments as in `HullRelaxation`."""

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
        """Lagrangian bound of the utility of all policies in the box.

        Args:
            prices: `(S,)` per unit of column; the bound is valid for any.
            gap: that all signals' searches together may leave.
            budget: time and memory.
        """
        share = gap / len(self)
        worth = sum(self.price(m, prices, share, budget).bound for m in range(len(self)))
        return float(prices.sum() + BOUND_ROUNDING * np.abs(prices).sum()) + worth

    def price(
        self, own: int, prices: Array, gap: float, budget: Budget, above: float = -np.inf
    ) -> Priced:
        """Search for columns of signal `own` worth more than `above`.

        Args:
            own: index of the signal.
            prices: `(S,)` per unit of column.
            gap: between the best column, or `above`, and the bound at which the search ends.
            budget: time and memory.
            above: a value.
        """
        hull, best, solved = self.hulls[own], above, 0
        found: list[tuple[float, Array]] = []

        def improve(hull: HullRelaxation, node: Node) -> float:
            nonlocal best, solved
            solved += 1
            if node.columns is not None and node.value > above:
                found.append((node.value, node.columns[0]))
                best = max(best, node.value)
            return best

        hull.set_prices(prices)
        outcome = maximise(
            hull, gap, budget, improve, above, decided=lambda best, bound: solved > MAX_RELAXATIONS
        )
        columns = [column for _, column in sorted(found, key=lambda pair: -pair[0])]
        # A column always exists: an infeasible program is a failure of the solver.
        failed = outcome.status is Status.INFEASIBLE
        return Priced(columns, np.inf if failed else outcome.bound)
