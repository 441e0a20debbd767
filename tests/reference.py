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
