"""Action regions: the columns at which the receiver takes given actions, as linear programs.

An action region fixes the receiver's action at every pair of an own signal and a joint signal of
the others. The columns at which the receiver takes these actions form a polytope: each action must
lead its rivals, that is, be at least as good for the receiver. A lead is strict if the tie rule
gives a tie to the rival. In a region the sender's utility is linear.

Shapes: as in `deviation`; `P` open pairs, `C` leads.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dnl.exact.deviation import SLACK, Deviation
from dnl.exact.linear_program import Array, LinearProgram, csr_matrix, hstack, vstack
from dnl.runtime.budget import Budget

MIN_DEPTH = 1e-9  # depth, as in `ActionRegions.inside`, above which a region has an inside
DEPTH_ROUNDING = 1e-13  # depth up to which all columns of a region tie, but for rounding
MIN_COEFFICIENT = 1e-8  # of rows scaled to size 1: the solver may drop smaller ones


@dataclass(frozen=True, eq=False)
class RegionOptimum:
    """The best columns of one region.

    Attributes:
        columns: `(M, S)`.
        prices: `(S,)` dual values of the states' rows, normalised utility per unit of column.
    """

    columns: Array
    prices: Array


class ActionRegions:
    """The action regions within a box of columns.

    Args:
        deviation: the sender's program.
        low, width: `(M, S)`, corners and sizes of the boxes.
        pairs: `(P, 2)` own signal and others' joint signal of the open pairs; every other pair has
            the same action in all of the box.
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
        """The same regions in smaller boxes."""
        return ActionRegions(
            self.deviation, low, width, self.pairs, self.candidates, self.unit, self.posterior
        )

    def best(
        self,
        actions: NDArray[np.int64],
        margin: float,
        budget: Budget,
        free: NDArray[np.bool_] | None = None,
    ) -> RegionOptimum | None:
        """The best columns at which the receiver takes `actions`.

        Args:
            actions: `(M, J)`.
            margin: of every strict lead, in units of the receiver's ties and the mass.
            budget: time and memory.
            free: `(M,)` own signals at which the receiver may do anything. They count as worth
                nothing, so they get only what the others' margins leave.

        Returns:
            None if there are no such columns, or no time is left to find them.
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
        cost = (slope * self.width).ravel() / self.unit
        solution = self._program(cost, cone, at_low).solve(budget)
        if solution.point is None:
            return None
        columns = self.low + self.width * solution.point.reshape(self.low.shape)
        return RegionOptimum(columns, solution.prices[:n_sums] * self._per_price)

    def is_reached(self, actions: NDArray[np.int64], budget: Budget) -> bool:
        """Whether the receiver takes `actions (M, J)` at some columns of the box.

        False if some lead must be strict and is a tie at all columns of the region. True if such
        ties are near but not exact, since the simulator's tolerance may reach the region, and if
        the budget does not suffice to tell.
        """
        found = self._inside(actions, budget)
        if found is None or found[0] > MIN_DEPTH:
            return True
        depth, _, leads = found
        exact = abs(depth) <= DEPTH_ROUNDING and not self._has_tiny(leads)
        return not exact and self._is_near(leads, budget)

    def inside(self, actions: NDArray[np.int64], budget: Budget) -> tuple[float, Array] | None:
        """A bound of the depth of a region, and its deepest columns `(M, S)`.

        The depth is the smallest strict lead, relative to the largest entry of its row: at most 1,
        and 1 without strict leads. If two actions tie in all of the region and ranks decide, the
        lead in rank counts. The depth is below 0 if some lead is negative at all columns. Actions
        that are nearly tied at every belief are not compared.

        Returns:
            None if the budget does not suffice. A depth of minus infinity if even the closed region
            is empty; the columns are then the corner of the box.
        """
        found = self._inside(actions, budget)
        return None if found is None else found[:2]

    def _inside(
        self, actions: NDArray[np.int64], budget: Budget
    ) -> tuple[float, Array, "_Leads"] | None:
        """As `inside`, with the leads that were required in the end."""
        if budget.over:
            return None
        leads = self._leads(actions, None)
        leads = leads.part(~leads.near)
        while True:
            found = self._deepest(leads, False, budget)
            if found is None:
                return None
            if not abs(found[0]) <= DEPTH_ROUNDING or not leads.by_rank.any():
                return *found[:2], leads
            # A lead that is 0 at all columns is a tie in all of the region: there ranks decide.
            every = self._deepest(leads, True, budget)
            if every is None:
                return None
            tied = leads.by_rank & leads.strict & (every[2] <= MIN_DEPTH)
            if not tied.any():
                return *found[:2], leads
            leads = leads.ranked_at(tied)

    def _program(self, cost: Array, cone: csr_matrix, at_low: Array) -> LinearProgram:
        """Maximise `cost` over the columns of the box whose leads `cone` are at least 0."""
        return LinearProgram(
            cost,
            np.ones(len(cost)),
            vstack([self._sums, cone]),
            np.concatenate([self._left, -at_low]),
            np.concatenate([self._left, np.full(len(at_low), np.inf)]),
        )

    def _has_tiny(self, leads: "_Leads") -> bool:
        """Whether a lead has a coefficient so small that the solver may drop it."""
        entries = np.abs(self._rows(leads.pair, leads.lead)[0].data)
        return bool((entries < MIN_COEFFICIENT).any())

    def _is_near(self, leads: "_Leads", budget: Budget) -> bool:
        """Whether all leads hold up to the simulator's tie tolerance at some columns."""
        cone, at_low = self._rows(leads.pair, leads.lead + SLACK)
        solution = self._program(np.zeros(self.low.size), cone, at_low).solve(budget)
        return not (solution.solved and solution.bound == -np.inf)

    def _deepest(
        self, leads: "_Leads", each: bool, budget: Budget
    ) -> tuple[float, Array, Array] | None:
        """A bound of the depth, columns, and the depths of all leads `(C,)`.

        Maximises the smallest strict lead, or (`each`) the sum of all of them between 0 and 1.
        """
        cone, at_low = self._rows(leads.pair, leads.lead)
        n_variables, n_leads = self.low.size, len(at_low)
        below = 0.0 if each else 1.0  # a variable is a depth plus this
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
            ),
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
        # A tiny bound is rounding of many rows: then the depth that the point reaches is better.
        proven = solution.bound - below
        return (proven if proven > MIN_DEPTH else smallest), self.low + self.width * point, depths

    def _leads(self, actions: NDArray[np.int64], free: NDArray[np.bool_] | None) -> "_Leads":
        """The leads of `actions (M, J)` over their rivals."""
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
        """Rows `cone @ x + at_low >= 0`: leads are at least 0; each row scaled to size 1."""
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
    """`C` leads, each of one action over a rival at an open pair.

    Attributes:
        pair: `(C,)` index of the open pair.
        lead: `(C, S)` receiver's value of the action less that of the rival, or its rank.
        strict: `(C,)` whether the lead must be above 0.
        rank_lead: `(C, S)` rank of the action less that of the rival.
        by_rank: `(C,)` whether a tie goes by rank; False if `lead` is in rank itself.
        later: `(C,)` whether the rival has the lower index.
        near: `(C,)` whether the two are nearly tied at every belief: rounding decides.
    """

    pair: NDArray[np.int64]
    lead: Array
    strict: NDArray[np.bool_]
    rank_lead: Array
    by_rank: NDArray[np.bool_]
    later: NDArray[np.bool_]
    near: NDArray[np.bool_]

    def part(self, kept: NDArray[np.bool_]) -> "_Leads":
        """The leads where `kept (C,)`."""
        return _Leads(*(getattr(self, field.name)[kept] for field in fields(self)))

    def ranked_at(self, tied: NDArray[np.bool_]) -> "_Leads":
        """The same leads, but those `tied (C,)` may be ties; for each, one more lead in rank."""
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
