"""The receiver's reaction relaxed to a linear program: convex hulls, joint signal by joint signal.

At every pair (own signal m, others' joint signal j) where more than one action can be optimal, the
column `c_m` is split into one part per action, each part inside its action's cone. That is the
smallest convex relaxation of the pair taken alone, so its optimum is an upper bound. Taking
actions out of pairs (see `branching`) makes it exact.

Variables, all between 0 and 1: `x (M, S)`, the columns as `c = low + width * x`; for every entry e
(a pair and one of its candidate actions) its share `z_e` and its part of the columns `y_e (S,)`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dnl.exact.deviation import SLACK, Deviation
from dnl.exact.linear_program import Array, LinearProgram, coo_matrix, csr_matrix
from dnl.runtime.budget import Budget

BYTES = 100  # that an entry of the matrix takes while it is put together
SHARES = 4  # of the memory of one step, that the whole program may take
RATE = 2e6  # entries a second that are put together and passed on

Taken = frozenset[int]  # entries taken out
Total = Literal["policy", "posterior", "free"]


@dataclass(frozen=True, eq=False)
class Node:
    """A solved relaxation.

    Attributes:
        bound: safe upper bound of the sender's utility, normalised.
        columns: `(M, S)`, None where the solver gave none.
        value: utility of `columns` on the closure of the cells; minus infinity without columns.
        actions: `(M, J)` behind `value`.
        shares: `(E,)` of the entries.
        excess: `(P,)` by how much the relaxation overstates each pair's utility.
        duals: `(rows,)` with which the bound was computed.
        solved: False where the solver failed; the bound is valid anyway.
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
    """The relaxation over boxes of columns.

    Args:
        deviation: the sender's program.
        low, width: `(M, S)`, corners and sizes of the boxes.
        candidates: `(M, J, A)`, `deviation.candidates` of the boxes.
        total: what the columns add up to. `"policy"`: 1 in every state; `"posterior"`: one column
            with `low = 0` adds up to 1 over the states, so parts sum to their shares (otherwise
            parts are at most their shares); `"free"`: to anything.
        unit: utilities inside the solver are in multiples of it; about the size of what can be
            gained, so that the solver's tolerances are relative to that.
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
        self.only = np.where(several, 0, candidates.argmax(2))  # (M, J) where one is left
        # Utility per unit of column, from the pairs whose action is settled.
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
    def fits(candidates: NDArray[np.bool_], n_states: int, budget: Budget) -> bool:
        """Whether the relaxation of candidates `(M, J, A)` can be stated within the budget."""
        count = candidates.sum(2)
        count = count[count > 1]
        nonzeros = int((count * (count + 3) * (n_states + 1)).sum()) + candidates.size
        return nonzeros <= min(SHARES * budget.memory // BYTES, RATE * budget.left)

    @property
    def n_pairs(self) -> int:
        """`P`, pairs whose action is open."""
        return len(self.pair_own)

    def set_prices(self, prices: Array) -> None:
        """Subtract `prices (S,)` per unit of column from the utility."""
        slope = self.slope - prices
        self.constant = float((slope * self.low).sum())
        self.program.set_cost((slope * self.width).ravel() / self.unit)
        self.prices = prices

    def row_prices(self, node: Node) -> Array:
        """`(S,)`: the prices of the rows of a policy behind the bound, per unit of column."""
        size = self.width.max(0)
        return node.duals[: len(size)] * self.unit / np.where(size > 0, size, 1.0)

    def solve(self, taken: Taken, budget: Budget) -> Node:
        """The relaxation without the entries `taken`."""
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
        """`(M, J)`: the actions where `taken` leaves one entry of every pair."""
        left = np.ones(self.n_entries, dtype=bool)
        left[list(taken)] = False
        actions = self.only.copy()
        pair = self.entry_pair[left]
        actions[self.pair_own[pair], self.pair_other[pair]] = self.entry_action[left]
        return actions

    def actions_of(self, node: Node) -> NDArray[np.int64]:
        """`(M, J)`: the action with the largest share at every open pair."""
        order = np.lexsort((node.shares, self.entry_pair))
        last = np.flatnonzero(np.append(np.diff(self.entry_pair[order]), 1))
        actions = node.actions.copy()
        actions[self.pair_own, self.pair_other] = self.entry_action[order[last]]
        return actions

    def _rows(self, total: Total, n_own: int, n_states: int) -> tuple[csr_matrix, Array, Array]:
        """All rows: `(matrix, lower, upper)`."""
        rows = _Rows(self.y_start + self.n_entries * n_states)
        entries = np.arange(self.n_entries)
        z = self.n_x + entries
        y = self.y_start + entries[:, None] * n_states + np.arange(n_states)  # (E, S)
        x = np.arange(self.n_x).reshape(n_own, n_states)

        # The columns add up.
        if total == "posterior":
            rows.add(np.zeros((1, n_states)), x, np.ones((1, n_states)), 1.0, 1.0)
        elif total == "policy":
            size = self.width.max(0)
            left = np.where(size > 0, 1 - self.low.sum(0), 0.0)  # else rounding
            size = np.where(size > 0, size, 1.0)
            rows.add(
                np.broadcast_to(np.arange(n_states), x.shape),
                x,
                self.width / size,
                left / size,
                left / size,
            )
        # The shares of a pair add up to 1, its parts to the column.
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
        # A part lies in its share of the box, or of the simplex.
        if total == "posterior":
            none = np.zeros(self.n_entries)
            index = np.concatenate([np.repeat(entries, n_states), entries])
            sign = np.concatenate([np.ones(y.size), -np.ones(self.n_entries)])
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
        # A part lies in its action's cone: no other candidate of the pair is better there, by more
        # than `SLACK`.
        count = np.bincount(self.entry_pair, minlength=self.n_pairs)  # (P,)
        start = np.cumsum(count) - count
        rivals = count[self.entry_pair]  # (E,), itself among them
        first = np.repeat(entries, rivals)
        within = np.arange(len(first)) - np.repeat(np.cumsum(rivals) - rivals, rivals)
        second = np.repeat(start[self.entry_pair], rivals) + within
        first, second = first[first != second], second[first != second]
        actions = self.entry_action[first], self.entry_action[second]
        better = self.deviation.ahead[actions]
        if self.deviation.is_ranked:  # nor of a higher rank, where the two tie anyway
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
            np.concatenate([np.repeat(index, n_states), index]),
            np.concatenate([y[first].ravel(), z[first]]),
            np.concatenate([(parts / size[:, None]).ravel(), share / size]),
            np.zeros(len(first)),
            np.full(len(first), np.inf),
        )
        return rows.assemble()


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
        """Entries of a block whose rows count from 0; one bound per row."""
        self.blocks.append((row.ravel() + self.count, column.ravel(), value.ravel()))
        self.lower.append(np.atleast_1d(lower))
        self.upper.append(np.atleast_1d(upper))
        self.count += len(self.lower[-1])

    def assemble(self) -> tuple[csr_matrix, Array, Array]:
        row, column, value = (np.concatenate(part) for part in zip(*self.blocks, strict=True))
        kept = value != 0
        matrix = coo_matrix(
            (value[kept], (row[kept].astype(np.int64), column[kept])),
            shape=(self.count, self.n_columns),
        )
        return matrix.tocsr(), np.concatenate(self.lower), np.concatenate(self.upper)
