"""The program of one deviating sender, and why its bounds hold in floating point.

The others are fixed. Sender n chooses columns `c_m = pi_n(m | .)`, one per own signal m. At the
joint signal of m and the others' joint signal j the receiver's posterior is proportional to
`c_m * w_j`, where `w_j` is the prior times the others' probabilities of j. The sender's utility is
`sum_m f(c_m)`, with one function f for every own signal: piecewise linear and homogeneous of
degree 1.

Shapes: `J = M**(N-1)` joint signals of the others, `S` states, `A` actions that the receiver may
take, `M` own signals.

Soundness. All numbers are float64. The receiver may take any action that is optimal within `SLACK`,
in its unit of ties, times the joint signal's mass. This exceeds the simulator's tie tolerance
`TIE`. So the program allows whatever the game's own rule does at a tie that is only a boundary,
and every limit of policies. The slack is homogeneous in the mass, so tiny probabilities need no
care. They are never dropped; solvers cannot resolve them, but bounds follow from weak duality on
the data (`linear_program`), not from the solver.

At ties that are more than a boundary the game's rule decides (`tie_breaking`). If a search ends in
regions that the rule never reaches, these do not count (`action_regions`). Actions that are nearly
but not exactly tied always count. One narrow case remains: if three or more actions tie exactly,
the simulator may take, within about `TIE` of the tie, one that the rule takes nowhere.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnl.exact.linear_program import Array
from dnl.exact.tie_breaking import EQUAL_PAYOFFS, TIE, Ties, resolve_ties
from dnl.runtime.budget import FOREVER, Budget
from games import PersuasionGame

# All in the receiver's unit of ties, per mass.
SLACK = 2 * TIE  # by which an action may be worse than another and still be taken
TIE_BORDER = (0.5 * TIE, 2 * TIE)  # between these the simulator's rounding may decide
NEARLY_TIED = 4 * TIE  # actions this close in every possible state can be told apart at no belief
MARGINS = (1e-7, 3e-8, 0.0)  # leads of the actions that a witness wants, tried in turn
BOUNDARY_SLACK = 1e-7  # actions this close count as tied where values on boundaries are evaluated

LIKELIHOOD_DIGITS = 12  # likelihoods that agree to so many digits are merged


@dataclass(frozen=True, eq=False)
class Deviation:
    """What one sender faces while the others keep their policies.

    Attributes:
        weights: `(J, S)`, prior times the others' signal probabilities; `J` is smaller than
            `M**(N-1)` if joint signals of the same meaning are merged.
        value: `(S, A)` the receiver's utility over its unit of ties.
        utility: `(S, A)` the sender's utility over its payoff range, the lowest 0 in each state.
        own: `(M, S)` columns of the sender's policy in the profile.
        rank: `(S, A)`: among tied actions the receiver takes one of the highest expected rank, over
            its unit of ties; None if the lowest index decides.
    """

    weights: Array
    value: Array
    utility: Array
    own: Array
    rank: Array | None

    @cached_property
    def prior(self) -> Array:
        """`(S,)`."""
        return self.weights.sum(0)

    @cached_property
    def ties(self) -> Ties:
        """Ties at each of the others' joint signals: `P` is `J`."""
        possible = self.weights > 0
        group = _groups(possible)
        first = np.unique(group, return_index=True)[1]
        found = resolve_ties(self.value, self.rank, possible[first])
        return Ties(found.taken[group], found.ranked[group])

    @cached_property
    def is_ranked(self) -> bool:
        """Whether ranks decide any tie that is more than a boundary."""
        return bool(self.ties.ranked.any())

    @cached_property
    def ahead(self) -> Array:
        """`(A, A, S)`: value of the first action less that of the second."""
        return self.value.T[:, None, :] - self.value.T[None, :, :]

    @cached_property
    def rank_ahead(self) -> Array:
        """`(A, A, S)`: rank of the first action less that of the second; 0 without ranks."""
        if self.rank is None:
            return np.zeros_like(self.ahead)
        return self.rank.T[:, None, :] - self.rank.T[None, :, :]

    @cached_property
    def near(self) -> NDArray[np.bool_]:
        """`(A, A)`: whether two actions are nearly tied at every belief."""
        lead: Array = np.abs(self.ahead[..., self.prior > 0]).max(2)
        return lead <= NEARLY_TIED

    @cached_property
    def strict(self) -> NDArray[np.bool_]:
        """`(A, A)`: whether the first must be strictly better, since ties may go to the second."""
        index = np.arange(self.value.shape[1])
        comes_first = index[:, None] < index[None, :]
        least = self.rank_ahead[..., self.prior > 0].min(2)
        return ~self.near & ~((least > EQUAL_PAYOFFS) | ((least >= -EQUAL_PAYOFFS) & comes_first))

    def open_actions(self, columns: Array) -> tuple[Array, NDArray[np.bool_]]:
        """What the receiver may do near `columns`, if ties on boundaries may go any way.

        Args:
            columns: `(..., S)`.

        Returns:
            `(..., J, A)` each: the sender's utilities, normalised, and which actions are open.
        """
        mass = columns[..., None, :] * self.weights  # (..., J, S)
        value = np.where(self.ties.taken, mass @ self.value, -np.inf)  # (..., J, A)
        close = BOUNDARY_SLACK * mass.sum(-1, keepdims=True)
        open_to = value >= value.max(-1, keepdims=True) - close
        if self.is_ranked and self.rank is not None:
            rank = mass @ self.rank
            for a in range(self.value.shape[1]):
                above = np.where(self.ties.ranked[:, a], rank, -np.inf).max(-1)
                open_to[..., a] &= rank[..., a] >= above - close[..., 0]
            open_to |= ~open_to.any(-1, keepdims=True) & self.ties.taken
        return mass @ self.utility, open_to

    def closure(self, columns: Array) -> tuple[Array, NDArray[np.int64]]:
        """Utilities and actions if ties on boundaries favour the sender.

        Args:
            columns: `(..., S)`.

        Returns:
            `(..., J)` each: utilities, normalised, and actions.
        """
        utility, open_to = self.open_actions(columns)
        action = np.where(open_to, utility, -np.inf).argmax(-1)
        return np.take_along_axis(utility, action[..., None], -1)[..., 0], action

    def played(self, columns: Array) -> Array:
        """Utilities `(..., J)` of `columns (..., S)` by the game's own tie rule.

        At the border of the simulator's tie tolerance rounding decides; there we take the decision
        that is worse for the sender.
        """
        mass = columns[..., None, :] * self.weights  # (..., J, S)
        total = mass.sum(-1, keepdims=True)
        value, utility = mass @ self.value, mass @ self.utility  # (..., J, A)
        rank = None if self.rank is None else mass @ self.rank
        worst = np.full(value.shape[:-1], np.inf)
        for tie in TIE_BORDER:
            optimal = value >= value.max(-1, keepdims=True) - tie * total
            if rank is not None:
                among = np.where(optimal, rank, -np.inf)
                optimal = among >= among.max(-1, keepdims=True) - tie * total
            action = optimal.argmax(-1)[..., None]
            worst = np.minimum(worst, np.take_along_axis(utility, action, -1)[..., 0])
        return worst

    def candidates(
        self, low: Array, high: Array, budget: Budget = FOREVER
    ) -> NDArray[np.bool_] | None:
        """Actions that may be taken between two columns: `(M, S) -> (M, J, A)`.

        An action is out if the tie rule never takes it, or if interval bounds prove that another
        one beats it in all of the box. None if the budget does not suffice to tell.
        """
        taken = self.ties.taken
        wins = np.empty((len(low), *taken.shape), dtype=bool)
        for m in range(len(low)):
            if budget.over:
                return None
            beaten = self._most(self.ahead, low[m], high[m]) < 0  # (J, A, A)
            if self.is_ranked:
                beaten |= self.ties.ranked & (self._most(self.rank_ahead, low[m], high[m]) < 0)
            wins[m] = taken & ~(beaten & taken[:, None, :]).any(2)
        # In a tiny box rounding may leave no action: then any is open.
        return wins | (~wins.any(2, keepdims=True) & taken)

    def _most(self, ahead: Array, low: Array, high: Array) -> Array:
        """`(J, A, A)`: the most that the first action is ahead in a box, plus `SLACK`."""
        lead = (ahead + SLACK).reshape(-1, ahead.shape[2]).T  # (S, A A)
        most = (self.weights * low) @ lead
        most += (self.weights * (high - low)) @ np.maximum(lead, 0.0)
        return most.reshape(len(self.weights), *ahead.shape[:2])

    def box(self, radius: float) -> tuple[Array, Array]:
        """The box of columns within `radius` of `own`: corners and widths, `(M, S)` each.

        Entries of states of probability 0 stay as they are, and so does the only signal there is.
        """
        low = np.maximum(self.own - radius, 0.0)
        width = np.minimum(self.own + radius, 1.0) - low
        fixed = self.prior <= 0
        if len(self.own) == 1:
            fixed[:] = True
        low[:, fixed], width[:, fixed] = self.own[:, fixed], 0.0
        return low, width


def deviation(game: PersuasionGame, policies: Array, sender: int) -> Deviation:
    """The program of `sender` when the others play `policies (N, S, M)`, rows exact.

    Args:
        game: in float64 on the CPU.
        policies: of all senders.
        sender: who deviates.
    """
    weights = game.prior.numpy()[None, :]
    for n, policy in enumerate(policies):
        if n != sender:
            weights = (weights[:, None, :] * policy.T).reshape(-1, game.n_states)
    return _program(game, _merged(weights), policies[sender].T.copy(), sender)


def receiver_side(game: PersuasionGame) -> Deviation:
    """The receiver's utility and ties without any information.

    Stated as the program of a silent first sender when the others are silent too.

    Args:
        game: in float64 on the CPU.
    """
    return _program(game, game.prior.numpy()[None, :], np.ones((1, game.n_states)), 0)


def _program(game: PersuasionGame, weights: Array, own: Array, sender: int) -> Deviation:
    """The program of `sender` with columns `own (M, S)`, the others' `weights (J, S)`."""
    possible = game.possible_actions.numpy()
    v, u = game.receiver_utility.numpy(), game.sender_utility.numpy()
    units = game.tie_units(torch.float64)
    return Deviation(
        weights=weights,
        value=_over(v[:, possible], units[0]),
        utility=_over(u[sender][:, possible], game.payoff_range[sender].item()),
        own=own,
        rank=None if game.tie_break == "first" else _over(u.sum(0)[:, possible], units[1]),
    )


def _over(table: Array, unit: float) -> Array:
    """`table (S, A)` over `unit`, the lowest 0 in each state; all 0 if the unit is 0."""
    above: Array = table - table.min(1, keepdims=True)
    return above / unit if unit > 0 else np.zeros_like(above)


def _merged(weights: Array) -> Array:
    """Drop rows `(J, S)` that are all 0, and add up proportional ones: `(J', S)`."""
    mass = weights.sum(1)
    weights, mass = weights[mass > 0], mass[mass > 0]
    group = _groups((weights / mass[:, None]).round(LIKELIHOOD_DIGITS))
    merged = np.zeros((int(group.max()) + 1, weights.shape[1]))
    np.add.at(merged, group, weights)
    return merged


def _groups(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Group numbers `(J,)`, equal for equal rows `(J, S)`; numpy's `unique` is far slower."""
    order = np.lexsort(rows.T)
    changed = (rows[order[1:]] != rows[order[:-1]]).any(1)
    group = np.empty(len(rows), dtype=np.int64)
    group[order] = np.concatenate([[0], np.cumsum(changed)])
    return group
