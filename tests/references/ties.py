"""Exact best responses and optimal persuasion where payoffs tie, by enumerating cells.

Imports nothing under test. All conditions are decided in integers, so ties are exact. A number
means the nearest fraction with a denominator of at most `DENOMINATOR` (0.1 means 1/10).

One sender deviates, the others stay. Shapes: `N` senders, `S` states, `M` signals, `A` actions,
`J` joint signals of the others with different posteriors. With column `c = pi(m | .)` the receiver
faces `q = c * w_j` at the others' joint signal j and takes

    "first":   the lowest index among the actions with the highest `v . q`;
    "senders": among those the actions with the highest `order . q`, where `order` is the sum of
               the senders' utilities, and among these the lowest index.

A *cell* is the set of columns that lead to given actions, one per j. It is a convex cone with some
strict conditions, and it may be empty or of lower dimension. On each cell the deviating sender's
utility is linear, so the supremum over deviations is a maximum over the *closures of the nonempty
cells*. With fewer signals than states, or within a radius, the cells of all the sender's columns
must also be possible at the same time.

Cones are lists of extreme rays in integers, cut by one half-space after another (the double
description method of Motzkin and others, 1953). Suitable for tiny games only.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import linprog

Vector = tuple[Fraction, ...]
Table = list[Vector]
Integers = tuple[int, ...]

DENOMINATOR = 10**9  # largest one of a fraction
EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


# ------------------------------------------------------------------------------- what is computed


def optimal_persuasion(
    prior: Any, v: Any, u: Any, n_signals: int, tie_break: str = "first"
) -> float:
    """Supremum of a single sender's utility; `(S,)`, `(S, A)`, `(S, A)`."""
    n_states = len(rational(prior))
    silence = [[1] + [0] * (n_signals - 1)] * n_states
    return best_response(prior, v, [u], [silence], 0, tie_break)


def best_response(
    prior: Any,
    v: Any,
    u: Any,
    policies: Any,
    sender: int,
    tie_break: str = "first",
    radius: float | None = None,
    *,
    together: bool = False,
) -> float:
    """Supremum of the utility of `sender` while the others keep their policies.

    Args:
        prior, v, u, policies: `(S,)`, `(S, A)`, `(N, S, A)`, `(N, S, M)`.
        sender: who deviates.
        tie_break: the game's rule.
        radius: largest entry-wise change of the sender's policy; None for any policy.
        together: enumerate the cells of all columns together even if one column at a time is
            enough (a slower cross-check).
    """
    problem = Deviation.of(prior, v, u, policies, sender, tie_break)
    own: Table = [tuple(row) for row in rational(policies)[sender]]
    own = [row for row, p in zip(own, rational(prior), strict=True) if p > 0]
    n_signals = len(own[0])
    if radius is None and n_signals >= len(own) and not together:
        return problem.envelope()
    return problem.jointly(n_signals, own, None if radius is None else rational([radius])[0])


def planner(prior: Any, v: Any, worth: Any, order: Any, floors: Sequence[Any] = ()) -> float:
    """Supremum of the expected `worth (S, A)` of a planner who may tell the receiver anything.

    Args:
        prior, v, worth: `(S,)`, `(S, A)`, `(S, A)`.
        order: `(S, A)`, which decides between optimal actions; None for the lowest index.
        floors: pairs of a table `(S, A)` and a lower bound of its expected value. If they cannot be
            met, the supremum is minus infinity.
    """
    tables = [_table(worth), *(_table(table) for table, _ in floors)]
    mu = tuple(rational(prior))
    problem = Deviation.at([mu], _table(v), tables[0], None if order is None else _table(order))
    here = [s for s, p in enumerate(mu) if p > 0]
    limited = [
        ([[float(t) for t in table[s]] for s in here], float(limit))
        for table, (_, limit) in zip(tables[1:], floors, strict=True)
    ]
    return problem.envelope(limited)


def utilities(
    prior: Any, v: Any, u: Any, policies: Any, tie_break: str = "first"
) -> list[Fraction]:
    """The senders' expected utilities under the exact rule, `N` of them, by plain loops."""
    mu, pi, senders = rational(prior), rational(policies), rational(u)
    value = _table(v)
    order = welfare(u) if tie_break == "senders" else None
    total = [Fraction(0)] * len(pi)
    for joint in itertools.product(range(len(pi[0][0])), repeat=len(pi)):
        q = [
            mu[s] * math.prod((pi[n][s][m] for n, m in enumerate(joint)), start=Fraction(1))
            for s in range(len(mu))
        ]
        if not any(q):
            continue
        a = _taken(q, value, order)
        for n, table in enumerate(senders):
            total[n] += sum((x * row[a] for x, row in zip(q, table, strict=True)), Fraction(0))
    return total


def _taken(q: Sequence[Fraction], v: Table, order: Table | None) -> int:
    tied = list(range(len(v[0])))
    for table in [v] if order is None else [v, order]:
        score = {a: sum(x * row[a] for x, row in zip(q, table, strict=True)) for a in tied}
        tied = [a for a in tied if score[a] == max(score.values())]
    return tied[0]


def welfare(u: Any) -> Table:
    """`(N, S, A) -> (S, A)`: the sum of the senders' utilities."""
    return [
        tuple(sum(entries, Fraction(0)) for entries in zip(*rows, strict=True))
        for rows in zip(*rational(u), strict=True)
    ]


def rational(data: Any) -> list[Any]:
    """Nested lists, arrays or tensors as nested lists of fractions."""
    if hasattr(data, "tolist"):
        data = data.tolist()
    return [
        rational(item)
        if hasattr(item, "__len__") or hasattr(item, "tolist")
        else Fraction(item).limit_denominator(DENOMINATOR)
        for item in data
    ]


def _table(data: Any) -> Table:
    return [tuple(row) for row in rational(data)]


# ------------------------------------------------------------------------------------------ cones


@dataclass(frozen=True)
class Cone:
    """A cone of nonnegative vectors.

    Attributes:
        rays: its extreme rays, each with a bit mask of the half-spaces at whose border it lies.
            Without rays the cone is the zero vector.
        cuts: number of half-spaces so far.
    """

    rays: tuple[tuple[Integers, int], ...]
    cuts: int

    @classmethod
    def of(cls, rays: Iterable[Integers], size: int) -> "Cone":
        """From all its extreme rays, where the half-spaces are `x >= 0`."""
        marked = [(ray, sum(1 << i for i, x in enumerate(ray) if x == 0)) for ray in rays]
        return cls(tuple(marked), size)

    def cut(self, normal: Integers) -> "Cone":
        """The part where `normal . x >= 0`."""
        bit = 1 << self.cuts
        sides = [(_dot(normal, ray), ray, borders) for ray, borders in self.rays]
        kept = [
            (ray, borders | (bit if side == 0 else 0)) for side, ray, borders in sides if side >= 0
        ]
        ahead = [entry for entry in sides if entry[0] > 0]
        behind = [entry for entry in sides if entry[0] < 0]
        for (plus, left, one), (minus, right, two) in itertools.product(ahead, behind):
            common = one & two
            # Two extreme rays span an edge if no third one lies at all of their borders.
            if sum(common & borders == common for _, borders in self.rays) == 2:
                crossing = tuple(plus * y - minus * x for x, y in zip(left, right, strict=True))
                kept.append((_reduced(crossing), common | bit))
        return Cone(tuple(kept), self.cuts + 1)

    def vanishes(self, normal: Integers) -> bool:
        """Whether `normal . x` is 0 on all of the cone."""
        return all(_dot(normal, ray) == 0 for ray, _ in self.rays)


@dataclass(frozen=True)
class Rule:
    """When an action is preferred to a rival: if `first . x > 0`; or if `first . x = 0` and
    `second . x > 0`; or if both are 0 and the rival has the higher index.

    Attributes:
        first, second: integer normals.
        strict: whether the rival has the lower index.
    """

    first: Integers
    second: Integers
    strict: bool


def obeying(cone: Cone, rules: Sequence[Rule], new: Sequence[Rule]) -> Cone | None:
    """Closure of the part of `cone` that obeys all rules; None if no point does.

    Args:
        cone: already cut by `rule.first` for each of `rules`, but not for the `new` ones.
        rules: known so far.
        new: further ones.

    The points that obey the rules form a convex set. If the first part of a rule vanishes on all of
    the closure, its second part decides and cuts the closure; then others may vanish. In the end
    the sum of the rays, a point of the relative interior, obeys all rules if any point does.
    """
    for rule in new:
        cone = cone.cut(rule.first)
    rules = [*rules, *new]
    tied: set[int] = set()
    while True:
        more = [i for i, r in enumerate(rules) if i not in tied and cone.vanishes(r.first)]
        if not more:
            break
        tied.update(more)
        for i in more:
            if any(rules[i].second):
                cone = cone.cut(rules[i].second)
    if any(rules[i].strict and cone.vanishes(rules[i].second) for i in tied):
        return None
    return cone


def _dot(x: Sequence[int], y: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(x, y, strict=True) if a and b)


def _reduced(x: Sequence[int]) -> Integers:
    divisor = math.gcd(*x) or 1
    return tuple(entry // divisor for entry in x)


def _integers(x: Sequence[Fraction]) -> Integers:
    """The same direction in integers without a common divisor."""
    multiple = math.lcm(*(entry.denominator for entry in x))
    return _reduced([int(entry * multiple) for entry in x])


# ------------------------------------------------------------------------------------------ cells


@dataclass(frozen=True)
class Cell:
    """Columns that lead to given actions at all joint signals of the others they can meet.

    Attributes:
        states: where the columns may be positive; elsewhere they are 0.
        rules: which they obey.
        slope: the sender's utility per unit of column, `(S,)`.
        cone: closure of the set of columns.
    """

    states: tuple[int, ...]
    rules: tuple[Rule, ...]
    slope: Vector
    cone: Cone


@dataclass(frozen=True)
class Deviation:
    """One sender's problem: `weights (J, S)`, `v (S, A)`, `u (S, A)`, `order (S, A)` or None.

    States of probability 0 are left out.
    """

    weights: list[Vector]
    v: Table
    u: Table
    order: Table | None

    @classmethod
    def of(
        cls, prior: Any, v: Any, u: Any, policies: Any, sender: int, tie_break: str
    ) -> "Deviation":
        """The problem of `sender` in a game and a profile."""
        mu, pi = rational(prior), rational(policies)
        others = [policy for n, policy in enumerate(pi) if n != sender]
        weights = [
            tuple(
                mu[s]
                * math.prod(
                    (o[s][m] for o, m in zip(others, joint, strict=True)), start=Fraction(1)
                )
                for s in range(len(mu))
            )
            for joint in itertools.product(range(len(pi[0][0])), repeat=len(others))
        ]
        order = {"first": None, "senders": welfare(u)}[tie_break]
        return cls.at(weights, _table(v), _table(rational(u)[sender]), order)

    @classmethod
    def at(cls, weights: list[Vector], v: Table, u: Table, order: Table | None) -> "Deviation":
        """Add up joint signals of the same posterior; leave out states of probability 0."""
        here = [s for s in range(len(v)) if any(w[s] for w in weights)]
        groups: dict[Vector, list[Vector]] = {}
        for w in weights:
            if total := sum(w):
                groups.setdefault(tuple(x / total for x in w), []).append(w)
        merged = [
            tuple(sum((w[s] for w in group), Fraction(0)) for s in here)
            for group in groups.values()
        ]
        return cls(
            merged,
            [v[s] for s in here],
            [u[s] for s in here],
            None if order is None else [order[s] for s in here],
        )

    @property
    def n_states(self) -> int:
        return len(self.v)

    def rules(self, j: int, action: int) -> list[Rule]:
        """The rules by which the receiver takes `action` at joint signal j of the others."""
        w, zero = self.weights[j], (0,) * self.n_states

        def over(table: Table, rival: int) -> Integers:
            return _integers(
                [x * (row[action] - row[rival]) for x, row in zip(w, table, strict=True)]
            )

        return [
            Rule(over(self.v, b), zero if self.order is None else over(self.order, b), b < action)
            for b in range(len(self.v[0]))
            if b != action
        ]

    def cells(self) -> Iterator[Cell]:
        """All nonempty cells, without that of the zero column.

        A joint signal of the others that shares no state with the column has probability 0, so no
        action is taken there.
        """
        meets = [
            frozenset(j for j, w in enumerate(self.weights) if w[s]) for s in range(self.n_states)
        ]
        faces = set()
        for count in range(1, self.n_states + 1):
            for states in itertools.combinations(range(self.n_states), count):
                met = frozenset().union(*(meets[s] for s in states))
                faces.add(tuple(s for s in range(self.n_states) if meets[s] <= met))
        for states in sorted(faces):
            met = frozenset().union(*(meets[s] for s in states))
            units = [tuple(int(s == t) for t in range(self.n_states)) for s in states]
            whole = Cone.of(units, self.n_states)
            yield from self._extended(
                states, sorted(met), whole, (), (Fraction(0),) * self.n_states
            )

    def _extended(
        self,
        states: tuple[int, ...],
        left: Sequence[int],
        cone: Cone,
        rules: tuple[Rule, ...],
        slope: Vector,
    ) -> Iterator[Cell]:
        """Cells within `cone`, with an action at each of the joint signals `left`."""
        if not left:
            yield Cell(states, rules, slope, cone)
            return
        j = left[0]
        for action in range(len(self.v[0])):
            new = self.rules(j, action)
            inside = obeying(cone, rules, new)
            if inside is not None and inside.rays:
                gained = tuple(
                    x + w * row[action]
                    for x, w, row in zip(slope, self.weights[j], self.u, strict=True)
                )
                yield from self._extended(states, left[1:], inside, (*rules, *new), gained)

    def envelope(self, floors: Sequence[tuple[Any, float]] = ()) -> float:
        """Supremum with as many own signals as states: the concave envelope of the cells' values.

        A linear program over the extreme rays of all closures. Its optimum uses at most S rays. If
        it uses S, each can move slightly into its cell, and the all-ones vector stays in their
        cone; if fewer, a spare column takes the rest. So the optimum is the supremum.

        Args:
            floors: tables `(S, A)` with lower bounds of their values (J = 1 only).
        """
        lowest = min(map(min, self.u))
        span = max(map(max, self.u)) - lowest or Fraction(1)
        columns, heights, extra = [], [], []
        for cell in self.cells():
            for ray, _ in cell.cone.rays:
                total = sum(ray)
                columns.append([x / total for x in ray])
                height = sum(x * y for x, y in zip(ray, cell.slope, strict=True)) / total
                mass = sum(x * w[s] for w in self.weights for s, x in enumerate(ray)) / total
                heights.append(float((height - lowest * mass) / span))
                if floors:
                    action = self._action_of(cell)
                    extra.append(
                        [
                            sum(
                                x * float(self.weights[0][s]) * table[s][action]
                                for s, x in enumerate(ray)
                            )
                            / total
                            for table, _ in floors
                        ]
                    )
        found = linprog(
            -np.array(heights),
            A_ub=-np.array(extra).T if floors else None,
            b_ub=-np.array([limit for _, limit in floors]) if floors else None,
            A_eq=np.array(columns, dtype=float).T,
            b_eq=np.ones(self.n_states),
            options=EXACT,
        )
        if found.status == 2:
            return -math.inf
        if found.status != 0:
            raise ArithmeticError(found.message)
        return float(lowest) - float(span) * float(found.fun)

    def _action_of(self, cell: Cell) -> int:
        """The action of a cell where J = 1."""
        return next(a for a in range(len(self.v[0])) if tuple(self.rules(0, a)) == cell.rules)

    def jointly(self, n_signals: int, own: Table, radius: Fraction | None) -> float:
        """Supremum over policies with `n_signals` signals, within `radius` of `own (S, M)`.

        Tries every assignment of a cell, or nothing, to each signal, if some policy has all its
        columns in their cells. Policies are the cone of `M * S` numbers (columns one after another)
        whose columns add up to the same number in every state.
        """
        n_states = self.n_states
        size = n_signals * n_states
        corners = []
        for sent in itertools.product(range(n_signals), repeat=n_states):
            ray = [0] * size
            for s, m in enumerate(sent):
                ray[m * n_states + s] = 1
            corners.append(tuple(ray))
        cone = Cone.of(corners, size)
        if radius is not None:
            cone = _within(cone, own, radius)
        nothing = Cell((), (), (Fraction(0),) * n_states, Cone((), 0))
        cells = [nothing, *self.cells()]
        best: list[Fraction] = []

        def assign(
            m: int, least: int, cone: Cone, rules: list[Rule], slopes: list[Fraction]
        ) -> None:
            if m == n_signals:
                best.append(max(_per_unit(ray, slopes, n_states) for ray, _ in cone.rays))
                best[:] = [max(best)]
                return
            # Without a radius signals are interchangeable, so cells in order suffice.
            for index in range(least, len(cells)):
                cell = cells[index]
                inside = cone
                for s in set(range(n_states)) - set(cell.states):
                    inside = inside.cut(_placed([-int(t == s) for t in range(n_states)], m, size))
                new = [
                    Rule(_placed(r.first, m, size), _placed(r.second, m, size), r.strict)
                    for r in cell.rules
                ]
                found = obeying(inside, rules, new)
                if found is not None and found.rays:
                    after = index if radius is None else 0
                    assign(m + 1, after, found, [*rules, *new], [*slopes, *cell.slope])

        assign(0, 0, cone, [], [])
        return float(best[0])


def _placed(column: Sequence[int], m: int, size: int) -> Integers:
    """A normal of column m, extended to all columns."""
    before = m * len(column)
    return (0,) * before + tuple(column) + (0,) * (size - before - len(column))


def _per_unit(ray: Integers, slopes: Sequence[Fraction], n_states: int) -> Fraction:
    total = sum((x * y for x, y in zip(ray, slopes, strict=True)), Fraction(0))
    return total / sum(ray[::n_states])  # the sum over columns in state 0


def _within(cone: Cone, own: Table, radius: Fraction) -> Cone:
    """The policies of a cone that are within `radius` of `own (S, M)`."""
    n_states, n_signals = len(own), len(own[0])
    for s, m in itertools.product(range(n_states), range(n_signals)):
        for sign in (1, -1):  # sign * (c_m(s) - own) + radius >= 0, scaled by the columns' sum
            normal = [
                (radius - sign * own[s][m]) * (i % n_states == 0)
                for i in range(n_states * n_signals)
            ]
            normal[m * n_states + s] += sign
            cone = cone.cut(_integers(normal))
    return cone
