"""What equilibria are ranked by: welfare, one player's utility, or a weighted sum of utilities.

Nash equilibria come first, then those that are undecided, then those that are refuted. Each part is
ranked by the *worth* of its profiles, a weighted sum of the senders' and the receiver's ex-ante
utilities.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from dnl.equilibria.equilibrium import Equilibrium
from dnl.equilibria.verification import Verdict
from dnl.exact.tolerance import TOLERANCE
from dnl.exact.welfare_ceiling import WelfareCeiling, ceiling_of
from dnl.runtime.budget import FOREVER, Budget
from games import PersuasionGame, checks
from games.persuasion import persuasion_game
from games.persuasion.optimal_actions import payoff_range

WELFARE, RECEIVER = "welfare", "receiver"
RankBy = str | int | Sequence[float] | Tensor
SLACK = 1e-6  # of the payoff ranges
ORDER = (Verdict.CERTIFIED, Verdict.UNDECIDED, Verdict.REFUTED)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Weights of the players' utilities.

    Attributes:
        senders: `(N,)`, float64.
        receiver: the receiver's weight.
        label: in words, for example `"welfare"` or `"receiver's utility"`.
    """

    senders: Tensor
    receiver: float
    label: str

    def combine(self, senders: Tensor, receiver: Tensor | float = 0.0) -> Tensor:
        """The worth of utilities: `(..., N)` of the senders, `(...)` of the receiver -> `(...)`."""
        worth = (senders * self.senders).sum(-1)
        return worth + self.receiver * receiver if self.receiver else worth

    def of(self, game: PersuasionGame, policies: Tensor) -> Tensor:
        """The worth of profiles: `(B, N, S, M) -> (B,)`, or `(N, S, M) -> ()`."""
        receiver = game.receiver_ex_ante_utility(policies) if self.receiver else 0.0
        return self.combine(game.ex_ante_utility(policies), receiver)

    def table(self, game: PersuasionGame) -> Tensor:
        """`(S, A)`: the worth of each action in each state."""
        worth = (self.senders[:, None, None] * game.sender_utility).sum(0)
        return worth + self.receiver * game.receiver_utility if self.receiver else worth

    def spread(self, game: PersuasionGame) -> float:
        """The weighted sum of the players' payoff ranges: the unit of differences in worth."""
        spread = (self.senders.abs() * game.payoff_range).sum().item()
        if self.receiver:
            v = game.receiver_utility[:, game.possible_actions].numpy()
            spread += abs(self.receiver) * payoff_range(game.prior.numpy(), v)
        return spread

    def slack(self, game: PersuasionGame) -> float:
        """Differences in worth up to this do not count."""
        return SLACK * self.spread(game)

    def slack_of_ceiling(self, game: PersuasionGame) -> float:
        """The best Nash equilibrium may be this far below the ceiling of Nash equilibria.

        The ceiling lets senders lose what certificates tolerate, and others gain by that.
        """
        return self.slack(game) if self.label == WELFARE else 2 * TOLERANCE * self.spread(game)

    def ceiling(self, game: PersuasionGame, budget: Budget = FOREVER) -> WelfareCeiling:
        """Proven upper bounds of the worth of any profile and of any Nash equilibrium.

        A single planner can bring about every outcome that several senders can. So its best
        recommendation bounds the worth of all profiles, whatever the weights.
        """
        game = game.to("cpu", torch.float64)
        if game.n_signals == 1:  # there is one profile only
            silence = torch.ones(game.n_senders, game.n_states, 1, dtype=torch.float64)
            only = self.of(game, silence).item()
            return WelfareCeiling(only, only)
        return ceiling_of(game, self.table(game), budget)


def ranking_of(game: PersuasionGame, rank_by: RankBy = WELFARE) -> Ranking:
    """The ranking that a caller names.

    Args:
        game: the game.
        rank_by: `"welfare"` (the senders' sum), `"receiver"`, a sender's index or name (a sender of
            one of these two names is given by its index), or weights `(N,)` of the senders'
            utilities or `(N + 1,)` with the receiver's as the last. Weights may be negative: a
            player whose utility shall be low.

    Raises:
        ValueError: if `rank_by` is none of these, or all weights are 0.
    """
    n_senders = persuasion_game(game).n_senders
    if isinstance(rank_by, str) and rank_by == WELFARE:
        return Ranking(torch.ones(n_senders, dtype=torch.float64), 0.0, WELFARE)
    if isinstance(rank_by, str) and rank_by == RECEIVER:
        zeros = torch.zeros(n_senders, dtype=torch.float64)
        return Ranking(zeros, 1.0, "receiver's utility")
    if isinstance(rank_by, str | Integral):
        index = _sender(game, rank_by)
        one = torch.zeros(n_senders, dtype=torch.float64)
        one[index] = 1.0
        return Ranking(one, 0.0, f"utility of {game.labels.senders[index]}")
    if rank_by is None:
        raise ValueError(_wrong(game, rank_by))
    weights = checks.as_float_tensor("rank_by", rank_by).to("cpu", torch.float64)
    if weights.ndim != 1 or len(weights) not in (n_senders, n_senders + 1):
        raise ValueError(
            f"rank_by must hold {n_senders} weights (of the senders) or {n_senders + 1} (and of "
            f"the receiver), got {checks.shown(rank_by)}"
        )
    if not weights.any():
        raise ValueError(f"rank_by must hold a weight that is not 0, got {checks.shown(rank_by)}")
    receiver = weights[n_senders].item() if len(weights) > n_senders else 0.0
    told = ", ".join(f"{weight:g}" for weight in weights.tolist())
    return Ranking(weights[:n_senders], receiver, f"utility with the weights {told}")


def ranked(
    game: PersuasionGame, equilibria: Iterable[Equilibrium], ranking: Ranking
) -> tuple[Equilibrium, ...]:
    """Nash equilibria, then undecided, then refuted ones, each part by falling worth."""

    def place(one: Equilibrium) -> tuple[int, float]:
        return ORDER.index(one.nash), -ranking.of(game, one.policies).item()

    return tuple(sorted(equilibria, key=place))


def _sender(game: PersuasionGame, rank_by: int | str) -> int:
    try:
        return game.sender_index(rank_by)
    except ValueError as error:
        raise ValueError(_wrong(game, rank_by)) from error


def _wrong(game: PersuasionGame, rank_by: object) -> str:
    choices = (WELFARE, RECEIVER, *(game.sender_names or ()))
    return (
        f"rank_by must be {WELFARE!r}, {RECEIVER!r}, a sender (an index in "
        f"0..{game.n_senders - 1} or a name) or weights, got {checks.shown(rank_by)}"
        f"{checks.meant(rank_by, choices)}"
    )
