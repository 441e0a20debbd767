"""Better columns, one own signal at a time.

Within a cell the best columns are a linear program, whose dual values price the states' rows. At
these prices each own signal looks for a column worth more than its own (`signals`). The cell of
that column is exchanged for the signal's present one, and the linear program over the new cell
tells what that is worth.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnl.exact.action_regions import ActionRegions
from dnl.exact.lagrangian import OwnSignals
from dnl.exact.linear_program import Array
from dnl.runtime.budget import Budget

TRIALS = 3  # columns tried at each signal before the next one's turn
COUNTS = 0.1  # of what a signal may miss: smaller improvements are not worth a round


def local_search(
    regions: ActionRegions,
    signals: OwnSignals,
    actions: NDArray[np.int64],
    bound: float,
    budget: Budget,
) -> Iterator[Array]:
    """Columns `(M, S)`, each better than the ones before.

    Args:
        regions, signals: over the same box.
        actions: `(M, J)`, the cell to start from.
        bound: of all columns. Each signal may miss its part of what is left to it.
        budget: of the search.
    """
    optimum = regions.best(actions, 0.0, budget)
    if optimum is None:
        return
    value = _value(regions, optimum.columns)
    own, idle = 0, 0
    while idle < len(signals) and not budget.over:
        idle += 1
        missed = max(bound - value, 0.0) / len(signals)
        present = signals.worth(optimum.columns[own], optimum.prices)
        above = present + COUNTS * missed
        for column in signals.price(own, optimum.prices, missed, budget, above).columns[:TRIALS]:
            tried = actions.copy()
            tried[own] = regions.deviation.closure(column)[1]
            better = regions.best(tried, 0.0, budget)
            if better is not None and _value(regions, better.columns) > value + COUNTS * missed:
                actions, optimum, value, idle = tried, better, _value(regions, better.columns), 0
                yield optimum.columns
                break
        own = (own + 1) % len(signals)


def _value(regions: ActionRegions, columns: Array) -> float:
    return float(regions.deviation.closure(columns)[0].sum())
