"""A part of a game, as a game of its own: for surrogates that are to be optimised, not just to fit.

Uniform profiles hardly ever meet what a follower does near an optimum, where many choices are
nearly tied. So optimise a surrogate, zoom in on what was found, and fit another one there.
"""

import torch
from torch import Tensor

from games import checks
from games.followers.base import FollowerGame
from games.followers.derived import DerivedGame


class Zoomed(DerivedGame):
    """The profiles `(1 - size) * centre + size * x` of a game, told by `x`.

    They are those with at least `1 - size` times the probabilities of `centre`. Whatever asks for a
    game with a follower (surrogates, extra-gradient) works on `x`; `real` says what it stands for.

    Args:
        game: see `DerivedGame`.
        centre: `(N, S, M)`, a profile of the game.
        size: above 0 and at most 1, which is the whole game.

    Raises:
        ValueError: for a malformed centre or size.
    """

    def __init__(self, game: FollowerGame, centre: Tensor, size: float) -> None:
        super().__init__(game)
        n_leaders, n_entries, n_rows, _ = game.shape
        if not isinstance(centre, Tensor) or centre.ndim != 3:
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

    def real(self, policies: Tensor) -> Tensor:
        """The profiles of the game that `policies (..., N, S, M)` stand for."""
        mixed = torch.lerp(self.centre.to(policies), policies, self.size)
        return mixed / mixed.sum(-1, keepdim=True)

    def ex_ante_utility(self, policies: Tensor) -> Tensor:
        """Of what `policies` stand for: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`."""
        self.check_policies(policies)
        return self.game.ex_ante_utility(self.real(policies))
