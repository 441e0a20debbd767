"""One cell: the columns at which the receiver takes given actions."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dnl.exact.deviation import SLACK, Deviation
from dnl.exact.linear_program import Array, LinearProgram, csr_matrix, hstack, vstack
from dnl.runtime.budget import Budget

EMPTY = 1e-9  # depth, as in `ActionRegions.inside`, above which a cell has an inside
FAINT = 1e-8  # entries of rows of size 1 that a solver may drop
EXACT = 1e-13  # depth up to which it is 0 but for rounding: a tie at all columns of the cell


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


class ActionRegions:
    """Linear programs over the cells of a box of columns.

    Args:
        deviation: the sender's program.
        low, width: `(M, S)`, corners and sizes of the boxes.
        pairs: `(P, 2)` own signal and others' joint signal of the pairs whose action is open; the
            action of every other pair is the same in all of the box.
        candidates: `(P, A)` which actions are open there.
        unit: as in `HullRelaxation`.
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

    def within(self, low: Array, width: Array) -> "ActionRegions":
        """The same cells in smaller boxes."""
        return ActionRegions(
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
        none, or no time is left to find them.

        Args:
            actions: wanted of the receiver.
            margin: by which it must prefer them, in units of its ties and the mass, but where a tie
                will do.
            budget: the time to solve the program.
            free: `(M,)` own signals on which it may do anything; they count for nothing, so they
                take up no more than the others' margins leave over.
        """
        problem = self.deviation
        if budget.over:
            return None
        leads = self._leads(actions, free)
        cone, at_low = self._rows(leads.pair, leads.lead - margin * leads.strict[:, None])
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

        Not where its rule needs a strict preference and all columns of the cell are ties. True
        where ties are near and not exact, as the simulator's tolerance may reach the cell, and
        where the budget does not suffice to tell.
        """
        found = self._inside(actions, budget)
        if found is None or found[0] > EMPTY:
            return True
        depth, _, leads = found
        exact = abs(depth) <= EXACT and not self._is_faint(leads)
        return not exact and self._is_near(leads, budget)

    def inside(self, actions: NDArray[np.int64], budget: Budget) -> tuple[float, Array] | None:
        """The columns `(M, S)` that lie deepest inside of a cell, and a bound of all depths.

        The depth is the smallest lead that the receiver's rule asks for, in units of the largest
        entry of its row; at most 1, and 1 where the rule asks for none. Where actions tie in all of
        the cell, and ranks decide, it is the lead in rank that the rule asks for. Below 0 where
        some lead is negative at all columns. Actions that are nearly tied at every belief are not
        compared.

        Returns:
            None where the budget does not suffice. A depth of minus infinity where even the closed
            cell is empty; the columns are then the corner of the box.
        """
        found = self._inside(actions, budget)
        return None if found is None else found[:2]

    def _inside(
        self, actions: NDArray[np.int64], budget: Budget
    ) -> tuple[float, Array, "_Leads"] | None:
        """`inside`, and the leads that were asked for in the end."""
        if budget.over:
            return None
        leads = self._leads(actions, None)
        leads = leads.part(~leads.near)
        while True:
            found = self._deepest(leads, False, budget)
            if found is None:
                return None
            if not abs(found[0]) <= EXACT or not leads.by_rank.any():
                return *found[:2], leads
            # A lead that no columns have is a tie in all of the cell: there the rank decides.
            every = self._deepest(leads, True, budget)
            if every is None:
                return None
            tied = leads.by_rank & leads.strict & (every[2] <= EMPTY)
            if not tied.any():
                return *found[:2], leads
            leads = leads.ranked_at(tied)

    def _is_faint(self, leads: "_Leads") -> bool:
        """Whether a lead is so small in some state that the solver takes it for none."""
        entries = np.abs(self._rows(leads.pair, leads.lead)[0].data)
        return bool((entries < FAINT).any())

    def _is_near(self, leads: "_Leads", budget: Budget) -> bool:
        """Whether there are columns at which no lead is below the simulator's tolerance."""
        cone, at_low = self._rows(leads.pair, leads.lead + SLACK)
        program = LinearProgram(
            np.zeros(self.low.size),
            np.ones(self.low.size),
            vstack([self._sums, cone]).tocsr(),
            np.concatenate([self._left, -at_low]),
            np.concatenate([self._left, np.full(len(at_low), np.inf)]),
        )
        solution = program.solve(budget)
        return not (solution.solved and solution.bound == -np.inf)

    def _deepest(
        self, leads: "_Leads", each: bool, budget: Budget
    ) -> tuple[float, Array, Array] | None:
        """Bound of the depth, columns, and depths `(C,)`: the smallest, or (`each`) of every lead.

        The smallest may be below 0; it is the bound's where that is above `EMPTY`.
        """
        cone, at_low = self._rows(leads.pair, leads.lead)
        n_variables, n_leads = self.low.size, len(at_low)
        below = 0.0 if each else 1.0  # a variable is a depth and this
        asked = np.flatnonzero(leads.strict)
        which = np.arange(len(asked)) if each else np.zeros(len(asked), dtype=np.int64)
        n_depths = len(asked) if each else 1
        depth = csr_matrix((-np.ones(len(asked)), (asked, which)), shape=(n_leads, n_depths))
        program = LinearProgram(
            np.append(np.zeros(n_variables), np.ones(n_depths)),
            np.append(np.ones(n_variables), np.full(n_depths, 1.0 + below)),
            vstack(
                [
                    hstack([self._sums, csr_matrix((self._sums.shape[0], n_depths))]),
                    hstack([cone, depth]),
                ]
            ).tocsr(),
            np.concatenate([self._left, -at_low - below * leads.strict]),
            np.concatenate([self._left, np.full(n_leads, np.inf)]),
        )
        solution = program.solve(budget)
        if not solution.solved:
            return None
        depths = np.ones(n_leads)
        if solution.point is None:
            return -np.inf, self.low, depths
        point = solution.point[:n_variables].reshape(self.low.shape)
        depths[asked] = solution.point[n_variables:][which] - below
        smallest = float(depths[asked].min(initial=1.0))
        # A bound that proves less than the point reaches is rounding of many rows.
        proven = solution.bound - below
        return (proven if proven > EMPTY else smallest), self.low + self.width * point, depths

    def _leads(self, actions: NDArray[np.int64], free: NDArray[np.bool_] | None) -> "_Leads":
        """What the receiver must prefer where it takes `actions (M, J)`."""
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
        leads = _Leads(
            pair=pair,
            lead=problem.ahead[first, second],
            strict=problem.strict[first, second],
            rank_lead=problem.rank_ahead[first, second],
            by_rank=np.full(len(pair), problem.rank is not None),
            later=first > second,
            near=problem.near[first, second],
        )
        return leads.ranked_at(ranked)

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


@dataclass(frozen=True, eq=False)
class _Leads:
    """What the receiver must prefer, `C` times one action to another.

    Attributes:
        pair: `(C,)` at which open pair of signals.
        lead: `(C, S)` by how much the first action is ahead, state by state, in value or rank.
        strict: `(C,)` whether the lead must be above 0.
        rank_lead: `(C, S)` by how much it is ahead in rank.
        by_rank: `(C,)` whether a tie goes by rank; False where `lead` is one in rank.
        later: `(C,)` whether the second action has the lower index.
        near: `(C,)` whether the two are nearly tied at every belief, and the rule cannot be told.
    """

    pair: NDArray[np.int64]
    lead: Array
    strict: NDArray[np.bool_]
    rank_lead: Array
    by_rank: NDArray[np.bool_]
    later: NDArray[np.bool_]
    near: NDArray[np.bool_]

    def part(self, kept: NDArray[np.bool_]) -> "_Leads":
        """Some of them."""
        return _Leads(*(getattr(self, field.name)[kept] for field in fields(self)))

    def ranked_at(self, tied: NDArray[np.bool_]) -> "_Leads":
        """With leads in rank beside those of `tied (C,)`, which need be no more than ties."""
        if not tied.any():
            return self
        still = ~tied
        return _Leads(
            pair=np.concatenate([self.pair, self.pair[tied]]),
            lead=np.concatenate([self.lead, self.rank_lead[tied]]),
            strict=np.concatenate([self.strict & still, self.later[tied]]),
            rank_lead=np.concatenate([self.rank_lead, self.rank_lead[tied]]),
            by_rank=np.concatenate([self.by_rank & still, np.zeros(tied.sum(), dtype=bool)]),
            later=np.concatenate([self.later, self.later[tied]]),
            near=np.concatenate([self.near, np.zeros(tied.sum(), dtype=bool)]),
        )
