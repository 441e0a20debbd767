"""Global best response: concavification by column generation over posteriors.

For `M >= S` a best response is the concave envelope of f at the prior: columns add up to the
all-ones vector, any multiple of a posterior is worth that multiple, and S columns suffice. The
master program mixes posteriors, the pricing program finds a posterior above its supporting
hyperplane: one column, so nothing is symmetric in the own signals. With `h` its maximum the
hyperplane, raised by `h`, lies above f everywhere: a certificate. For `M < S` that is still a
bound, and the program over all columns at once (`local`, radius 1) gives policies and closes small
cases.

Source: DESIGN section 2; Kamenica and Gentzkow (2011) for one sender.
"""

import time
from collections.abc import Callable

import numpy as np

from dnl.exact.branching import maximise
from dnl.exact.cell import Cells
from dnl.exact.hull import Hull, Node
from dnl.exact.linear import Array, LinearProgram
from dnl.exact.local import LocalResponse
from dnl.exact.problem import MARGINS, Deviation
from dnl.exact.sparse import csr_matrix
from dnl.exact.status import Status

POOL = 2_000  # posteriors tried before the first exact pricing
POOL_SEED = 0  # one pool for all: a response is a function of the game and the profile
SMOOTHING = 0.3  # weight of the best prices so far in the next ones


class GlobalResponse:
    """Search for the best columns of all.

    Attributes:
        dual: `(S,)` per unit of column, normalised: `f(c) <= dual . c` for every `c >= 0`.
        best, bound, status: as in `Outcome`, normalised.
        witnesses: policies `(S, M)` to try in the simulator.
    """

    def __init__(
        self,
        deviation: Deviation,
        gap: float,
        deadline: float,
        decided: Callable[[float, float], bool] | None = None,
    ) -> None:
        self.deviation, self.gap, self.deadline = deviation, gap, deadline
        # With scarce signals the mixture need not be a policy: only the bound can decide.
        scarce = len(deviation.own) < deviation.prior.astype(bool).sum()
        self._decided = (
            None
            if decided is None
            else (lambda best, bound: decided(-np.inf if scarce else best, bound))
        )
        self.support = np.flatnonzero(deviation.prior > 0)
        self.prior = deviation.prior[self.support]
        self.points = np.empty((0, len(self.support)))  # posteriors
        self.values = np.empty(0)
        self._likelihood = deviation.weights[:, self.support] / self.prior  # (J, S')
        self._add(self._pool(np.random.default_rng(POOL_SEED)))
        self.hull = self._hull()
        self._generate()
        self.witnesses = self._policies()
        open_gap = self.bound > self._simulated_best() + gap
        if scarce and open_gap and not (decided and decided(self._simulated_best(), self.bound)):
            self._scarce()

    # ------------------------------------------------------------------------- columns

    def _pool(self, generator: np.random.Generator) -> Array:
        """Posteriors to start from: vertices, the prior, the present ones, random faces."""
        size = len(self.support)
        own = self.deviation.own[:, self.support] * self.prior
        present = own[own.sum(1) > 0]
        spread = generator.exponential(size=(POOL, size))
        spread *= generator.random((POOL, size)) < generator.random((POOL, 1))
        spread = spread[spread.sum(1) > 0]
        pool = np.concatenate([np.eye(size), self.prior[None], present, spread])
        return pool / pool.sum(1, keepdims=True)

    def _evaluate(self, points: Array) -> Array:
        """Utility per unit of mass at posteriors `(B, S') -> (B,)`, on the closure."""
        columns = np.zeros((len(points), len(self.deviation.prior)))
        columns[:, self.support] = points / self.prior
        return self.deviation.closure(columns)[0].sum(-1)

    def _add(self, points: Array) -> None:
        self.points = np.concatenate([self.points, points])
        self.values = np.concatenate([self.values, self._evaluate(points)])

    def _master(self) -> tuple[float, Array, Array] | None:
        """Best mixture of the columns: value, weights, prices `(S',)` of mass; None on failure."""
        program = LinearProgram(
            self.values,
            np.ones(len(self.values)),
            csr_matrix(self.points.T),
            self.prior,
            self.prior,
        )
        solution = program.solve()
        if solution.point is None:
            return None
        return float(self.values @ solution.point), solution.point, solution.prices

    def _hull(self) -> Hull:
        """The pricing program: one posterior."""
        problem = self.deviation
        reduced = Deviation(
            weights=self._likelihood,
            value=problem.value[self.support],
            utility=problem.utility[self.support],
            own=np.zeros((1, len(self.support))),
            order=problem.order[self.support],
            lowest=problem.lowest,
            payoff_range=problem.payoff_range,
        )
        shape = (1, len(self.support))
        return Hull(reduced, np.zeros(shape), np.ones(shape), total="posterior", unit=1.0)

    def _generate(self) -> None:
        """Alternate master and pricing until the certificate meets the mixture."""
        # A certificate from the start: the sender's best action, state by state.
        self._certificate = self.deviation.utility[self.support].max(1)
        self.bound, self.status = float(self._certificate @ self.prior), Status.OPTIMAL
        # A mixture from the start: the vertices of the simplex, which the pool begins with.
        size = len(self.support)
        self.weights = np.concatenate([self.prior, np.zeros(len(self.values) - size)])
        self.best = float(self.values[:size] @ self.prior)
        prices_best: Array | None = None
        smooth = True
        while True:
            master = self._master()
            if master is None:  # mixture and certificate stay as they are
                self.status = Status.SUSPECT
                break
            self.best, self.weights, prices = master
            if self.bound <= self.best + self.gap or time.perf_counter() >= self.deadline:
                break
            if self._decided is not None and self._decided(self.best, self.bound):
                break
            mixed = (
                prices
                if prices_best is None or not smooth
                else (1 - SMOOTHING) * prices + SMOOTHING * prices_best
            )
            found, excess, status = self._price(mixed)
            certificate = mixed + max(excess, 0.0)
            bound = float(certificate @ self.prior)
            better = bound < self.bound - 1e-12
            if better:
                self.bound, prices_best, self._certificate = bound, mixed, certificate
            new = found[self._evaluate(found) > found @ prices + 1e-12]
            if len(new):
                self._add(new)
            smooth = bool(len(new)) or (better and smooth)
            if not len(new) and not better and np.array_equal(mixed, prices):
                self.status = status if status is not Status.OPTIMAL else Status.SUSPECT
                break
        if self.bound > self.best + self.gap and time.perf_counter() >= self.deadline:
            self.status = Status.TIME_LIMIT
        self.dual = np.zeros(len(self.deviation.prior))
        self.dual[self.support] = self._certificate * self.prior

    def _price(self, prices: Array) -> tuple[Array, float, Status]:
        """Posteriors above the hyperplane, a bound of the largest excess, and the status."""
        found: list[Array] = []
        best = -np.inf

        def improve(hull: Hull, node: Node) -> float:
            nonlocal best
            if node.columns is not None:
                found.append(node.columns[0])
                best = max(best, node.value)
            return best

        def enough(best: float, bound: float) -> bool:
            return best > self.gap and best >= 0.6 * bound

        self.hull.set_prices(prices)
        outcome = maximise(self.hull, 0.5 * self.gap, self.deadline, improve, decided=enough)
        points = np.array(found).reshape(-1, len(prices))
        points = np.maximum(points, 0.0)
        # A posterior always exists: an infeasible program is a failure of the solver.
        failed = outcome.status is Status.INFEASIBLE
        excess = np.inf if failed else outcome.bound
        return points / points.sum(1, keepdims=True), excess, outcome.status

    # ------------------------------------------------------------------------- policies

    def _policies(self) -> list[Array]:
        """The mixture as policies `(S, M)`; the heaviest columns where signals are scarce."""
        n_own, n_states = self.deviation.own.shape
        used = np.argsort(-self.weights, kind="stable")[:n_own]
        columns = np.zeros((n_own, n_states))
        shares = self.weights[used, None] * self.points[used] / self.prior
        columns[: len(used), self.support] = shares
        rest = np.maximum(1 - columns.sum(0), 0.0)
        columns[0] += np.where(self.deviation.prior > 0, rest, 0.0)
        nowhere = self.deviation.prior <= 0
        columns[:, nowhere] = self.deviation.own[:, nowhere]
        _, actions = self.deviation.closure(columns)
        cells = self._all_cells()
        free = columns.sum(1) <= 0
        tried = [cells.best(actions, margin, free) for margin in MARGINS]
        policies = [*(optimum.columns.T for optimum in tried if optimum is not None), columns.T]
        return [policy / policy.sum(1, keepdims=True) for policy in policies]

    def _all_cells(self) -> Cells:
        problem = self.deviation
        n_own = len(problem.own)
        low, width = problem.box(1.0)
        n_others, n_actions = len(problem.weights), problem.value.shape[1]
        pairs = np.stack(np.divmod(np.arange(n_own * n_others), n_others), 1)
        everything = np.ones((len(pairs), n_actions), dtype=bool)
        return Cells(problem, low, width, pairs, everything, 1.0)

    def _simulated_best(self) -> float:
        return max(float(self.deviation.closure(policy.T)[0].sum()) for policy in self.witnesses)

    def _scarce(self) -> None:
        """Fewer signals than states: the program over all columns at once."""
        starts = tuple(self.deviation.closure(policy.T)[1] for policy in self.witnesses)
        search = LocalResponse(self.deviation, 1.0, self.gap, self.deadline, starts=starts)
        self.witnesses = search.witnesses + self.witnesses
        self.best = search.outcome.best
        self.bound = min(self.bound, search.outcome.bound)
        self.status = search.outcome.status
        if self.bound <= self.best + self.gap:
            self.status = Status.OPTIMAL
