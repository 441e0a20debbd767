"""The program of one deviating sender, and how its soundness survives floating point.

With the others fixed, sender n chooses columns `c_m = pi_n(m | .)`. At the joint signal of its own
signal m and the others' joint signal j the receiver faces the posterior `c_m * w_j`, where `w_j` is
the prior times the others' probabilities of j. The sender gets `sum_m f(c_m)` with one function f
for every own signal: piecewise linear and homogeneous of degree 1 (DESIGN: columns decouple).

Shapes: `J = M**(N-1)` joint signals of the others, `S` states, `A` actions, `M` own signals.

Soundness. Everything is float64. The receiver may take any action that is optimal within `SLACK` of
its utility range, in units of the joint signal's mass: more than the simulator's tie tolerance of
1e-9, so the program allows whatever the game's own rule does, any tie rule, and every limit of
policies. The test is homogeneous in the mass, so tiny probabilities need no care. Masses too small
to matter are never dropped; they cannot be resolved by a solver either, but bounds are computed by
weak duality on the data (see `linear`), not read off the solver.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dnl.exact.linear import Array
from games import PersuasionGame

TIE = 1e-9  # the simulator's tolerance of ties
SLACK = 2e-9  # of the receiver's utility range, per mass: above the simulator's 1e-9
MARGINS = (1e-7, 1e-8, 0.0)  # by which the receiver prefers what a witness wants, in that unit
SAME = 12  # digits to which two likelihoods agree that are taken for one
CLOSE = 1e-7  # actions this close count as optimal where values on boundaries are evaluated


@dataclass(frozen=True, eq=False)
class Deviation:
    """What sender `n` of a profile faces.

    Attributes:
        weights: `(J, S)`, prior times the others' signal probabilities; `J` is smaller than
            `M**(N-1)` where joint signals that say the same are merged.
        value: `(S, A)` the receiver's utility over its range (0 everywhere where that is 0).
        utility: `(S, A)` the sender's utility, its lowest 0 and its highest 1.
        own: `(M, S)` columns of the sender's policy in the profile.
        order: `(S, A)`: among tied actions the game's receiver takes the one where this is highest
            in expectation, the first of them.
        lowest, payoff_range: utility in the game's units is `lowest + payoff_range * utility`.
        attained: ties go the game's way, and an action that they do not favour must be better by a
            margin. Otherwise they go the sender's way, as on the closure of the cells.
    """

    weights: Array
    value: Array
    utility: Array
    own: Array
    order: Array
    lowest: float
    payoff_range: float
    attained: bool = False

    def as_played(self) -> "Deviation":
        """The program of what deviations attain under the game's own tie rule."""
        return replace(self, attained=True)

    @cached_property
    def prior(self) -> Array:
        """`(S,)`."""
        return self.weights.sum(0)

    @property
    def margin(self) -> float:
        """By which the receiver must prefer an action where a tie will not do."""
        return MARGINS[0] if self.attained else 0.0

    @cached_property
    def strictness(self) -> Array:
        """`(A, A)`: 1 where the receiver takes the first action over the second only if it is
        better, 0 where a tie will do."""
        ahead = (self.order.T[:, None, :] > self.order.T[None, :, :]).all(2)
        return np.where(self.attained & ahead, 0.0, 1.0)

    @cached_property
    def advantage(self) -> Array:
        """`(A, A, S)`: value of the first action over the second, in favour by `SLACK`.

        What is attained: against it by a margin where a tie will not do.
        """
        difference = self.value.T[:, None, :] - self.value.T[None, :, :]
        if not self.attained:
            return difference + SLACK
        # Actions alike to the receiver in every state cannot be told apart by any margin.
        alike = (difference == 0).all(2)
        return difference - self.margin * (self.strictness * ~alike)[..., None]

    def closure(self, columns: Array) -> tuple[Array, NDArray[np.int64]]:
        """Utilities and actions if the receiver, where it is indifferent, favours the sender.

        What is attained: if ties go the game's way.

        Args:
            columns: `(..., S)`.

        Returns:
            `(..., J)` utilities, normalised, and actions.
        """
        mass = columns[..., None, :] * self.weights  # (..., J, S)
        value = mass @ self.value  # (..., J, A)
        close = TIE if self.attained else CLOSE
        tied = value >= value.max(-1, keepdims=True) - close * mass.sum(-1, keepdims=True)
        utility = mass @ self.utility
        preferred = mass @ self.order if self.attained else utility
        action = np.where(tied, preferred, -np.inf).argmax(-1)
        return np.take_along_axis(utility, action[..., None], -1)[..., 0], action

    def candidates(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Actions not proven suboptimal everywhere between two columns: `(M, S) -> (M, J, A)`.

        An action is out where some other one beats it by interval bounds in all of the box.
        """
        wins = np.empty((len(low), *self.weights.shape[:1], self.value.shape[1]), dtype=bool)
        favourable = np.maximum(self.advantage, 0.0)
        for m in range(len(low)):
            most = np.einsum("js,abs->jab", self.weights * low[m], self.advantage)
            most += np.einsum("js,abs->jab", self.weights * (high[m] - low[m]), favourable)
            wins[m] = (most >= 0).all(2)
        # What is attained may leave no action its margin in a tiny box: then any is open.
        return wins | ~wins.any(2, keepdims=True)

    def box(self, radius: float) -> tuple[Array, Array]:
        """Columns within `radius` of `own`: corners and widths, `(M, S)` each.

        States that never happen stay as they are.
        """
        low = np.maximum(self.own - radius, 0.0)
        width = np.minimum(self.own + radius, 1.0) - low
        nowhere = self.prior <= 0
        low[:, nowhere], width[:, nowhere] = self.own[:, nowhere], 0.0
        return low, width

    def in_units(self, utility: float) -> float:
        """Normalised utility in the game's units."""
        return self.lowest + self.payoff_range * utility


def deviation(game: PersuasionGame, policies: Array, sender: int) -> Deviation:
    """The program of `sender` when the others play `policies (N, S, M)`, rows exact."""
    prior, v, u = (
        tensor.double().cpu().numpy()
        for tensor in (game.prior, game.receiver_utility, game.sender_utility[sender])
    )
    weights = prior[None, :]
    for n, policy in enumerate(policies):
        if n != sender:
            weights = (weights[:, None, :] * policy.T).reshape(-1, len(prior))
    value_range, payoff_range = np.ptp(v), np.ptp(u)
    if game.tie_break == "first":
        order = np.broadcast_to(-np.arange(v.shape[1], dtype=np.float64), v.shape)
    else:
        order = game.sender_utility.double().cpu().numpy().sum(0)
    return Deviation(
        weights=_merged(weights),
        value=(v - v.min()) / value_range if value_range > 0 else np.zeros_like(v),
        utility=(u - u.min()) / payoff_range if payoff_range > 0 else np.zeros_like(u),
        own=policies[sender].T.copy(),
        order=order,
        lowest=float(u.min()),
        payoff_range=float(payoff_range),
    )


def _merged(weights: Array) -> Array:
    """Rows `(J, S)` that never happen left out, and proportional ones added up: `(J', S)`."""
    mass = weights.sum(1)
    weights, mass = weights[mass > 0], mass[mass > 0]
    _, group = np.unique((weights / mass[:, None]).round(SAME), axis=0, return_inverse=True)
    merged = np.zeros((int(group.max()) + 1, weights.shape[1]))
    np.add.at(merged, group.ravel(), weights)
    return merged
