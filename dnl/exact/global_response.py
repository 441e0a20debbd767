"""Global best response: concavification by column generation over posteriors.

With `M >= S` own signals the best response is the concave envelope of f at the prior, where `f(c)`
is the utility from an own signal with column `c`: columns add up to the all-ones vector, f is
homogeneous, and S columns suffice. The master program mixes posteriors. The pricing program looks
for a posterior above the supporting hyperplane; it has one column, so own signals cause no
symmetry. If its maximum is `h`, the hyperplane raised by `h` lies above f everywhere: a
certificate. With `M < S` the certificate is still a bound; `LocalResponse` with radius 1 then finds
policies and closes small cases.

The first values of posteriors are limits, at which the receiver favours the sender. The game's own
tie rule grants the value of posteriors slightly inside their regions. If that falls short of the
bound, values and bounds are computed again from regions that the tie rule reaches (`posteriors`).

Source: Kamenica and Gentzkow (2011) for one sender.
"""

import numpy as np

from dnl.exact.branch_and_bound import maximise
from dnl.exact.deviation import Deviation
from dnl.exact.hull_relaxation import HullRelaxation, Node
from dnl.exact.linear_program import Array, LinearProgram
from dnl.exact.local_response import LocalResponse
from dnl.exact.posteriors import Posteriors
from dnl.exact.response_search import Decided, ResponseSearch
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

SMOOTHING = 0.3  # weight of the best prices so far in the next ones
MIN_PROGRESS = 1e-12  # normalised utility: smaller changes of value or bound are rounding
MIN_WEIGHT = 1e-12  # weight above which a posterior is part of a mixture
MAX_LOST_PROBABILITY = 1e-7  # that the solver's tolerances may take from a row of a policy


class GlobalResponse(ResponseSearch):
    """Search for the best policy of all; arguments as in `ResponseSearch`.

    Attributes:
        dual: `(S,)` per unit of column, normalised: `f(c) <= dual . c` for every `c >= 0`.
    """

    def __init__(
        self,
        deviation: Deviation,
        gap: float,
        budget: Budget,
        decided: Decided | None = None,
    ) -> None:
        super().__init__(deviation, gap, budget, decided)
        self.posteriors = Posteriors(deviation, budget)
        support, prior = self.posteriors.support, self.posteriors.prior
        self.scarce = len(deviation.own) < len(support)
        # A certificate from the start: the sender's best action, state by state.
        self._certificate = deviation.utility[support].max(1)
        self.bound, self.status = float(self._certificate @ prior), Status.OPTIMAL
        candidates = self.posteriors.candidates
        if candidates is None:
            self.status = Status.TIME_LIMIT
        elif misfit := HullRelaxation.misfit(candidates, len(support), budget):
            self.status = misfit
        else:
            self.hull = HullRelaxation(
                self.posteriors.problem, *self.posteriors.box, candidates, "posterior", 1.0
            )
            self._search()
        self.dual = np.zeros(len(deviation.prior))
        self.dual[support] = self._certificate * prior

    def _search(self) -> None:
        self._generate()
        self._mix_as_played()
        if not self._is_settled() and self.status is Status.OPTIMAL and not self.scarce:
            self.posteriors.count_only_reached()
            self._generate()
            self._mix_as_played()
        if self.scarce and not self._is_settled():
            self._search_all_columns()

    def _generate(self) -> None:
        """Alternate master and pricing until the certificate meets the mixture."""
        pool, prior = self.posteriors, self.posteriors.prior
        # A mixture from the start: the vertices of the simplex, which come first.
        self.weights = np.concatenate([prior, np.zeros(len(pool.values) - len(prior))])
        best = float(pool.values[: len(prior)] @ prior)
        prices_best: Array | None = None
        smooth = True
        while True:
            master = self._master(pool.points, pool.values)
            if master is None:  # mixture and certificate stay as they are
                self.status = Status.SUSPECT
                break
            best, self.weights, prices = master
            if self.bound <= best + self.gap or self.budget.over:
                break
            # With scarce signals the mixture need not be a policy: only the bound can decide.
            reached = -np.inf if self.scarce else best
            if self.decided is not None and self.decided(reached, self.bound):
                break
            mixed = prices
            if prices_best is not None and smooth:
                mixed = (1 - SMOOTHING) * prices + SMOOTHING * prices_best
            found, excess, status = self._price(mixed)
            certificate = mixed + max(excess, 0.0)
            bound = float(certificate @ prior)
            better = bound < self.bound - MIN_PROGRESS
            if better:
                self.bound, prices_best, self._certificate = bound, mixed, certificate
            new = found[pool.evaluate(found) > found @ prices + MIN_PROGRESS]
            if len(new):
                pool.add(new)
                self.weights = np.append(self.weights, np.zeros(len(new)))
            smooth = bool(len(new)) or (better and smooth)
            if not len(new) and not better and np.array_equal(mixed, prices):
                self.status = status if status is not Status.OPTIMAL else Status.SUSPECT
                break
        if self.bound > best + self.gap and self.budget.over:
            self.status = Status.TIME_LIMIT

    def _master(self, points: Array, values: Array) -> tuple[float, Array, Array] | None:
        """Best mixture of posteriors: value, weights, prices `(S',)` of mass; None on failure."""
        known = np.isfinite(values)
        prior = self.posteriors.prior
        program = LinearProgram(
            values[known], np.ones(np.count_nonzero(known)), points[known].T, prior, prior
        )
        solution = program.solve(self.budget)
        if solution.point is None:
            return None
        weights = np.zeros(len(values))
        weights[known] = solution.point
        return float(values[known] @ solution.point), weights, solution.prices

    def _price(self, prices: Array) -> tuple[Array, float, Status]:
        """Posteriors above the hyperplane, a bound of the largest excess, and the status."""
        pool = self.posteriors
        found: list[Array] = []
        best = -np.inf

        def improve(hull: HullRelaxation, node: Node) -> float:
            nonlocal best
            if node.columns is not None:
                found.append(node.columns[0])
                value = node.value
                if pool.reached_only:
                    value = pool.evaluate(node.columns)[0] - float(node.columns[0] @ prices)
                best = max(best, value)
            return best

        def enough(best: float, bound: float) -> bool:
            return best > self.gap and best >= 0.6 * bound

        self.hull.set_prices(prices)
        outcome = maximise(
            self.hull,
            0.5 * self.gap,
            self.budget,
            improve,
            decided=enough,
            reached=pool.is_reached if pool.reached_only else None,
        )
        points = np.array(found).reshape(-1, len(prices))
        points = np.maximum(points, 0.0)
        # A posterior always exists: an infeasible program is a failure of the solver.
        failed = outcome.status is Status.INFEASIBLE
        excess = np.inf if failed else outcome.bound
        return points / points.sum(1, keepdims=True), excess, outcome.status

    def _mix_as_played(self) -> None:
        """Try the best mixture of posteriors by the game's tie rule, some of them moved inwards."""
        pool = self.posteriors
        used = pool.points[self.weights > MIN_WEIGHT]
        vertices = np.eye(len(pool.prior))
        points = np.concatenate([vertices, pool.prior[None], used, *map(pool.inwards, used)])
        values = pool.problem.played(points).sum(-1)
        self._attain(self._columns(self.weights, pool.points))
        master = self._master(points, values)
        if master is not None:
            self._attain(self._columns(master[1], points))

    def _columns(self, weights: Array, points: Array) -> Array:
        """A mixture as columns `(M, S)`; its heaviest posteriors if signals are scarce."""
        n_own, n_states = self.deviation.own.shape
        used = np.argsort(-weights, kind="stable")[:n_own]
        columns = np.zeros((n_own, n_states))
        shares = weights[used, None] * points[used] / self.posteriors.prior
        columns[: len(used), self.posteriors.support] = shares
        rest = np.maximum(1 - columns.sum(0), 0.0)
        if rest.max() > MAX_LOST_PROBABILITY:
            columns[0] += np.where(self.deviation.prior > 0, rest, 0.0)
        nowhere = self.deviation.prior <= 0
        columns[:, nowhere] = self.deviation.own[:, nowhere]
        return columns

    def _search_all_columns(self) -> None:
        """With fewer signals than states: the program over all columns at once."""
        starts = (self.deviation.closure(self.witness.T)[1],)
        search = LocalResponse(self.deviation, 1.0, self.gap, self.budget, self.decided, starts)
        if search.attained > self.attained:
            self.attained, self.witness = search.attained, search.witness
        self.bound = min(self.bound, search.bound)
        self.status = Status.OPTIMAL if self._is_settled() else search.status
