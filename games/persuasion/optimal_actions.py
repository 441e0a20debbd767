"""Which actions can be optimal for a receiver, and the units of payoffs and ties that follow.

An action that no belief over the possible states makes optimal is never taken, and a state of
probability 0 never happens. Neither may decide what counts as a large gain or as a tie: a single
entry of 10^6 there would make every gain look small.

Shapes: `S` possible states, `A` actions.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from games.persuasion.simulation import TIE_TOLERANCE

Array = NDArray[np.float64]

# An action counts as never optimal if it is worse, at every belief, than some other action by this
# fraction of the unit: ten times more than the widest tie that a float64 simulation makes.
NEVER_OPTIMAL_MARGIN = 10 * TIE_TOLERANCE[torch.float64]


def expected_range(prior: Array, table: Array) -> float:
    """`sum_s prior(s) (max_a table(s, a) - min_a table(s, a))`: the most that actions can decide.

    Args:
        prior: `(S,)`.
        table: `(S, A)`.
    """
    return float(prior @ np.ptp(table, axis=1))


def payoff_range(prior: Array, table: Array) -> float:
    """`expected_range`, and 0 where it is no more than rounding of the entries."""
    unit = expected_range(prior, table)
    return unit if unit > 64 * 2**-52 * expected_size(prior, table) else 0.0


def expected_size(prior: Array, table: Array) -> float:
    """`sum_s prior(s) max_a |table(s, a)|`: what the rounding of entries is relative to."""
    return float(prior @ np.abs(table).max(1))


def tie_unit(prior: Array, table: Array, dtype: torch.dtype = torch.float64) -> float:
    """What the tie tolerance is a fraction of: the actions' expected range, or rounding to `dtype`.

    Entries that are equal but for `8 * eps` of their size tie, too.
    """
    rounding = 8 * torch.finfo(dtype).eps * expected_size(prior, table)
    return max(expected_range(prior, table), rounding / TIE_TOLERANCE[dtype])


def ever_optimal(prior: Array, utility: Array) -> NDArray[np.bool_]:
    """Which actions are optimal at some belief over the states of positive probability.

    Args:
        prior: `(S,)`, at least 0.
        utility: `(S, A)` of the receiver.

    Returns:
        `(A,)` bool. An action is out only where every belief has an action that is better by
        `NEVER_OPTIMAL_MARGIN` times the expected range of those left in.
    """
    possible = prior > 0
    prior, value = prior[possible], utility[possible]
    # How far an action is from being optimal, at the belief that suits it best; 0 where it is.
    short = np.full(value.shape[1], -np.inf)
    short[(value == value.max(1, keepdims=True)).any(0)] = 0.0
    mean = prior @ value
    short[mean == mean.max()] = 0.0
    for action in np.flatnonzero(np.isneginf(short)):
        short[action] = _shortfall(value, int(action))
    kept = short == 0
    for action in np.argsort(-short, kind="stable"):
        if -short[action] > NEVER_OPTIMAL_MARGIN * tie_unit(prior, value[:, kept]):
            break
        kept[action] = True
    return kept


def _shortfall(value: Array, action: int) -> float:
    """`max_q min_b sum_s q(s) (value(s, action) - value(s, b))` over beliefs q, at most 0."""
    ahead = value[:, [action]] - np.delete(value, action, axis=1)  # (S, A - 1)
    if (ahead.max(0) < 0).any():  # one rival is better in every state
        return float(ahead.max(0).min())
    with warnings.catch_warnings():  # scipy.sparse, which it imports, adds a filter of its own
        from scipy.optimize import linprog
    n_states, n_rivals = ahead.shape
    scale = np.abs(ahead).max()
    solved = linprog(
        np.append(np.zeros(n_states), -1.0),
        A_ub=np.column_stack([-ahead.T / scale, np.ones(n_rivals)]),
        b_ub=np.zeros(n_rivals),
        A_eq=np.append(np.ones(n_states), 0.0)[None],
        b_eq=[1.0],
        bounds=[*[(0, None)] * n_states, (None, 0)],
    )
    return float(-solved.fun * scale) if solved.status == 0 else 0.0
