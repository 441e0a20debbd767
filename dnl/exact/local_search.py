"""Local search: improve a policy's columns, one own signal at a time.

In an action region the best columns solve a linear program, whose dual values price the states'
rows. At these prices we look for a better column for one own signal (`lagrangian`). Its actions
replace the signal's present ones, and the linear program over the new region gives the value.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnl.exact.action_regions import ActionRegions
from dnl.exact.lagrangian import OwnSignals
from dnl.exact.linear_program import Array
from dnl.runtime.budget import Budget

MAX_COLUMNS = 3  # tried for one signal before it is the next one's turn
MIN_IMPROVEMENT = 0.1  # as a share of a signal's part of the gap; less is not worth a round


def local_search(
    regions: ActionRegions,
    signals: OwnSignals,
    actions: NDArray[np.int64],
    bound: float,
    budget: Budget,
) -> Iterator[Array]:
    """Yield columns `(M, S)`, each better than the ones before.

    Args:
        regions, signals: over the same box.
        actions: `(M, J)`, the region to start from.
        bound: upper bound of all columns. The gap to it is shared equally by the signals.
        budget: time and memory.
    """
    optimum = regions.best(actions, 0.0, budget)
    if optimum is None:
        return
    value = _value(regions, optimum.columns)
    own, idle = 0, 0
    while idle < len(signals) and not budget.over:
        idle += 1
        share = max(bound - value, 0.0) / len(signals)
        least = MIN_IMPROVEMENT * share
        present = signals.worth(optimum.columns[own], optimum.prices)
        priced = signals.price(own, optimum.prices, share, budget, above=present + least)
        for column in priced.columns[:MAX_COLUMNS]:
            tried = actions.copy()
            tried[own] = regions.deviation.closure(column)[1]
            better = regions.best(tried, 0.0, budget)
            if better is not None and _value(regions, better.columns) > value + least:
                actions, optimum, value, idle = tried, better, _value(regions, better.columns), 0
                yield optimum.columns
                break
        own = (own + 1) % len(signals)


def _value(regions: ActionRegions, columns: Array) -> float:
    return float(regions.deviation.closure(columns)[0].sum())
