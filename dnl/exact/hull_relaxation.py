"""Hull relaxation: the receiver's reaction relaxed to a linear program by convex hulls.

Let m be an own signal and j a joint signal of the others. If several actions may be optimal at the
pair (m, j), it is open: its column `c_m` is split into one part per action, each inside that
action's cone. This is the smallest convex relaxation of the pair alone, so the optimum is an upper
bound. Taking actions out of pairs makes it exact (`branch_and_bound`).

Variables, all between 0 and 1: `x (M, S)`, the columns being `c = low + width * x`; for every entry
e (an open pair and one of its candidate actions) its share `z_e` and its part of `c_m`, `y_e (S,)`.

Shapes: as in `deviation`; `P` open pairs, `E` entries.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dnl.exact.deviation import SLACK, Deviation
from dnl.exact.linear_program import Array, LinearProgram, coo_matrix, csr_matrix
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

BYTES_PER_NONZERO = 100  # of the matrix, while it is assembled
MEMORY_STEPS = 4  # the program may take so many times the memory of one step
NONZEROS_PER_SECOND = 2e6  # of the matrix: assembled and passed to the solver

Taken = frozenset[int]  # entries taken out
Total = Literal["policy", "posterior", "free"]


@dataclass(frozen=True, eq=False)
class Node:
    """A solved relaxation.

    Attributes:
        bound: safe upper bound of the sender's utility, normalised.
        columns: `(M, S)`; None if the solver gave none.
        value: utility of `columns` if ties favour the sender; minus infinity without columns.
        actions: `(M, J)` that give `value`.
        shares: `(E,)` of the entries.
        excess: `(P,)` by how much the relaxation overstates each pair's utility.
        duals: `(rows,)` dual values with which the bound was computed.
        solved: False if the solver failed; the bound is valid anyway.
    """

    bound: float
    columns: Array | None
    value: float
    actions: NDArray[np.int64]
    shares: Array
    excess: Array
    duals: Array
    solved: bool


class HullRelaxation:
    """The relaxation over a box of columns.

    Args:
        deviation: the sender's program.
        low, width: `(M, S)`, corners and sizes of the boxes.
        candidates: `(M, J, A)`, `deviation.candidates` of the boxes.
        total: what the columns add up to. `"policy"`: 1 in every state. `"posterior"`: one column
            with `low = 0` adds up to 1 over the states, so parts sum to their shares (otherwise
            parts are at most their shares). `"free"`: anything.
        unit: of utility inside the solver: about the largest possible gain, so that the solver's
            tolerances are relative to it.
    """

    def __init__(
        self,
        deviation: Deviation,
        low: Array,
        width: Array,
        candidates: NDArray[np.bool_],
        total: Total,
        unit: float,
    ) -> None:
        self.deviation, self.low, self.width, self.unit = deviation, low, width, unit
        w, u = deviation.weights, deviation.utility
        n_own, n_states = low.shape
        several = candidates.sum(2) > 1
        self.pair_own, self.pair_other = np.nonzero(several)  # (P,) each
        pair_actions = candidates[self.pair_own, self.pair_other]  # (P, A)
        self.entry_pair, self.entry_action = np.nonzero(pair_actions)  # (E,) each
        self.only = np.where(several, 0, candidates.argmax(2))  # (M, J) where not open
        # Utility per unit of column from the pairs that are not open.
        self.slope = np.einsum("mj,js,mjs->ms", ~several, w, u.T[self.only])  # (M, S)
        own, other = self.pair_own[self.entry_pair], self.pair_other[self.entry_pair]
        self.at_low = w[other] * low[own]  # (E, S)
        self.per_x = w[other] * width[own]  # (E, S)
        utility = u.T[self.entry_action]  # (E, S)
        self.z_utility = (self.at_low * utility).sum(1)  # (E,)
        self.y_utility = self.per_x * utility  # (E, S)
        self.n_x, self.n_entries = n_own * n_states, len(self.entry_pair)
        self.y_start = self.n_x + self.n_entries
        self.constant = float((self.slope * low).sum())
        matrix, lower, upper = self._rows(total, n_own, n_states)
        cost = np.concatenate(
            [(self.slope * width).ravel(), self.z_utility, self.y_utility.ravel()]
        )
        self.program = LinearProgram(cost / unit, np.ones(len(cost)), matrix, lower, upper)

        self.prices = np.zeros(n_states)

    @staticmethod
    def misfit(candidates: NDArray[np.bool_], n_states: int, budget: Budget) -> Status | None:
        """What does not suffice to state the relaxation of candidates `(M, J, A)`; None if all."""
        count = candidates.sum(2)
        count = count[count > 1]
        nonzeros = int((count * (count + 3) * (n_states + 1)).sum()) + candidates.size
        if nonzeros > MEMORY_STEPS * budget.memory // BYTES_PER_NONZERO:
            return Status.MEMORY_LIMIT
        return Status.TIME_LIMIT if nonzeros > NONZEROS_PER_SECOND * budget.left else None

    @property
    def n_pairs(self) -> int:
        """`P`, the number of open pairs."""
        return len(self.pair_own)

    def set_prices(self, prices: Array) -> None:
        """Subtract `prices (S,)` per unit of column from the utility."""
        slope = self.slope - prices
        self.constant = float((slope * self.low).sum())
        self.program.set_cost((slope * self.width).ravel() / self.unit)
        self.prices = prices

    def row_prices(self, node: Node) -> Array:
        """`(S,)`: dual values of a policy's rows, per unit of column."""
        size = self.width.max(0)
        return node.duals[: len(size)] * self.unit / np.where(size > 0, size, 1.0)

    def solve(self, taken: Taken, budget: Budget) -> Node:
        """Solve the relaxation without the entries `taken`."""
        keep = np.ones(self.n_entries)
        keep[list(taken)] = 0.0
        n_states = self.low.shape[1]
        self.program.set_upper(np.concatenate([np.ones(self.n_x), keep, np.repeat(keep, n_states)]))
        solution = self.program.solve(budget)
        bound = self.constant + solution.bound * self.unit
        if solution.point is None:
            nothing = np.zeros((*self.low.shape[:1], len(self.deviation.weights)), dtype=np.int64)
            return Node(
                bound,
                None,
                -np.inf,
                nothing,
                np.zeros(self.n_entries),
                np.zeros(self.n_pairs),
                solution.prices,
                solution.solved,
            )
        x, shares = np.split(solution.point[: self.y_start], [self.n_x])
        columns = self.low + self.width * x.reshape(self.low.shape)
        utilities, actions = self.deviation.closure(columns)  # (M, J)
        parts = solution.point[self.y_start :].reshape(-1, n_states)
        relaxed = self.z_utility * shares + (self.y_utility * parts).sum(1)  # (E,)
        excess = np.bincount(self.entry_pair, relaxed, minlength=self.n_pairs).astype(np.float64)
        excess -= utilities[self.pair_own, self.pair_other]
        value = utilities.sum() - float((columns * self.prices).sum())
        return Node(bound, columns, value, actions, shares, excess, solution.prices, True)

    def settled(self, taken: Taken) -> NDArray[np.int64]:
        """The actions `(M, J)` if `taken` leaves one entry of every pair."""
        left = np.ones(self.n_entries, dtype=bool)
        left[list(taken)] = False
        actions = self.only.copy()
        pair = self.entry_pair[left]
        actions[self.pair_own[pair], self.pair_other[pair]] = self.entry_action[left]
        return actions

    def actions_of(self, node: Node) -> NDArray[np.int64]:
        """`(M, J)`: at every open pair the action with the largest share."""
        order = np.lexsort((node.shares, self.entry_pair))
        last = np.flatnonzero(np.append(np.diff(self.entry_pair[order]), 1))
        actions = node.actions.copy()
        actions[self.pair_own, self.pair_other] = self.entry_action[order[last]]
        return actions

    def _rows(self, total: Total, n_own: int, n_states: int) -> tuple[csr_matrix, Array, Array]:
        """All rows: `(matrix, lower, upper)`."""
        rows = _Rows(self.y_start + self.n_entries * n_states)
        x = np.arange(self.n_x).reshape(n_own, n_states)
        z = self.n_x + np.arange(self.n_entries)
        y = self.y_start + np.arange(self.n_entries * n_states).reshape(-1, n_states)  # (E, S)
        self._add_totals(rows, total, x)
        self._add_splits(rows, x, z, y)
        self._add_sizes(rows, total, z, y)
        self._add_cones(rows, z, y)
        return rows.assemble()

    def _add_totals(self, rows: "_Rows", total: Total, x: NDArray[np.int64]) -> None:
        """The columns add up to `total`."""
        n_states = x.shape[1]
        if total == "posterior":
            rows.add(np.zeros((1, n_states)), x, np.ones((1, n_states)), 1.0, 1.0)
        elif total == "policy":
            size = self.width.max(0)
            left = np.where(size > 0, 1 - self.low.sum(0), 0.0)  # else rounding
            size = np.where(size > 0, size, 1.0)
            state = np.broadcast_to(np.arange(n_states), x.shape)
            rows.add(state, x, self.width / size, left / size, left / size)

    def _add_splits(
        self, rows: "_Rows", x: NDArray[np.int64], z: NDArray[np.int64], y: NDArray[np.int64]
    ) -> None:
        """The shares of a pair add up to 1, its parts to the column."""
        n_states = x.shape[1]
        one = np.ones(self.n_pairs)
        rows.add(self.entry_pair, z, np.ones(self.n_entries), one, one)
        pair_state = np.arange(self.n_pairs * n_states).reshape(self.n_pairs, n_states)
        zero = np.zeros(pair_state.size)
        rows.add(
            np.concatenate([pair_state[self.entry_pair].ravel(), pair_state.ravel()]),
            np.concatenate([y.ravel(), x[self.pair_own].ravel()]),
            np.concatenate([np.ones(y.size), -np.ones(pair_state.size)]),
            zero,
            zero,
        )

    def _add_sizes(
        self, rows: "_Rows", total: Total, z: NDArray[np.int64], y: NDArray[np.int64]
    ) -> None:
        """A part lies in its share of the box, or of the simplex."""
        n_states = y.shape[1]
        if total == "posterior":
            entries = np.arange(self.n_entries)
            index = np.concatenate([np.repeat(entries, n_states), entries])
            sign = np.concatenate([np.ones(y.size), -np.ones(self.n_entries)])
            none = np.zeros(self.n_entries)
            rows.add(index, np.concatenate([y.ravel(), z]), sign, none, none)
        else:
            part = np.arange(y.size)
            rows.add(
                np.concatenate([part, part]),
                np.concatenate([y.ravel(), np.repeat(z, n_states)]),
                np.concatenate([np.ones(y.size), -np.ones(y.size)]),
                np.full(y.size, -np.inf),
                np.zeros(y.size),
            )

    def _add_cones(self, rows: "_Rows", z: NDArray[np.int64], y: NDArray[np.int64]) -> None:
        """A part lies in its action's cone.

        No other candidate of the pair is better there by more than `SLACK`, nor of a higher rank if
        the two tie anyway.
        """
        first, second = self._rivals()
        actions = self.entry_action[first], self.entry_action[second]
        better = self.deviation.ahead[actions]
        if self.deviation.is_ranked:
            other = self.pair_other[self.entry_pair[first]]
            ranked = self.deviation.ties.ranked[other, *actions]
            better = np.concatenate([better, self.deviation.rank_ahead[actions][ranked]])
            first = np.concatenate([first, first[ranked]])
        better = better + SLACK
        parts = self.per_x[first] * better  # (C, S)
        share = (self.at_low[first] * better).sum(1)  # (C,)
        size = np.maximum(np.abs(parts).max(1, initial=0.0), np.abs(share))
        size = np.where(size > 0, size, 1.0)
        index = np.arange(len(first))
        rows.add(
            np.concatenate([np.repeat(index, y.shape[1]), index]),
            np.concatenate([y[first].ravel(), z[first]]),
            np.concatenate([(parts / size[:, None]).ravel(), share / size]),
            np.zeros(len(first)),
            np.full(len(first), np.inf),
        )

    def _rivals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All `C` ordered pairs of different entries of one pair of signals: `(C,)` each."""
        count = np.bincount(self.entry_pair, minlength=self.n_pairs)  # (P,)
        start = np.cumsum(count) - count
        rivals = count[self.entry_pair]  # (E,), itself among them
        first = np.repeat(np.arange(self.n_entries), rivals)
        within = np.arange(len(first)) - np.repeat(np.cumsum(rivals) - rivals, rivals)
        second = np.repeat(start[self.entry_pair], rivals) + within
        different = first != second
        return first[different], second[different]


class _Rows:
    """Blocks of rows of a sparse matrix with bounds."""

    def __init__(self, n_columns: int) -> None:
        self.n_columns, self.count = n_columns, 0
        self.blocks: list[tuple[NDArray[Any], NDArray[Any], Array]] = []
        self.lower: list[Array] = []
        self.upper: list[Array] = []

    def add(
        self,
        row: NDArray[Any],
        column: NDArray[Any],
        value: Array,
        lower: Array | float,
        upper: Array | float,
    ) -> None:
        """Add a block by its entries; its rows count from 0. One bound per row."""
        self.blocks.append((row.ravel() + self.count, column.ravel(), value.ravel()))
        self.lower.append(np.atleast_1d(lower))
        self.upper.append(np.atleast_1d(upper))
        self.count += len(self.lower[-1])

    def assemble(self) -> tuple[csr_matrix, Array, Array]:
        """`(matrix, lower, upper)`."""
        row, column, value = (np.concatenate(part) for part in zip(*self.blocks, strict=True))
        kept = value != 0
        matrix = coo_matrix(
            (value[kept], (row[kept].astype(np.int64), column[kept])),
            shape=(self.count, self.n_columns),
        )
        return matrix.tocsr(), np.concatenate(self.lower), np.concatenate(self.upper)
