"""A part of a game, as a game of its own: for surrogates that are to be optimised, not just to fit.

Uniform profiles hardly ever meet what a follower does near an optimum, where many choices are
nearly tied. So optimise a surrogate, zoom in on what was found, and fit another one there.
"""

import hashlib
import json

import torch
from torch import Tensor

from games import checks
from games.follower import FollowerGame


class Zoomed:
    """The profiles `(1 - size) * centre + size * x` of a game, told by `x`.

    They are those with at least `1 - size` times the probabilities of `centre`. Whatever asks for a
    game with a follower (surrogates, extra-gradient) works on `x`; `real` says what it stands for.

    Args:
        game: any game with a follower. A zoomed `PersuasionGame` is none: `"posterior-dnl"` refuses
            it.
        centre: `(N, S, M)`, a profile of the game.
        size: above 0 and at most 1, which is the whole game.

    Raises:
        ValueError: for a malformed centre or size.
    """

    def __init__(self, game: FollowerGame, centre: Tensor, size: float) -> None:
        n_leaders, n_entries, n_rows, _ = game.shape
        if not isinstance(centre, Tensor) or centre.ndim != 3:
            raise ValueError(f"centre must be one profile (N, S, M), got {centre!r}")
        checks.profiles("centre", centre, n_leaders, n_rows, n_entries)
        if checks.positive_number("size", size) > 1:
            raise ValueError(f"size must be at most 1, got {size!r}")
        self.game = game
        self.centre = centre.clone()
        self.size = size
        self.shape = game.shape
        self.payoff_range = game.payoff_range  # of the whole game: a bound
        told = json.dumps([game.identity, self.centre.tolist(), size])
        self.identity = hashlib.sha256(told.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Zoomed({self.game!r}, size={self.size})"

    def real(self, policies: Tensor) -> Tensor:
        """The profiles of the game that `policies (..., N, S, M)` stand for."""
        mixed = torch.lerp(self.centre.to(policies), policies, self.size)
        return mixed / mixed.sum(-1, keepdim=True)

    def sample_policies(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`(count, N, S, M)`, every row uniform on the simplex."""
        return self.game.sample_policies(count, generator)

    def ex_ante_utility(self, policies: Tensor) -> Tensor:
        """Of what `policies` stand for: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`."""
        n_leaders, n_entries, n_rows, _ = self.shape
        checks.profiles("policies", policies, n_leaders, n_rows, n_entries)
        return self.game.ex_ante_utility(self.real(policies))
