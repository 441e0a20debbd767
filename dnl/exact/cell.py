"""The best columns of one cell: those at which the receiver takes given actions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnl.exact.linear import Array, LinearProgram
from dnl.exact.problem import Deviation
from dnl.exact.sparse import csr_matrix, vstack


@dataclass(frozen=True, eq=False)
class Optimum:
    """Of one cell.

    Attributes:
        columns: `(M, S)`.
        prices: `(S,)`: what a little more of each state's row would be worth, normalised; the
            linear program's dual values.
    """

    columns: Array
    prices: Array


class Cells:
    """Linear programs over the cells of a box of columns whose rows sum to 1.

    Args:
        deviation: the sender's program.
        low, width: `(M, S)`, corners and sizes of the boxes.
        pairs: `(P, 2)` own signal and others' joint signal of the pairs whose action is open; the
            action of every other pair is the same in all of the box.
        candidates: `(P, A)` which actions are open there.
        unit: as in `Hull`.
    """

    def __init__(
        self,
        deviation: Deviation,
        low: Array,
        width: Array,
        pairs: NDArray[np.int64],
        candidates: NDArray[np.bool_],
        unit: float,
    ) -> None:
        self.deviation, self.low, self.width, self.unit = deviation, low, width, unit
        self.pairs, self.candidates = pairs, candidates
        size = width.max(0)
        left = np.where(size > 0, 1 - low.sum(0), 0.0)
        size = np.where(size > 0, size, 1.0)
        n_own, n_states = low.shape
        columns = np.arange(n_own * n_states)
        self._sums = csr_matrix(
            ((width / size).ravel(), (columns % n_states, columns)), shape=(n_states, len(columns))
        )
        self._left = left / size
        self._per_price = unit / size

    def best(
        self, actions: NDArray[np.int64], margin: float, free: NDArray[np.bool_] | None = None
    ) -> Optimum | None:
        """The best columns at which the receiver takes `actions (M, J)`, or None where there are
        none.

        Args:
            actions: wanted of the receiver.
            margin: by which it must prefer them, in units of its utility range and the mass, but
                where a tie will do.
            free: `(M,)` own signals on which it may do anything; they count for nothing, so they
                take up no more than the others' margins leave over.
        """
        problem = self.deviation
        own, other = self.pairs.T
        wanted = actions[own, other]  # (P,)
        rival = self.candidates.copy()
        rival[np.arange(len(own)), wanted] = False
        value = problem.value.T
        # Actions alike to the receiver in every state cannot be told apart by any margin.
        alike = (value[:, None] == value[None]).all(-1)
        rival &= ~alike[wanted]
        if free is not None:
            rival &= ~free[own, None]
        pair, second = np.nonzero(rival)  # (C,)
        strict = margin * problem.strictness[wanted[pair], second]  # (C,)
        better = value[wanted[pair]] - value[second] - strict[:, None]  # (C, S)
        mass = problem.weights[other[pair]] * better
        inside = mass * self.width[own[pair]]
        at_low = (mass * self.low[own[pair]]).sum(1)
        size = np.maximum(np.abs(inside).max(1, initial=0.0), np.abs(at_low))
        size = np.where(size > 0, size, 1.0)
        n_own, n_states = self.low.shape
        index = np.repeat(np.arange(len(pair)), n_states)
        column = (own[pair][:, None] * n_states + np.arange(n_states)).ravel()
        cone = csr_matrix(
            ((inside / size[:, None]).ravel(), (index, column)), shape=(len(pair), n_own * n_states)
        )
        slope = np.einsum("js,mjs->ms", problem.weights, problem.utility.T[actions])
        if free is not None:
            slope[free] = 0.0
        program = LinearProgram(
            (slope * self.width).ravel() / self.unit,
            np.ones(n_own * n_states),
            vstack([self._sums, cone]).tocsr(),
            np.concatenate([self._left, -at_low / size]),
            np.concatenate([self._left, np.full(len(pair), np.inf)]),
        )
        solution = program.solve()
        if solution.point is None:
            return None
        columns = self.low + self.width * solution.point.reshape(self.low.shape)
        return Optimum(columns, solution.prices[:n_states] * self._per_price)
