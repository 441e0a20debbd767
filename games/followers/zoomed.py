"""The part of a game around a profile, as a game of its own.

Near an optimum many of a follower's choices are nearly tied, and uniform profiles are hardly ever
near one. So optimise a surrogate, zoom in on the point found, and fit another surrogate there.
"""

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.followers.base import FollowerGame
from games.followers.derived import DerivedGame


class Zoomed(DerivedGame):
    """The part of a game around `centre`: `x` maps to `(1 - size) * centre + size * x`.

    It holds the profiles with at least `1 - size` times the probabilities of `centre`. Surrogates
    and extra-gradient work on `x`; `real` maps it to the profile of the game.

    Args:
        game: see `DerivedGame`.
        centre: `(N, S, M)`, a profile of the game.
        size: above 0 and at most 1, which is the whole game.

    Raises:
        ValueError: for a malformed centre or size.
    """

    def __init__(self, game: FollowerGame, centre: Array, size: float) -> None:
        super().__init__(game)
        n_leaders, n_entries, n_rows, _ = game.shape
        centre = checks.as_tensor("centre", centre)
        if centre.ndim != 3:
            raise ValueError(f"centre must be one profile (N, S, M), got {checks.shown(centre)}")
        checks.profiles("centre", centre, n_leaders, n_rows, n_entries)
        self.size = checks.positive_number("size", size)
        if self.size > 1:
            raise ValueError(f"size must be at most 1, got {checks.shown(size)}")
        self.centre = centre.detach().clone()

    def arguments(self) -> dict[str, object]:
        """The constructor's arguments as JSON values, the game by its identity."""
        return {"game": self.game.identity, "centre": self.centre.tolist(), "size": self.size}

    def __repr__(self) -> str:
        return f"Zoomed({self.game!r}, size={self.size})"

    def real(self, policies: Array) -> Tensor:
        """Map `policies (..., N, S, M)` to profiles of the game."""
        policies = checks.as_tensor("policies", policies)
        mixed = torch.lerp(self.centre.to(policies), policies, self.size)
        return mixed / mixed.sum(-1, keepdim=True)

    def ex_ante_utility(self, policies: Array) -> Tensor:
        """Utilities at `real(policies)`: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`."""
        return self.game.ex_ante_utility(self.real(self.as_policies(policies)))
