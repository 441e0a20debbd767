"""Ties at more than a boundary, and how the receiver's own rule breaks them.

Two actions that are equally good in every state that a joint signal leaves possible tie at every
posterior, so the rule decides at every posterior. It also decides if one action is at least as good
as another in every such state: wherever the other is optimal, so is the one.

Shapes: `P` sets of possible states, `S` states, `A` actions.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dnl.exact.linear_program import Array
from games.persuasion.simulation import TIE_TOLERANCE

Mask = NDArray[np.bool_]

TIE = TIE_TOLERANCE[torch.float64]  # of the simulator, in its unit of ties, per mass
# In the unit of ties: payoffs this close count as equal. Rounding is smaller as a rule, and the
# simulator, whose tolerance is four times as wide, ties them at every belief.
EQUAL_PAYOFFS = TIE / 4


@dataclass(frozen=True, eq=False)
class Ties:
    """What the tie rule says of actions that tie at more than a boundary.

    Attributes:
        taken: `(P, A)`: False for an action that the rule never takes there, because it prefers
            another that is at least as good in every possible state.
        ranked: `(P, A, A)`: True for actions a and b, both taken, where b is at least as good as a
            in every possible state. So a is taken only at posteriors where its rank is at least
            b's. All False under the rule `"first"`.
    """

    taken: Mask
    ranked: Mask


def resolve_ties(value: Array, rank: Array | None, possible: Mask) -> Ties:
    """Resolve the receiver's ties at joint signals that leave certain states possible.

    Args:
        value: `(S, A)` the receiver's utility, over its unit of ties.
        rank: `(S, A)`: among tied actions the receiver takes one of the highest expected rank, over
            its unit of ties; None if the lowest index decides.
        possible: `(P, S)`, at least one state each.
    """
    n_actions = value.shape[1]
    first = np.tri(n_actions, k=-1, dtype=bool)  # [a, b]: b comes before a
    weak = _at_least_as_good(value, possible)
    if rank is None:
        return Ties(taken=~(weak & first).any(2), ranked=np.zeros_like(weak))
    taken = ~(weak & first & _at_least_as_good(rank, possible)).any(2)
    return Ties(taken, weak & taken[:, :, None] & taken[:, None, :])


def _at_least_as_good(table: Array, possible: Mask) -> Mask:
    """`(P, A, A)`: whether the second action is at least as good in every possible state."""
    ahead = table[:, None, :] - table[:, :, None]  # (S, A, A)
    fails = (ahead < -EQUAL_PAYOFFS).astype(np.float64)
    weak: Mask = np.tensordot(possible.astype(np.float64), fails, 1) == 0  # (P, A, A)
    return weak & ~np.eye(table.shape[1], dtype=bool)
