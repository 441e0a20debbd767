"""What the searches for a best response share: the best policy so far, the bound, when to stop."""

from collections.abc import Callable

import numpy as np

from dnl.exact.deviation import Deviation
from dnl.exact.linear_program import Array
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

# Fractions of the way to, or distances from, a point inside a region at which witnesses are tried.
INWARD_STEPS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 0.1, 1.0)

Decided = Callable[[float, float], bool]


class ResponseSearch:
    """Base class: the best policy of one sender while the others keep theirs.

    Args:
        deviation: the sender's program.
        gap: between value and bound at which the search ends, normalised.
        budget: time and memory.
        decided: `(attained, bound) -> bool`: whether to stop early.

    Attributes:
        witness: the best policy found, `(S, M)`.
        attained: its utility by the game's tie rule, normalised.
        bound: upper bound of the utility of all policies, normalised.
        status: how the search ended.
    """

    bound: float
    status: Status

    def __init__(
        self, deviation: Deviation, gap: float, budget: Budget, decided: Decided | None
    ) -> None:
        self.deviation, self.gap, self.budget, self.decided = deviation, gap, budget, decided
        self.attained, self.witness = -np.inf, deviation.own.T
        self._attain(deviation.own)

    def _attain(self, columns: Array) -> None:
        """Keep `columns (M, S)` if they are the best so far by the game's tie rule."""
        policy = columns.T / columns.sum(0)[:, None]
        utility = float(self.deviation.played(policy.T).sum())
        if utility > self.attained:
            self.attained, self.witness = utility, policy

    def _is_settled(self) -> bool:
        """Whether the best policy meets the bound, or the caller's question is decided."""
        return self._is_closed(self.attained, self.bound)

    def _is_closed(self, value: float, bound: float) -> bool:
        decided = self.decided is not None and self.decided(value, bound)
        return decided or bound <= value + self.gap
