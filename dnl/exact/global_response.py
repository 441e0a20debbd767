"""Global best response: concavification by column generation over posteriors.

For `M >= S` a best response is the concave envelope of f at the prior: columns add up to the
all-ones vector, any multiple of a posterior is worth that multiple, and S columns suffice. The
master program mixes posteriors, the pricing program finds a posterior above its supporting
hyperplane: one column, so nothing is symmetric in the own signals. With `h` its maximum the
hyperplane, raised by `h`, lies above f everywhere: a certificate. For `M < S` that is still a
bound, and the program over all columns at once (`local`, radius 1) gives policies and closes small
cases.

Posteriors lie on boundaries of cells, where the receiver is taken to favour the sender. What the
game's own receiver grants is the value of posteriors a little inside of the cells. Where that falls
short, values and bounds are computed once more from cells that the receiver's rule reaches.

Source: Kamenica and Gentzkow (2011) for one sender.
"""

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnl.exact.action_regions import ActionRegions
from dnl.exact.branch_and_bound import maximise
from dnl.exact.deviation import Deviation
from dnl.exact.hull_relaxation import HullRelaxation, Node
from dnl.exact.linear_program import Array, LinearProgram, csr_matrix
from dnl.exact.local_response import INWARDS, Decided, LocalResponse
from dnl.exact.status import Status
from dnl.runtime.budget import Budget

POOL = 2_000  # most posteriors tried before the first exact pricing
POOL_WORK = 2e8  # products of a posterior's entry, a joint signal and an action that they may take
CHUNK = 1e7  # numbers that are worked out between two looks at the clock
POOL_SEED = 0  # one pool for all: a response is a function of the game and the profile
SMOOTHING = 0.3  # weight of the best prices so far in the next ones
USED = 1e-12  # weight from which a posterior counts as part of a mixture
ROUNDING = 1e-7  # of a row's probability that a solver's tolerances may lose
COMBINATIONS = 64  # most ways to resolve the ties of one posterior that are looked at


class GlobalResponse:
    """Search for the best columns of all.

    Attributes:
        dual: `(S,)` per unit of column, normalised: `f(c) <= dual . c` for every `c >= 0`.
        witness: the best policy found `(S, M)`, as the game plays.
        attained: what it is worth as the game plays, normalised.
        bound, status: of all policies, normalised, and how the search ended.
    """

    def __init__(
        self,
        deviation: Deviation,
        gap: float,
        budget: Budget,
        decided: Decided | None = None,
    ) -> None:
        self.deviation, self.gap, self.budget, self._decided = deviation, gap, budget, decided
        self.scarce = len(deviation.own) < np.count_nonzero(deviation.prior > 0)
        self.attained, self.witness = -np.inf, deviation.own.T
        self._attain(deviation.own)
        self.support = np.flatnonzero(deviation.prior > 0)
        self.prior = deviation.prior[self.support]
        self.posterior = self._of_one_posterior()
        # A certificate from the start: the sender's best action, state by state.
        self._certificate = deviation.utility[self.support].max(1)
        self.bound, self.status = float(self._certificate @ self.prior), Status.OPTIMAL
        self.points = np.empty((0, len(self.support)))  # posteriors
        self.values = np.empty(0)
        self._own_cells_only = False
        self._reached: dict[bytes, bool] = {}
        self._add(self._pool(np.random.default_rng(POOL_SEED)))
        shape = (1, len(self.support))
        low, width = np.zeros(shape), np.ones(shape)
        candidates = self.posterior.candidates(low, width, budget)
        if candidates is None or not HullRelaxation.fits(candidates, shape[1], budget):
            self.status = Status.TIME_LIMIT
        else:
            self.hull = HullRelaxation(self.posterior, low, width, candidates, "posterior", 1.0)
            self.regions = self._regions(candidates)
            self._search()
        self.dual = np.zeros(len(deviation.prior))
        self.dual[self.support] = self._certificate * self.prior

    def _search(self) -> None:
        self._generate()
        self._mix_as_played()
        if not self._is_settled() and self.status is Status.OPTIMAL and not self.scarce:
            self._own_cells_only = True
            self.values = self._evaluate(self.points)
            self._generate()
            self._mix_as_played()
        if self.scarce and not self._is_settled():
            self._search_all_columns()

    def _is_settled(self) -> bool:
        """Whether what is attained meets the bound, or decides what was asked."""
        if self._decided is not None and self._decided(self.attained, self.bound):
            return True
        return self.bound <= self.attained + self.gap

    # ------------------------------------------------------------------------- columns

    def _of_one_posterior(self) -> Deviation:
        """The program of a single posterior; weights are what the others say, given the state."""
        problem = self.deviation
        return Deviation(
            weights=problem.weights[:, self.support] / self.prior,
            value=problem.value[self.support],
            utility=problem.utility[self.support],
            own=np.zeros((1, len(self.support))),
            rank=None if problem.rank is None else problem.rank[self.support],
            lowest=problem.lowest,
            payoff_range=problem.payoff_range,
        )

    def _regions(self, candidates: NDArray[np.bool_]) -> ActionRegions:
        n_signals, n_states = self.posterior.weights.shape
        pairs = np.stack([np.zeros(n_signals, dtype=np.int64), np.arange(n_signals)], 1)
        shape = (1, n_states)
        low, width = np.zeros(shape), np.ones(shape)
        return ActionRegions(self.posterior, low, width, pairs, candidates[0], 1.0, posterior=True)

    def _pool(self, generator: np.random.Generator) -> Array:
        """Posteriors to start from: vertices, the prior, the present ones, random faces."""
        size = len(self.support)
        own = self.deviation.own[:, self.support] * self.prior
        present = own[own.sum(1) > 0]
        each = self.posterior.weights.size * self.posterior.value.shape[1]
        count = int(min(POOL, max(POOL_WORK / each, 1)))
        spread = generator.exponential(size=(count, size))
        spread *= generator.random((count, size)) < generator.random((count, 1))
        spread = spread[spread.sum(1) > 0]
        pool = np.concatenate([np.eye(size), self.prior[None], present, spread])
        return pool / pool.sum(1, keepdims=True)

    def _evaluate(self, points: Array) -> Array:
        """Utility per unit of mass at posteriors `(B, S') -> (B,)`, on the boundaries of cells.

        As long as the budget lasts; minus infinity afterwards, but for the vertices.
        """
        values = np.full(len(points), -np.inf)
        n_signals, n_states = self.posterior.weights.shape
        n_actions = self.posterior.value.shape[1]
        entries = n_signals * (n_states + 4 * n_actions)
        step = min(self.budget.rows(8 * entries), max(1, int(CHUNK // entries)))
        for start in range(0, len(points), step):
            if start >= n_states and self.budget.over:
                break
            part = slice(start, start + step)
            values[part] = self.posterior.closure(points[part])[0].sum(-1)
            if self._own_cells_only:
                played = self.posterior.played(points[part]).sum(-1)
                for index in np.flatnonzero(values[part] > played + 1e-9):
                    found = self._approached(points[start + index])
                    reached = played[index] if found is None else max(found[0], played[index])
                    values[start + index] = reached
        return values

    def _approached(self, point: Array) -> tuple[float, NDArray[np.int64]] | None:
        """The best cell that the receiver's rule reaches, and that touches `point`.

        Returns:
            the utility at the point and the cell's actions `(1, J)`; None where none of the first
            `COMBINATIONS` is reached.
        """
        utility, open_to = self.posterior.open_actions(point)  # (J, A) each
        ranked = np.where(open_to, utility, -np.inf).argsort(1, kind="stable")[:, ::-1]
        sorted_utility = np.take_along_axis(utility, ranked, 1)
        rows = np.arange(len(ranked))
        counts = open_to.sum(1)
        for _, choice in zip(
            range(COMBINATIONS), _best_first(sorted_utility, counts), strict=False
        ):
            actions = ranked[rows, choice][None]
            if self._is_reached(actions):
                return float(sorted_utility[rows, choice].sum()), actions
        return None

    def _is_reached(self, actions: NDArray[np.int64]) -> bool:
        """Whether the receiver may take `actions (1, J)` at some posterior."""
        key = actions.tobytes()
        if key not in self._reached:
            self._reached[key] = self.regions.is_reached(actions, self.budget)
        return self._reached[key]

    def _add(self, points: Array) -> None:
        self.points = np.concatenate([self.points, points])
        self.values = np.concatenate([self.values, self._evaluate(points)])

    def _master(self, points: Array, values: Array) -> tuple[float, Array, Array] | None:
        """Best mixture of posteriors: value, weights, prices `(S',)` of mass; None on failure."""
        known = np.isfinite(values)
        program = LinearProgram(
            values[known],
            np.ones(np.count_nonzero(known)),
            csr_matrix(points[known].T),
            self.prior,
            self.prior,
        )
        solution = program.solve(self.budget)
        if solution.point is None:
            return None
        weights = np.zeros(len(values))
        weights[known] = solution.point
        return float(values[known] @ solution.point), weights, solution.prices

    def _generate(self) -> None:
        """Alternate master and pricing until the certificate meets the mixture."""
        # A mixture from the start: the vertices of the simplex, which the pool begins with.
        size = len(self.support)
        self.weights = np.concatenate([self.prior, np.zeros(len(self.values) - size)])
        best = float(self.values[:size] @ self.prior)
        prices_best: Array | None = None
        smooth = True
        while True:
            master = self._master(self.points, self.values)
            if master is None:  # mixture and certificate stay as they are
                self.status = Status.SUSPECT
                break
            best, self.weights, prices = master
            if self.bound <= best + self.gap or self.budget.over:
                break
            # With scarce signals the mixture need not be a policy: only the bound can decide.
            reached = -np.inf if self.scarce else best
            if self._decided is not None and self._decided(reached, self.bound):
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
                self.weights = np.append(self.weights, np.zeros(len(new)))
            smooth = bool(len(new)) or (better and smooth)
            if not len(new) and not better and np.array_equal(mixed, prices):
                self.status = status if status is not Status.OPTIMAL else Status.SUSPECT
                break
        if self.bound > best + self.gap and self.budget.over:
            self.status = Status.TIME_LIMIT

    def _price(self, prices: Array) -> tuple[Array, float, Status]:
        """Posteriors above the hyperplane, a bound of the largest excess, and the status."""
        found: list[Array] = []
        best = -np.inf

        def improve(hull: HullRelaxation, node: Node) -> float:
            nonlocal best
            if node.columns is not None:
                found.append(node.columns[0])
                value = node.value
                if self._own_cells_only:
                    value = self._evaluate(node.columns)[0] - float(node.columns[0] @ prices)
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
            reached=self._is_reached if self._own_cells_only else None,
        )
        points = np.array(found).reshape(-1, len(prices))
        points = np.maximum(points, 0.0)
        # A posterior always exists: an infeasible program is a failure of the solver.
        failed = outcome.status is Status.INFEASIBLE
        excess = np.inf if failed else outcome.bound
        return points / points.sum(1, keepdims=True), excess, outcome.status

    # ------------------------------------------------------------------------- policies

    def _attain(self, columns: Array) -> None:
        """Remember `columns (M, S)` if the game's receiver makes them the best so far."""
        policy = columns.T / columns.sum(0)[:, None]
        worth = float(self.deviation.played(policy.T).sum())
        if worth > self.attained:
            self.attained, self.witness = worth, policy

    def _mix_as_played(self) -> None:
        """The best mixture of the posteriors in use, and of others a little inside their cells."""
        used = self.points[self.weights > USED]
        near = [np.eye(len(self.support)), self.prior[None], used, *map(self._inwards, used)]
        points = np.concatenate(near)
        values = self.posterior.played(points).sum(-1)
        self._attain(self._columns(self.weights, self.points))
        master = self._master(points, values)
        if master is not None:
            self._attain(self._columns(master[1], points))

    def _inwards(self, point: Array) -> Array:
        """Posteriors `(B, S')` near `point`, inside the best cell that touches it."""
        found = None if self.budget.over else self._approached(point)
        if found is None:
            return point[None]
        near = []
        for reach in INWARDS:
            low = np.maximum(point - reach, 0.0)[None]
            width = np.minimum(point + reach, 1.0) - low
            inside = self.regions.within(low, width).inside(found[1], self.budget)
            if inside is not None and inside[0] > -np.inf:
                near.append(inside[1][0] / inside[1].sum())
        return np.array(near).reshape(-1, len(point))

    def _columns(self, weights: Array, points: Array) -> Array:
        """A mixture as columns `(M, S)`; its heaviest posteriors where signals are scarce."""
        n_own, n_states = self.deviation.own.shape
        used = np.argsort(-weights, kind="stable")[:n_own]
        columns = np.zeros((n_own, n_states))
        shares = weights[used, None] * points[used] / self.prior
        columns[: len(used), self.support] = shares
        rest = np.maximum(1 - columns.sum(0), 0.0)
        if rest.max() > ROUNDING:
            columns[0] += np.where(self.deviation.prior > 0, rest, 0.0)
        nowhere = self.deviation.prior <= 0
        columns[:, nowhere] = self.deviation.own[:, nowhere]
        return columns

    def _search_all_columns(self) -> None:
        """Fewer signals than states: the program over all columns at once."""
        starts = (self.deviation.closure(self.witness.T)[1],)
        search = LocalResponse(self.deviation, 1.0, self.gap, self.budget, self._decided, starts)
        if search.attained > self.attained:
            self.attained, self.witness = search.attained, search.witness
        self.bound = min(self.bound, search.bound)
        self.status = Status.OPTIMAL if self._is_settled() else search.status


def _best_first(values: Array, counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """All choices `(J,)` of one entry in each row, the highest sum first.

    Args:
        values: `(J, A)`, falling in each row.
        counts: `(J,)`, how many entries of each row there are to choose from.
    """
    first = (0,) * len(values)
    heap, seen = [(0.0, first)], {first}  # what is lost, and the choice
    while heap:
        lost, choice = heapq.heappop(heap)
        yield np.array(choice)
        for row in np.flatnonzero(np.array(choice) + 1 < counts).tolist():
            step = (*choice[:row], choice[row] + 1, *choice[row + 1 :])
            if step not in seen:
                seen.add(step)
                less = values[row, choice[row]] - values[row, choice[row] + 1]
                heapq.heappush(heap, (lost + float(less), step))
