"""Solve linear programs with HiGHS; bound their optima without trusting it.

Weak duality bounds a maximum. For *any* row prices `y` (of the right sign at one-sided rows) and
bounded variables,

    max c.x  <=  sum_i max(y_i l_i, y_i u_i) + sum_j max(r_j lower_j, r_j upper_j),  r = c - A'y.

The solver's dual values are only a good choice of `y`. The bound is evaluated on the data as
stated, so the solver's tolerances, scaling and dropped coefficients do not matter. Only float64
rounding does, and `BOUND_ROUNDING` is added for it. A program counts as infeasible only where a
dual ray gives a negative bound for c = 0. (Neumaier and Shcherbina, "Safe bounds in linear and
mixed-integer linear programming", 2004.)

Other modules import scipy's sparse matrices from here.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnl.runtime.budget import Budget
from dnl.runtime.parallel import check_wanted

with warnings.catch_warnings():  # scipy.sparse adds a filter; importing dnl must change no setting
    from scipy.sparse import coo_matrix, csr_matrix, hstack, vstack

__all__ = ["Array", "LinearProgram", "Solution", "coo_matrix", "csr_matrix", "hstack", "vstack"]

Array = NDArray[np.float64]
BOUND_ROUNDING = 1e-12  # float64 rounding of a bound, relative to the sum of its absolute terms
MAX_ITERATIONS = 20_000  # simplex iterations before a warm start is given up
FEASIBILITY_TOLERANCE = 1e-9  # of the solver, absolute: for rows, variables and dual values
MAX_DUALITY_GAP = 1e-8  # relative gap between point and bound above which we solve again


@dataclass(frozen=True, eq=False)
class Solution:
    """The solution of a linear program.

    Attributes:
        point: `(n,)` the solver's optimum within its tolerances; None where there is none.
        bound: safe upper bound of the maximum; minus infinity where proven infeasible.
        prices: `(rows,)` dual values with which `bound` was computed.
        solved: whether the solver calls the program solved; the bound is valid either way.
    """

    point: Array | None
    bound: float
    prices: Array
    solved: bool


class LinearProgram:
    """`max cost.x` over `row_lower <= A x <= row_upper`, `0 <= x <= upper`, with warm starts.

    Args:
        cost, upper: `(n,)`, upper finite.
        matrix: `(rows, n)`, dense or sparse.
        row_lower, row_upper: `(rows,)`, may be infinite on one side.

    Raises:
        ImportError: if highspy is not installed.
    """

    def __init__(
        self,
        cost: Array,
        upper: Array,
        matrix: csr_matrix | Array,
        row_lower: Array,
        row_upper: Array,
    ) -> None:
        try:
            import highspy
        except ImportError as error:
            if _by_ctrl_c(error):
                raise KeyboardInterrupt from error
            raise ImportError("exact methods need the solver HiGHS: pip install highspy") from error
        self._status = highspy.HighsModelStatus
        self.cost, self.upper = cost.copy(), upper.copy()
        matrix = csr_matrix(matrix)
        self.matrix, self.transposed = matrix, matrix.T.tocsr()
        self.row_lower, self.row_upper = row_lower, row_upper
        model = highspy.HighsLp()
        model.num_row_, model.num_col_ = matrix.shape
        model.col_cost_ = cost
        model.col_lower_ = np.zeros_like(cost)
        model.col_upper_ = upper
        model.row_lower_ = np.where(np.isinf(row_lower), -highspy.kHighsInf, row_lower)
        model.row_upper_ = np.where(np.isinf(row_upper), highspy.kHighsInf, row_upper)
        model.sense_ = highspy.ObjSense.kMaximize
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = matrix.indptr.astype(np.int32)
        model.a_matrix_.index_ = matrix.indices.astype(np.int32)
        model.a_matrix_.value_ = matrix.data
        self._highs: Any = highspy.Highs()
        for name, value in {
            "output_flag": False,
            "threads": 1,
            "primal_feasibility_tolerance": FEASIBILITY_TOLERANCE,
            "dual_feasibility_tolerance": FEASIBILITY_TOLERANCE,
            "simplex_iteration_limit": MAX_ITERATIONS,
        }.items():
            self._highs.setOptionValue(name, value)
        self._highs.passModel(model)

    def set_cost(self, cost: Array) -> None:
        """Replace the costs of the first `len(cost)` variables."""
        self.cost[: len(cost)] = cost
        self._highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)

    def set_upper(self, upper: Array) -> None:
        """Replace the upper bounds `(n,)`; 0 removes a variable."""
        changed = np.flatnonzero(upper != self.upper).astype(np.int32)
        self.upper = upper.copy()
        self._highs.changeColsBounds(len(changed), changed, np.zeros(len(changed)), upper[changed])

    def solve(self, budget: Budget) -> Solution:
        """Solve from the last basis, and again from scratch if the solver gets stuck.

        Presolve may spoil the dual values where coefficients are near the solver's tolerances. If
        the bound stays above the point's value, the program is solved again without presolve.
        """
        check_wanted()
        best: Solution | None = None
        for attempt in range(3):
            if budget.over:
                break
            limit = self._highs.getRunTime() + budget.left if np.isfinite(budget.left) else 1e30
            self._highs.setOptionValue("time_limit", float(limit))
            self._highs.run()
            status = self._highs.getModelStatus()
            if status == self._status.kOptimal:
                solution = self._highs.getSolution()
                prices = np.array(solution.row_dual)
                point = np.clip(np.array(solution.col_value), 0.0, self.upper)
                bound = self.bound(self.cost, prices)
                if best is None or bound < best.bound:
                    best = Solution(point, bound, prices, True)
                reached = float(self.cost @ point)
                if best.bound <= reached + MAX_DUALITY_GAP * (1 + abs(reached)) or attempt == 2:
                    break
                self._without_presolve()
                continue
            if status == self._status.kInfeasible:
                prices = self._ray()
                if self.bound(np.zeros_like(self.cost), prices) < 0:
                    return Solution(None, -np.inf, prices, True)
            self._without_presolve()
        self._highs.setOptionValue("presolve", "choose")
        if best is not None:
            return best
        prices = np.array(self._highs.getSolution().row_dual)
        if len(prices) != len(self.row_lower) or not np.isfinite(prices).all():
            prices = np.zeros(len(self.row_lower))
        return Solution(None, self.bound(self.cost, prices), prices, False)

    def _without_presolve(self) -> None:
        """Forget the basis and turn presolve off."""
        self._highs.clearSolver()
        self._highs.setOptionValue("presolve", "off")

    def bound(self, cost: Array, prices: Array) -> float:
        """Upper bound of `max cost.x` by weak duality, valid for any prices."""
        y = np.where(np.isinf(self.row_upper), np.minimum(prices, 0.0), prices)
        y = np.where(np.isinf(self.row_lower), np.maximum(y, 0.0), y)
        finite_lower = np.where(np.isinf(self.row_lower), self.row_upper, self.row_lower)
        finite_upper = np.where(np.isinf(self.row_upper), self.row_lower, self.row_upper)
        rows = np.maximum(y * finite_lower, y * finite_upper)
        priced = self.transposed @ y
        columns = np.maximum(cost - priced, 0.0) * self.upper
        # |A|'|y| bounds the rounding of each reduced cost.
        doubt = (abs(self.transposed) @ np.abs(y) + np.abs(cost)) @ self.upper
        bound = float(rows.sum() + columns.sum() + BOUND_ROUNDING * (np.abs(rows).sum() + doubt))
        return np.inf if np.isnan(bound) else bound

    def _ray(self) -> Array:
        """A dual ray of an infeasible program, with the sign of the lower `bound` at cost 0."""
        _, found, values = self._highs.getDualRay()
        ray = np.array(values, dtype=np.float64)
        if not found or ray.shape != self.row_lower.shape:
            return np.zeros_like(self.row_lower)
        return min((ray, -ray), key=lambda y: self.bound(np.zeros_like(self.cost), y))


def _by_ctrl_c(error: BaseException) -> bool:
    """Whether Ctrl-C ended an import; a compiled module then raises ImportError with a cause."""
    cause = error.__cause__ or error.__context__
    return cause is not None and (isinstance(cause, KeyboardInterrupt) or _by_ctrl_c(cause))
