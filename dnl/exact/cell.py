"""One cell: the columns at which the receiver takes given actions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnl.budget import Budget
from dnl.exact.linear import Array, LinearProgram
from dnl.exact.problem import Deviation
from dnl.exact.sparse import csr_matrix, hstack, vstack

EMPTY = 1e-9  # depth of a cell, as in `Cells.inside`, up to which it is only rounding


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
    """Linear programs over the cells of a box of columns.

    Args:
        deviation: the sender's program.
        low, width: `(M, S)`, corners and sizes of the boxes.
        pairs: `(P, 2)` own signal and others' joint signal of the pairs whose action is open; the
            action of every other pair is the same in all of the box.
        candidates: `(P, A)` which actions are open there.
        unit: as in `Hull`.
        posterior: whether the columns are one posterior, which adds up to 1 over the states,
            instead of a policy, whose columns add up to 1 in every state.
    """

    def __init__(
        self,
        deviation: Deviation,
        low: Array,
        width: Array,
        pairs: NDArray[np.int64],
        candidates: NDArray[np.bool_],
        unit: float,
        posterior: bool = False,
    ) -> None:
        self.deviation, self.low, self.width, self.unit = deviation, low, width, unit
        self.pairs, self.candidates, self.posterior = pairs, candidates, posterior
        n_own, n_states = low.shape
        columns = np.arange(n_own * n_states)
        if posterior:
            size = width.max(keepdims=True)
            self._sums = csr_matrix(width / size)
            self._left, self._per_price = (1 - low.sum(1)) / size[0], unit / size[0]
            return
        size = width.max(0)
        left = np.where(size > 0, 1 - low.sum(0), 0.0)
        size = np.where(size > 0, size, 1.0)
        self._sums = csr_matrix(
            ((width / size).ravel(), (columns % n_states, columns)), shape=(n_states, len(columns))
        )
        self._left = left / size
        self._per_price = unit / size

    def within(self, low: Array, width: Array) -> "Cells":
        """The same cells in smaller boxes."""
        return Cells(
            self.deviation, low, width, self.pairs, self.candidates, self.unit, self.posterior
        )

    def best(
        self,
        actions: NDArray[np.int64],
        margin: float,
        budget: Budget,
        free: NDArray[np.bool_] | None = None,
    ) -> Optimum | None:
        """The best columns at which the receiver takes `actions (M, J)`, or None where there are
        none.

        Args:
            actions: wanted of the receiver.
            margin: by which it must prefer them, in units of its ties and the mass, but where a tie
                will do.
            budget: the time to solve the program.
            free: `(M,)` own signals on which it may do anything; they count for nothing, so they
                take up no more than the others' margins leave over.
        """
        problem = self.deviation
        other, lead, strict = self._leads(actions, free)
        cone, at_low = self._rows(other, lead - margin * strict[:, None])
        slope = np.einsum("js,mjs->ms", problem.weights, problem.utility.T[actions])
        if free is not None:
            slope[free] = 0.0
        n_sums = len(self._left)
        program = LinearProgram(
            (slope * self.width).ravel() / self.unit,
            np.ones(slope.size),
            vstack([self._sums, cone]).tocsr(),
            np.concatenate([self._left, -at_low]),
            np.concatenate([self._left, np.full(len(at_low), np.inf)]),
        )
        solution = program.solve(budget)
        if solution.point is None:
            return None
        columns = self.low + self.width * solution.point.reshape(self.low.shape)
        return Optimum(columns, solution.prices[:n_sums] * self._per_price)

    def is_reached(self, actions: NDArray[np.int64], budget: Budget) -> bool:
        """Whether the receiver may take all of `actions (M, J)` at some columns of the box.

        Not where its rule needs a strict preference that no columns allow. True where the budget
        does not suffice to tell.
        """
        point = self.inside(actions, budget)
        return point is None or point[0] > EMPTY

    def inside(self, actions: NDArray[np.int64], budget: Budget) -> tuple[float, Array] | None:
        """The columns `(M, S)` that lie deepest inside of a cell, and a bound of all depths.

        The depth is the smallest lead that the receiver's rule asks for, each row scaled to 1; at
        most 1, and 1 where the rule asks for none.

        Returns:
            None where the budget does not suffice. A depth of minus infinity where even the closed
            cell is empty; the columns are then the corner of the box.
        """
        other, lead, strict = self._leads(actions, None)
        cone, at_low = self._rows(other, lead)
        n_variables = self.low.size
        depth = csr_matrix(-strict[:, None])
        program = LinearProgram(
            np.append(np.zeros(n_variables), 1.0),
            np.ones(n_variables + 1),
            vstack(
                [
                    hstack([self._sums, csr_matrix((self._sums.shape[0], 1))]),
                    hstack([cone, depth]),
                ]
            ).tocsr(),
            np.concatenate([self._left, -at_low]),
            np.concatenate([self._left, np.full(len(at_low), np.inf)]),
        )
        solution = program.solve(budget)
        if not solution.solved:
            return None
        if solution.point is None:
            return -np.inf, self.low
        point = solution.point[:n_variables].reshape(self.low.shape)
        return solution.bound, self.low + self.width * point

    def _leads(
        self, actions: NDArray[np.int64], free: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], Array, Array]:
        """What the receiver must prefer: `(C,)` pairs, `(C, S)` leads, `(C,)` 1 where strictly."""
        problem = self.deviation
        own, other = self.pairs.T
        wanted = actions[own, other]  # (P,)
        rival = self.candidates.copy()
        rival[np.arange(len(own)), wanted] = False
        if free is not None:
            rival &= ~free[own, None]
        pair, second = np.nonzero(rival)  # (C,)
        first = wanted[pair]
        ranked = problem.ties.ranked[other[pair], first, second]
        strict = problem.strict[first, second]
        lead = problem.ahead[first, second]
        # Where a rank decides between two, the receiver need not prefer the first of them.
        by_value = np.where(ranked, False, strict)
        chosen = np.flatnonzero(ranked)
        return (
            np.concatenate([pair, pair[chosen]]),
            np.concatenate([lead, problem.rank_ahead[first[chosen], second[chosen]]]),
            np.concatenate([by_value, strict[chosen]]).astype(np.float64),
        )

    def _rows(self, pair: NDArray[np.int64], lead: Array) -> tuple[csr_matrix, Array]:
        """Rows `cone @ x + at_low >= 0` that say that leads are at least 0, scaled to size 1."""
        own, other = self.pairs[pair].T
        mass = self.deviation.weights[other] * lead  # (C, S)
        inside = mass * self.width[own]
        at_low = (mass * self.low[own]).sum(1)
        size = np.maximum(np.abs(inside).max(1, initial=0.0), np.abs(at_low))
        size = np.where(size > 0, size, 1.0)
        n_own, n_states = self.low.shape
        index = np.repeat(np.arange(len(pair)), n_states)
        column = (own[:, None] * n_states + np.arange(n_states)).ravel()
        cone = csr_matrix(
            ((inside / size[:, None]).ravel(), (index, column)), shape=(len(pair), n_own * n_states)
        )
        cone.eliminate_zeros()
        return cone, at_low / size
