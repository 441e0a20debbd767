"""Better columns, one own signal at a time.

Within a cell the best columns are a linear program; its prices of the states' rows are all that
ties the own signals together. At these prices each of them alone looks for a column worth more than
its own: a small program, as few pairs are its own. The cell of that column is exchanged for the
signal's present one, and the linear program over the new cell tells what that is worth.

Good incumbents early spare the branch and bound most of its nodes; it need not be complete.
"""

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnl.exact.branching import maximise
from dnl.exact.cell import Cells, Optimum
from dnl.exact.hull import Hull, Node
from dnl.exact.linear import Array

TRIALS = 3  # columns tried at each signal before the next one's turn
PATIENCE = 15  # relaxations solved in search of a signal's columns
COUNTS = 0.1  # of what the search at a signal may miss: smaller improvements are not worth a round


class Exchange:
    """Walks from cell to cell of `cells`."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.hulls = [
            Hull(cells.deviation, low[None], width[None], total="free", unit=cells.unit)
            for low, width in zip(cells.low, cells.width, strict=True)
        ]

    def improve(self, actions: NDArray[np.int64], bound: float, deadline: float) -> Iterator[Array]:
        """Columns `(M, S)`, each better than the ones before.

        Args:
            actions: `(M, J)`, the cell to start from.
            bound: of all columns. Each signal may miss its part of what is left to it.
            deadline: of `time.perf_counter`.
        """
        optimum = self.cells.best(actions, 0.0)
        if optimum is None:
            return
        value = self._value(optimum.columns)
        own, idle = 0, 0
        while idle < len(self.hulls) and time.perf_counter() < deadline:
            idle += 1
            missed = max(bound - value, 0.0) / len(self.hulls)
            for column in self._columns(own, optimum, missed, deadline)[:TRIALS]:
                tried = actions.copy()
                tried[own] = self.cells.deviation.closure(column)[1]
                better = self.cells.best(tried, 0.0)
                if better is not None and self._value(better.columns) > value + COUNTS * missed:
                    actions, optimum, value, idle = tried, better, self._value(better.columns), 0
                    yield optimum.columns
                    break
            own = (own + 1) % len(self.hulls)

    def _columns(self, own: int, optimum: Optimum, missed: float, deadline: float) -> list[Array]:
        """Columns of one signal worth more than its present one at the prices, best first."""
        hull, prices = self.hulls[own], optimum.prices
        present = self._value(optimum.columns[own]) - float(prices @ optimum.columns[own])
        found: list[tuple[float, Array]] = []
        seen = 0

        def improve(hull: Hull, node: Node) -> float:
            nonlocal seen
            seen += 1
            if node.columns is not None and node.value > present + COUNTS * missed:
                found.append((node.value, node.columns[0]))
            return max([present, *(value for value, _ in found)])

        hull.set_prices(prices)
        maximise(hull, missed, deadline, improve, decided=lambda best, bound: seen > PATIENCE)
        return [column for _, column in sorted(found, key=lambda pair: -pair[0])]

    def _value(self, columns: Array) -> float:
        return float(self.cells.deviation.closure(columns)[0].sum())
