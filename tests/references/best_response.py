"""Slow exact best responses with numpy and scipy; imports nothing under test.

One sender deviates, the others stay. Shapes: `N` senders, `S` states, `M` signals, `A` actions,
`J = M**(N-1)` joint signals of the others, `C` columns. Arguments used throughout:

    weights  (J, S)  prior times the others' probabilities, from `others_weights`
    v        (S, A)  receiver utility
    u        (S, A)  utility of the deviating sender

With column `c = pi(m | .)` the sender's utility from own signal m is `f(c)`, a sum over the others'
joint signals. All answers are for the *closure*: at each joint signal the sender may pick among the
receiver's optimal actions. So they are at least the supremum under any tie rule, and equal to it
if near the optimum there are points at which the receiver's choice is unique.
"""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]

TIE = 1e-10  # of sum(q) x range of v: rounding, below the tie tolerance of the code under test
EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def others_weights(prior: Array, policies: Array, sender: int) -> Array:
    """`prior(s) * prod over the others of pi_i(m_i | s)`: `(S,)`, `(N, S, M)` -> `(J, S)`."""
    others = [policy for i, policy in enumerate(policies) if i != sender]
    signals = range(policies.shape[2])
    rows = [
        np.prod([prior] + [policy[:, m] for policy, m in zip(others, joint, strict=True)], axis=0)
        for joint in itertools.product(signals, repeat=len(others))
    ]
    return np.array(rows)


def column_value(columns: Array, weights: Array, v: Array, u: Array, tie: float = TIE) -> Array:
    """`f` at each of the columns `(C, S)`, upper closure: `(C,)`."""
    total = np.zeros(len(columns))
    for w in weights:
        q = columns * w  # (C, S)
        scores = q @ v  # (C, A)
        bar = scores.max(1) - tie * q.sum(1) * (v.max() - v.min())
        total += np.where(scores >= bar[:, None], q @ u, -np.inf).max(1)
    return total


def policy_value(policies: Array, weights: Array, v: Array, u: Array) -> Array:
    """The closure's value of each own policy `(D, S, M)`: `(D,)`."""
    n_deviations, n_states, n_signals = policies.shape
    columns = policies.transpose(0, 2, 1).reshape(-1, n_states)
    return column_value(columns, weights, v, u).reshape(n_deviations, n_signals).sum(1)


def indifference(weights: Array, v: Array) -> Array:
    """Normals `d` of the planes `d . c = 0` at which two actions tie at a joint signal: `(L, S)`.

    Scaled to a largest entry of 1; planes without a normal (no difference) are left out.
    """
    pairs = itertools.combinations(range(v.shape[1]), 2)
    normals = np.array([w * (v[:, a] - v[:, b]) for a, b in pairs for w in weights])
    normals = normals.reshape(-1, v.shape[0])
    sizes = np.abs(normals).max(1, initial=0.0)
    return normals[sizes > 0] / sizes[sizes > 0, None]


# -------------------------------------------------------------- any policy, at least S own signals


def two_states(weights: Array, v: Array, u: Array) -> float:
    """Supremum over all own policies where S = 2: upper concave hull over the posterior's axis."""
    d = indifference(weights, v)
    d = np.abs(d[d[:, 0] * d[:, 1] < 0])[:, ::-1]  # the column that solves d . c = 0
    columns = np.vstack([np.eye(2), np.full((1, 2), 0.5), d / d.sum(1, keepdims=True)])
    height = column_value(columns, weights, v, u)
    t = columns[:, 1]
    # Own columns sum to (1, 1) = 2 (1/2, 1/2): twice the hull's height at t = 1/2.
    best = height[t == 0.5].max()
    for left, low in zip(t, height, strict=True):
        for right, high in zip(t, height, strict=True):
            if left < 0.5 < right:
                best = max(best, (low * (right - 0.5) + high * (0.5 - left)) / (right - left))
    return float(2 * best)


def three_states(weights: Array, v: Array, u: Array) -> float:
    """Supremum over all own policies where S = 3 and M >= 3: every vertex of the arrangement.

    Between the lines of indifference f is linear. So its envelope is that of its values at the
    crossings of these lines with each other and with the edges of the simplex.
    """
    lines = np.vstack([np.eye(3), indifference(weights, v)])
    first, second = np.triu_indices(len(lines), 1)
    crossings = np.cross(lines[first], lines[second])  # (P, 3)
    sizes = np.abs(crossings).max(1)
    crossings = crossings[sizes > 1e-12] / sizes[sizes > 1e-12, None]
    crossings *= np.where(crossings.sum(1, keepdims=True) < 0, -1.0, 1.0)
    columns = np.clip(crossings[(crossings >= -1e-13).all(1)], 0.0, None)
    columns = columns / columns.sum(1, keepdims=True)
    return _envelope_at_ones(columns, column_value(columns, weights, v, u))


def _envelope_at_ones(columns: Array, height: Array) -> float:
    """`max sum_i x_i height_i` subject to `sum_i x_i columns_i = 1`, `x >= 0`."""
    found = linprog(-height, A_eq=columns.T, b_eq=np.ones(columns.shape[1]), options=EXACT)
    if found.status != 0:
        raise ArithmeticError(found.message)
    return float(-found.fun)


def persuasion(prior: Array, v: Array, u: Array) -> float:
    """Supremum of a single sender with M >= min(S, A): actions are recommended and obeyed."""
    n_states, n_actions = v.shape
    obey = []
    for a, b in itertools.permutations(range(n_actions), 2):
        row = np.zeros((n_states, n_actions))
        row[:, a] = v[:, b] - v[:, a]
        obey.append(row.ravel())
    spend = np.kron(np.eye(n_states), np.ones(n_actions))  # sum_a x[s, a] = prior[s]
    found = linprog(
        -u.ravel(),
        A_ub=np.array(obey) if obey else None,
        b_ub=np.zeros(len(obey)) if obey else None,
        A_eq=spend,
        b_eq=prior,
        options=EXACT,
    )
    if found.status != 0:
        raise ArithmeticError(found.message)
    return float(-found.fun)


# ------------------------------------------------------------- tiny games, any M, local or global


def box(policy: Array, radius: float | None) -> tuple[Array, Array]:
    """Least and largest entries within `radius` of `policy (S, M)`: `(S, M)` each."""
    reach = 1.0 if radius is None else radius
    return np.clip(policy - reach, 0.0, None), np.clip(policy + reach, None, 1.0)


def enumerated(
    weights: Array, v: Array, u: Array, policy: Array, radius: float | None = None
) -> tuple[float, Array]:
    """Best own policy within `radius` (None: any), trying every assignment of actions.

    One linear program per assignment of an action to each pair (own signal, others' joint signal).

    Returns:
        The closure's value and a policy `(S, M)` that attains it.
    """
    n_states, n_signals = policy.shape
    low, high = box(policy, radius)
    patterns = [
        _patterns(weights, v, low[:, m], high[:, m], silent=radius is None)
        for m in range(n_signals)
    ]
    # Globally, own signals are interchangeable.
    assignments = (
        itertools.combinations_with_replacement(patterns[0], n_signals)
        if radius is None
        else itertools.product(*patterns)
    )
    spend = np.tile(np.eye(n_states), n_signals)  # columns c_0, ..., c_{M-1} in a row
    bounds = np.stack([low.T.ravel(), high.T.ravel()], 1)
    best, where = -np.inf, policy
    for assignment in assignments:
        slope = np.concatenate([_slope(weights, u, pattern) for pattern in assignment])
        rows = [_obedience(weights, v, pattern) for pattern in assignment]
        obey = np.zeros((sum(map(len, rows)), n_states * n_signals))
        top = 0
        for m, block in enumerate(rows):
            obey[top : top + len(block), m * n_states : (m + 1) * n_states] = block
            top += len(block)
        found = _maximum(slope, obey, bounds, spend, np.ones(n_states))
        if found is not None and found[0] > best:
            best, where = found[0], found[1].reshape(n_signals, n_states).T
    return best, where


def _patterns(
    weights: Array, v: Array, low: Array, high: Array, silent: bool
) -> list[tuple[int, ...]]:
    """Patterns (an action per joint signal of the others) that some column in the box allows.

    `silent`: the column may always be 0, so patterns that only the zero column allows are dropped.
    """
    bounds = np.stack([low, high], 1)

    def possible(pattern: tuple[int, ...]) -> bool:
        found = _maximum(np.ones(len(low)), _obedience(weights, v, pattern), bounds)
        return found is not None and not (silent and found[0] < 1e-9)

    patterns: list[tuple[int, ...]] = [()]
    for _ in weights:
        longer = [(*pattern, a) for pattern in patterns for a in range(v.shape[1])]
        patterns = list(filter(possible, longer))
    return patterns


def _obedience(weights: Array, v: Array, pattern: tuple[int, ...]) -> Array:
    """Rows `r` with `r . c <= 0` where the column obeys the pattern, largest entry 1.

    The pattern says nothing about joint signals beyond its end.
    """
    rows = np.array(
        [
            w * (v[:, b] - v[:, a])
            for w, a in zip(weights, pattern, strict=False)
            for b in range(v.shape[1])
            if b != a
        ]
    ).reshape(-1, v.shape[0])
    sizes = np.abs(rows).max(1, initial=0.0)
    return rows[sizes > 0] / sizes[sizes > 0, None]


def _slope(weights: Array, u: Array, pattern: tuple[int, ...]) -> Array:
    """What the sender gets per unit of its column under the pattern: `(S,)`."""
    return np.sum([w * u[:, a] for w, a in zip(weights, pattern, strict=True)], axis=0)


def _maximum(
    slope: Array, obey: Array, bounds: Array, spend: Array | None = None, total: Array | None = None
) -> tuple[float, Array] | None:
    """Largest `slope . x` and its `x`; None where no `x` is feasible."""
    found = linprog(
        -slope,
        A_ub=obey if len(obey) else None,
        b_ub=np.zeros(len(obey)) if len(obey) else None,
        A_eq=spend,
        b_eq=total,
        bounds=bounds,
        options=EXACT,
    )
    if found.status == 2:
        return None
    if found.status != 0:
        raise ArithmeticError(found.message)
    return float(-found.fun), np.asarray(found.x)


# -------------------------------------------------------------------------------- lower bounds


def deviations(rng: np.random.Generator, policy: Array, radius: float | None, count: int) -> Array:
    """About `count` policies within `radius` of `policy (S, M)`: `(D, S, M)`.

    A third uniform in the box and moved back to sum 1, a third corners of the box with rows that
    sum to 1, a third with the mass of single states pulled from one signal to another; the last
    one is `policy` itself.
    """
    low, high = box(policy, radius)
    third = count // 3
    uniform = low + rng.random((third, *policy.shape)) * (high - low)
    excess = uniform.sum(-1, keepdims=True) - 1
    room = np.where(excess > 0, uniform - low, high - uniform)
    total = room.sum(-1, keepdims=True)
    uniform -= room * np.divide(excess, total, out=np.zeros_like(total), where=total > 0)
    corners = _corners(rng.standard_normal((third, *policy.shape)), low, high)
    return np.concatenate([uniform, corners, _pulled(rng, policy, low, high, third), policy[None]])


def _corners(objective: Array, low: Array, high: Array) -> Array:
    """Per row the policy in the box that maximises a linear objective: greedy, best signal first.

    `objective (D, S, M)`; `low`, `high (S, M)`.
    """
    order = np.argsort(-objective, -1)
    room = np.take_along_axis(np.broadcast_to(high - low, objective.shape), order, -1)
    left = (1 - low.sum(-1))[:, None] - np.cumsum(room, -1) + room  # before this signal's turn
    fill = np.empty_like(room)
    np.put_along_axis(fill, order, np.clip(np.minimum(left, room), 0.0, None), -1)
    return low + fill


def _pulled(rng: np.random.Generator, policy: Array, low: Array, high: Array, count: int) -> Array:
    """In each state, with probability 1/2, as much mass as fits (or part of it) goes m -> m'."""
    n_states, n_signals = policy.shape
    moved = np.repeat(policy[None], count, 0)
    part = np.where(rng.random((count, 1)) < 0.5, 1.0, rng.random((count, 1)))  # (D, 1)
    give = rng.integers(n_signals, size=(count, n_states))
    take = rng.integers(n_signals, size=(count, n_states))
    states = np.arange(n_states)
    mass = np.minimum((policy - low)[states, give], (high - policy)[states, take])  # (D, S)
    mass = mass * part * (rng.random((count, n_states)) < 0.5)
    rows = np.arange(count)[:, None]
    moved[rows, states, give] -= mass
    moved[rows, states, take] += mass
    return moved
