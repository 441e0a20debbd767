"""Slow plain loops for persuasion games; imports nothing under test.

Shapes: `N` senders, `S` states, `M` signals, `A` actions, `K = M**N` joint signals in row-major
order, sender 0 slowest. Arguments are tensors or nested lists, of one game and one profile:

    prior     (S,)
    v         (S, A)     receiver utility
    u         (N, S, A)  sender utilities
    policies  (N, S, M)

Everything is computed in Python floats (double precision) whatever comes in; `tolerance` is the
relative tie tolerance, `TOLERANCE[dtype]` of the code under test. Tensors returned are float64.
"""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

Data = Tensor | Sequence[Any]

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-6}


def nested(data: Data) -> list[Any]:
    """`data` as nested lists of Python numbers."""
    return list(data.tolist() if isinstance(data, Tensor) else data)


def joint_signals(n_senders: int, n_signals: int) -> list[tuple[int, ...]]:
    """The `K` joint signals `(m_1, ..., m_N)`, sender 0 slowest."""
    return list(itertools.product(range(n_signals), repeat=n_senders))


def joint_weights(prior: Data, policies: Data) -> list[list[float]]:
    """`q_m(s) = prior(s) * prod_n pi_n(m_n | s)`: `K` rows of `S` numbers."""
    mu, pi = nested(prior), nested(policies)
    return [
        [mu[s] * math.prod(pi[n][s][m[n]] for n in range(len(pi))) for s in range(len(mu))]
        for m in joint_signals(len(pi), len(pi[0][0]))
    ]


def expected(q: Sequence[float], table: Sequence[Sequence[float]]) -> list[float]:
    """`sum_s q(s) table(s, a)` for every action: `(S,)`, `(S, A)` -> `A` numbers."""
    return [
        math.fsum(q[s] * table[s][a] for s in range(len(q)) if q[s]) for a in range(len(table[0]))
    ]


def spread(table: Sequence[Sequence[float]]) -> float:
    """Highest minus lowest entry of a table `(S, A)`."""
    return max(map(max, table)) - min(map(min, table))


def welfare_table(u: Data) -> list[list[float]]:
    """`(S, A)`: the sum of sender utilities `u (N, S, A)`."""
    senders = nested(u)
    return [
        [math.fsum(sender[s][a] for sender in senders) for a in range(len(senders[0][0]))]
        for s in range(len(senders[0]))
    ]


def criteria(v: Data, u: Data, tie_break: str) -> list[list[list[float]]]:
    """The tables `(S, A)` by which the receiver chooses, the most important first."""
    return {"first": [nested(v)], "senders": [nested(v), welfare_table(u)]}[tie_break]


def choose(
    q: Sequence[float], tables: Sequence[Sequence[Sequence[float]]], tolerance: float = 1e-9
) -> int:
    """The receiver's action at an unnormalised posterior `q (S,)`; `tables` from `criteria`.

    Actions within `tolerance * sum(q) * range of v` of the best are tied. `"first"` takes the
    lowest index; `"senders"` the highest expected sum of sender utilities, of which those within
    `tolerance * sum(q) * range of that sum` are tied once more, and then the lowest index.
    """
    tied = list(range(len(tables[0][0])))
    for table in tables:
        scores = expected(q, table)
        bar = max(scores[a] for a in tied) - tolerance * math.fsum(q) * spread(table)
        tied = [a for a in tied if scores[a] >= bar]
    return tied[0]


def receiver_actions(
    prior: Data,
    v: Data,
    u: Data,
    policies: Data,
    tie_break: str = "first",
    tolerance: float = 1e-9,
) -> list[int]:
    """The action at each of the `K` joint signals, -1 where the probability is 0."""
    tables = criteria(v, u, tie_break)
    return [
        choose(q, tables, tolerance) if math.fsum(q) > 0 else -1
        for q in joint_weights(prior, policies)
    ]


def posteriors(prior: Data, policies: Data) -> tuple[Tensor, Tensor]:
    """Probabilities `(K,)` and posteriors `(K, S)`, rows of zeros where the probability is 0."""
    weights = joint_weights(prior, policies)
    totals = [math.fsum(q) for q in weights]
    rows = [
        [x / total if total > 0 else 0.0 for x in q]
        for q, total in zip(weights, totals, strict=True)
    ]
    return torch.tensor(totals, dtype=torch.float64), torch.tensor(rows, dtype=torch.float64)


def _ex_ante(
    table: Sequence[Sequence[float]], weights: Sequence[Sequence[float]], actions: Sequence[int]
) -> float:
    """`sum_m sum_s q_m(s) table(s, a(m))`: `(S, A)`, `(K, S)`, `(K,)` -> a number."""
    return math.fsum(
        q[s] * table[s][a]
        for q, a in zip(weights, actions, strict=True)
        if a >= 0
        for s in range(len(q))
    )


def sender_utilities(
    prior: Data,
    v: Data,
    u: Data,
    policies: Data,
    tie_break: str = "first",
    tolerance: float = 1e-9,
) -> Tensor:
    """`(N,)`: ex-ante utilities of the senders."""
    actions = receiver_actions(prior, v, u, policies, tie_break, tolerance)
    weights = joint_weights(prior, policies)
    return torch.tensor([_ex_ante(t, weights, actions) for t in nested(u)], dtype=torch.float64)


def drawn_utilities(
    prior: Data,
    v: Data,
    u: Data,
    policies: Data,
    uniform: Data,
    tie_break: str = "first",
    tolerance: float = 1e-9,
) -> list[list[float]]:
    """`N` numbers `E[u_n | m]` for each joint signal drawn by a row of `uniform (D, 1 + N)`.

    The first number of a row falls on the state, the others on the senders' signals given it.
    """
    mu, pi = nested(prior), nested(policies)
    tables, rows = criteria(v, u, tie_break), []
    for state_number, *signal_numbers in nested(uniform):
        state = inverse_transform(mu, state_number)
        m = [inverse_transform(pi[n][state], x) for n, x in enumerate(signal_numbers)]
        q = [mu[s] * math.prod(pi[n][s][m[n]] for n in range(len(pi))) for s in range(len(mu))]
        a = choose(q, tables, tolerance)
        rows.append([expected(q, sender)[a] / math.fsum(q) for sender in nested(u)])
    return rows


def inverse_transform(weights: Sequence[float], number: float) -> int:
    """The entry of `weights` on which a `number` in [0, 1) falls."""
    shares = itertools.accumulate(weight / math.fsum(weights) for weight in weights)
    return next(index for index, total in enumerate(shares) if number < total)


def interval(values: Sequence[float], payoffs: float, confidence: float) -> tuple[float, float]:
    """Mean and half width of the two-sided empirical Bernstein interval, uncapped.

    Two sides and the variance's bound fail with probability `(1 - confidence) / 3` each: from
    Maurer and Pontil (2009), theorem 4, whose two events have half of their delta each.
    """
    count, log = len(values), math.log(3 / (1 - confidence))
    mean = math.fsum(values) / count
    variance = math.fsum((x - mean) ** 2 for x in values) / (count - 1)
    width = math.sqrt(2 * variance * log / count) + payoffs * 7 * log / (3 * (count - 1))
    return mean, width


def receiver_utility(
    prior: Data,
    v: Data,
    u: Data,
    policies: Data,
    tie_break: str = "first",
    tolerance: float = 1e-9,
) -> float:
    """The receiver's ex-ante utility."""
    actions = receiver_actions(prior, v, u, policies, tie_break, tolerance)
    return _ex_ante(nested(v), joint_weights(prior, policies), actions)


def full_revelation(
    prior: Data, v: Data, u: Data, tie_break: str = "first", tolerance: float = 1e-9
) -> Tensor:
    """`(N,)`: senders' utilities when the receiver knows the state."""
    mu, tables = nested(prior), criteria(v, u, tie_break)
    truth = [[float(t == s) for t in range(len(mu))] for s in range(len(mu))]
    actions = [choose(q, tables, tolerance) for q in truth]
    utilities = [
        math.fsum(mu[s] * sender[s][a] for s, a in enumerate(actions)) for sender in nested(u)
    ]
    return torch.tensor(utilities, dtype=torch.float64)


def no_information(
    prior: Data, v: Data, u: Data, tie_break: str = "first", tolerance: float = 1e-9
) -> Tensor:
    """`(N,)`: senders' utilities when the receiver knows only the prior."""
    silence = [[1.0] for _ in nested(prior)]
    return sender_utilities(prior, v, u, [silence] * len(nested(u)), tie_break, tolerance)


def margin(prior: Data, v: Data, policies: Data) -> float:
    """How far the profile is from a tie: the least gap between best and second-best action.

    Over joint signals of positive probability, as a share of `sum_s q_m(s) * range of v`;
    infinite with a single action, 0 where `v` is constant.
    """
    table = nested(v)
    gaps = [math.inf]
    for q in joint_weights(prior, policies):
        scores = sorted(expected(q, table), reverse=True)
        if math.fsum(q) > 0 and len(scores) > 1:
            unit = math.fsum(q) * spread(table)
            gaps.append((scores[0] - scores[1]) / unit if unit > 0 else 0.0)
    return min(gaps)


def simplex_projection(row: Data) -> list[float]:
    """The distribution nearest to `row`: `max(x - t, 0)` with the `t` that makes the sum 1.

    `t` by bisection in exact rational numbers, so rows of any scale are projected alike.
    """
    x = [Fraction(entry) for entry in nested(row)]
    low, high = max(x) - 1, max(x)  # the sum is at least 1 at `low`, and 0 at `high`
    for _ in range(60):
        middle = (low + high) / 2
        if sum(max(entry - middle, Fraction(0)) for entry in x) >= 1:
            low = middle
        else:
            high = middle
    return [float(max(entry - low, Fraction(0))) for entry in x]


def multilinear(tables: Data, policies: Data) -> list[float]:
    """`N` numbers `sum_s sum_m tables(n, s, m) prod_i pi_i(m_i | s)`; `tables (N, S, K)`."""
    pi = nested(policies)
    weights = joint_weights([1.0] * len(pi[0]), pi)  # (K, S)
    return [
        math.fsum(sender[s][k] * q[s] for k, q in enumerate(weights) for s in range(len(q)))
        for sender in nested(tables)
    ]


def multilinear_own_gradient(tables: Data, policies: Data) -> list[Any]:
    """`(N, S, M)`: slopes of each sender's utility in its own policy.

    Central differences, exact up to rounding for any step: the utility is linear in every entry.
    """
    pi = nested(policies)
    gradient = []
    for n, sender in enumerate(pi):
        gradient.append([[0.0] * len(row) for row in sender])
        for s, row in enumerate(sender):
            for m in range(len(row)):
                ends = []
                for step in (0.5, -0.5):
                    moved = [[list(r) for r in policy] for policy in pi]
                    moved[n][s][m] += step
                    ends.append(multilinear(tables, moved)[n])
                gradient[n][s][m] = ends[0] - ends[1]
    return gradient


def softmax(row: Sequence[float]) -> list[float]:
    """Softmax of numbers of which some, not all, may be -inf."""
    exponentials = [math.exp(x - max(row)) for x in row]
    return [e / math.fsum(exponentials) for e in exponentials]


def extragradient(
    tables: Data, start: Data, iterations: int, lr: float, step: str, projection: str
) -> list[Any]:
    """Extra-gradient ascent of the senders of `multilinear`, one profile `(N, S, M)`.

    Each iteration extrapolates from a point and then steps from the same point with the gradient
    at the extrapolated one; Adam's moments advance at both.
    """
    pi = nested(start)
    index = [(n, s) for n in range(len(pi)) for s in range(len(pi[0]))]
    first = {(n, s, m): 0.0 for n, s in index for m in range(len(pi[0][0]))}
    second = dict(first)
    point = {
        (n, s): [math.log(p) if p else -math.inf for p in pi[n][s]]
        if projection == "softmax"
        else list(pi[n][s])
        for n, s in index
    }
    at, count = pi, 0
    for half in range(2 * iterations):
        own, count = multilinear_own_gradient(tables, at), count + 1
        moved = {}
        for n, s in index:
            slopes, p = own[n][s], at[n][s]
            if projection == "softmax":  # d p_j / d logit_m = p_j (1[j = m] - p_m)
                slopes = [
                    math.fsum(
                        g * q * ((j == m) - p[m])
                        for j, (g, q) in enumerate(zip(slopes, p, strict=True))
                    )
                    for m in range(len(p))
                ]
            else:  # within the simplex
                slopes = [g - math.fsum(slopes) / len(slopes) for g in slopes]
            if step == "adam":
                for m, g in enumerate(slopes):
                    first[n, s, m] = 0.9 * first[n, s, m] + 0.1 * g
                    second[n, s, m] = 0.999 * second[n, s, m] + 0.001 * g**2
                slopes = [
                    (first[n, s, m] / (1 - 0.9**count))
                    / (math.sqrt(second[n, s, m] / (1 - 0.999**count)) + 1e-8)
                    for m in range(len(p))
                ]
            moved[n, s] = [x + lr * g for x, g in zip(point[n, s], slopes, strict=True)]
            if projection == "euclidean":
                moved[n, s] = simplex_projection(moved[n, s])
        rows = moved if projection == "euclidean" else {k: softmax(x) for k, x in moved.items()}
        at = [[rows[n, s] for s in range(len(pi[0]))] for n in range(len(pi))]
        if half % 2 == 1:
            point = moved
    return at
