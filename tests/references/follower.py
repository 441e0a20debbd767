"""Slow plain loops for games with a follower; imports nothing under test.

Numbers are Python's. `slack` is how much worse than its best choice a follower's choice may be and
still be tied: the relative tolerance times the follower's range, which callers derive by hand.
Extremes are computed in exact rational numbers by looking at every vertex.
"""

import itertools
from collections.abc import Sequence
from fractions import Fraction

Row = Sequence[float]
Table = Sequence[Sequence[float]]
Plane = tuple[list[Fraction], Fraction]  # normal and right-hand side


def choose(scores: Row, slack: float = 0.0) -> int:
    """The first of the choices within `slack` of the best."""
    return next(a for a, score in enumerate(scores) if score >= max(scores) - slack)


def contract(
    outcome_probabilities: Table,
    costs: Row,
    rewards: Row,
    max_wage: float,
    policies: Sequence[Table],
    slack: float,
) -> tuple[list[float], int]:
    """The principal's utility and the agent's action at `policies (1, O, 2)`."""
    wages = [max_wage * row[0] for row in policies[0]]
    scores = [
        sum(p * w for p, w in zip(row, wages, strict=True)) - cost
        for row, cost in zip(outcome_probabilities, costs, strict=True)
    ]
    action = choose(scores, slack)
    utility = 0.0
    for o, probability in enumerate(outcome_probabilities[action]):
        utility += probability * (rewards[o] - wages[o])
    return [utility], action


def security(
    defender_covered: Row,
    defender_uncovered: Row,
    attacker_covered: Row,
    attacker_uncovered: Row,
    policies: Sequence[Table],
    slack: float,
) -> tuple[list[float], int]:
    """The defender's utility and the attacked target at `policies (1, R, T)`."""
    scores, utilities = [], []
    for t in range(len(defender_covered)):
        coverage = min(1.0, sum(row[t] for row in policies[0]))
        scores.append(coverage * attacker_covered[t] + (1 - coverage) * attacker_uncovered[t])
        utilities.append(coverage * defender_covered[t] + (1 - coverage) * defender_uncovered[t])
    action = choose(scores, slack)
    return [utilities[action]], action


def pricing(
    values: Table,
    weights: Row,
    costs: Row,
    max_price: float,
    policies: Sequence[Table],
    slack: float,
) -> tuple[list[float], list[int]]:
    """The sellers' utilities and each type's choice (the last: none) at `policies (N, 1, 2)`."""
    prices = [max_price * policy[0][0] for policy in policies]
    utilities, actions = [0.0] * len(costs), []
    for value, weight in zip(values, weights, strict=True):
        scores = [v - p for v, p in zip(value, prices, strict=True)]
        action = choose([*scores, 0.0], slack)
        actions.append(action)
        if action < len(costs):
            utilities[action] += weight * (prices[action] - costs[action])
    return utilities, actions


def contract_program(
    outcome_probabilities: Table, costs: Row, rewards: Row, max_wage: float
) -> tuple[list[list[Fraction]], list[list[Fraction]]]:
    """Scores and utilities `(A, O + 1)`, linear in the wages over the highest; last a constant."""
    scores, utilities = [], []
    for row, cost in zip(outcome_probabilities, costs, strict=True):
        wages = [Fraction(p) * Fraction(max_wage) for p in row]
        reward = sum(Fraction(p) * Fraction(r) for p, r in zip(row, rewards, strict=True))
        scores.append([*wages, -Fraction(cost)])
        utilities.append([*(-w for w in wages), Fraction(reward)])
    return scores, utilities


def security_program(
    defender_covered: Row, defender_uncovered: Row, attacker_covered: Row, attacker_uncovered: Row
) -> tuple[list[list[Fraction]], list[list[Fraction]]]:
    """Scores and utilities `(T, T + 1)`, linear in the coverage; last a constant."""

    def rows(covered: Row, uncovered: Row) -> list[list[Fraction]]:
        table = [[Fraction(0)] * len(covered) + [Fraction(u)] for u in uncovered]
        for t, row in enumerate(table):
            row[t] = Fraction(covered[t]) - Fraction(uncovered[t])
        return table

    return rows(attacker_covered, attacker_uncovered), rows(defender_covered, defender_uncovered)


def extremes(
    scores: list[list[Fraction]], utilities: list[list[Fraction]], budget: int
) -> tuple[float, float]:
    """Lowest and highest utility of `x` in [0, 1] with `sum(x) <= budget`.

    The follower takes a choice of the highest score, whichever of those that are tied. Where it
    takes one and the same choice is a polytope, so that only its vertices need a look: points where
    as many bounds or ties hold as `x` has numbers.
    """
    size = len(scores[0]) - 1
    units = [[Fraction(i == j) for j in range(size)] for i in range(size)]
    planes: list[Plane] = [(unit, Fraction(b)) for unit in units for b in (0, 1)]
    planes.append(([Fraction(1)] * size, Fraction(budget)))
    for first, second in itertools.combinations(scores, 2):
        difference = [a - b for a, b in zip(first, second, strict=True)]
        planes.append((difference[:-1], -difference[-1]))
    found: list[Fraction] = []
    for chosen in itertools.combinations(planes, size):
        x = intersection(list(chosen))
        if x is None or min(x) < 0 or max(x) > 1 or sum(x) > budget:
            continue
        values = [evaluate(row, x) for row in scores]
        found += [
            evaluate(row, x)
            for row, value in zip(utilities, values, strict=True)
            if value == max(values)
        ]
    return float(min(found)), float(max(found))


def evaluate(row: list[Fraction], x: list[Fraction]) -> Fraction:
    """`row[:-1] . x + row[-1]`."""
    return sum((a * b for a, b in zip(row, x, strict=False)), row[-1])


def intersection(planes: list[Plane]) -> list[Fraction] | None:
    """The point on as many planes as there are dimensions, by elimination; None if not unique."""
    rows = [[*normal, right] for normal, right in planes]
    for i in range(len(rows)):
        pivot = next((k for k in range(i, len(rows)) if rows[k][i] != 0), None)
        if pivot is None:
            return None
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(len(rows)):
            if k != i:
                factor = rows[k][i]
                rows[k] = [x - factor * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]
