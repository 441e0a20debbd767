"""Games in which leaders commit and a follower best-responds, so that utilities jump.

Persuasion is one such game; contracts, security and price competition are others. As in
`PersuasionGame`, a profile of the leaders' decisions is a tensor of distributions.

Shapes: `B` profiles, `N` leaders, `S` rows of a leader's decision, `M` entries of a row, `A`
choices of the follower, `T` followers where there are several.
"""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from games.checks import Array
from games.persuasion.simulation import TIE_TOLERANCE, optimal_action
from games.surroundings import full_precision
from games.value import GameValue

CONTESTED_SHARE = 0.01  # of random profiles: not the most frequent choice, in a contested game
MAX_DRAWS = 1000  # of games until one is contested


@runtime_checkable
class FollowerGame(Protocol):
    """The interface that surrogates and solvers use.

    Attributes:
        shape: `(N, M, S, A)`.
        payoff_range: `(N,)`, how far apart two utilities of a leader can be, or an upper bound.
        identity: twelve hexadecimal digits that tell games apart.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    @property
    def payoff_range(self) -> Tensor: ...

    @property
    def identity(self) -> str: ...

    def sample_policies(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`(count, N, S, M)`, every row uniform on the simplex."""
        ...

    def ex_ante_utility(self, policies: Tensor) -> Tensor:
        """`(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`; differentiable inside pieces."""
        ...


class BaseFollowerGame(GameValue):
    """Base class of this package's games with a follower.

    The follower takes the choice of the highest score; choices within 1e-9 (float32 policies: 1e-6)
    of its utility range are tied, and the lowest index wins (`PersuasionGame`'s rule `"first"`).
    """

    @property
    @abstractmethod
    def follower_range(self) -> float:
        """How far apart two scores of a follower can be. The tie tolerance is a fraction of it."""

    @abstractmethod
    def _scores(self, policies: Tensor) -> Tensor:
        """The follower's utility of each choice: `(B, N, S, M) -> (B, A)` or `(B, T, A)`."""

    @abstractmethod
    def _utility(self, policies: Tensor, action: Tensor) -> Tensor:
        """The leaders' utilities `(B, N)` at choices `(B,)` or `(B, T)`."""

    def __repr__(self) -> str:
        n_leaders, n_entries, n_rows, n_choices = self.shape
        return f"{type(self).__name__}(N={n_leaders}, M={n_entries}, S={n_rows}, A={n_choices})"

    @full_precision()
    def ex_ante_utility(self, policies: Array) -> Tensor:
        """The leaders' utilities: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`.

        In the dtype and on the device of `policies`. Differentiable in `policies` where no
        follower's choice changes; the jumps carry no gradient.

        Args:
            policies: a tensor, or nested lists or an array, which count as float64.

        Raises:
            ValueError: if `policies` has the wrong shape or holds rows that are no distributions.
        """
        batch, single = self._batch(policies)
        utility = self._utility(batch, self._react(batch))
        return utility[0] if single else utility

    def follower_action(self, policies: Array) -> Tensor:
        """The choice, int64: `(B, N, S, M) -> (B,)`, or `(B, T)` where there are `T` followers.

        Without `B` for one profile.

        Raises:
            ValueError: as `ex_ante_utility`.
        """
        batch, single = self._batch(policies)
        action = self._react(batch)
        return action[0] if single else action

    @torch.no_grad()
    @full_precision()
    def _react(self, policies: Tensor) -> Tensor:
        scores = self._scores(policies)
        slack = scores.new_tensor(TIE_TOLERANCE[scores.dtype] * self.follower_range)
        return optimal_action([(scores, slack)], dim=-1)


def is_contested(game: BaseFollowerGame, policies: Tensor) -> bool:
    """Whether a follower's choice depends on the leaders, as far as `policies (B, N, S, M)` show.

    That is, some follower makes its most frequent choice in at most 99 % of them.
    """
    action = game.follower_action(policies)
    shares = torch.nn.functional.one_hot(action, game.shape[-1]).double().mean(0)  # ([T,] A)
    return bool((shares.amax(-1) <= 1 - CONTESTED_SHARE).any())
