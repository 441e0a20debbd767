"""A game with more random profiles in some parts, so that surrogates fit them well."""

from collections.abc import Sequence

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.followers.base import FollowerGame
from games.followers.derived import DerivedGame
from games.followers.zoomed import Zoomed
from games.randomness import generator_of


class Focused(DerivedGame):
    """A game whose random profiles are uniform on the whole game and on each of its parts in turn.

    Surrogates learn from random profiles. A fit to `Zoomed` sees one part only, in coordinates of
    that part. A fit to this class sees all parts together, in the game's own coordinates.

    Args:
        game: see `DerivedGame`.
        parts: of that game.

    Raises:
        ValueError: for a part of another game.
    """

    def __init__(self, game: FollowerGame, parts: Sequence[Zoomed] = ()) -> None:
        super().__init__(game)
        self.parts = checks.sequence("parts", parts)
        for part in self.parts:
            if not isinstance(part, Zoomed) or part.game != game:
                raise ValueError(
                    f"parts must be Zoomed parts of game={game!r}, got {checks.shown(part)}"
                )

    def arguments(self) -> dict[str, object]:
        """The constructor's arguments as JSON values, game and parts by their identity."""
        return {"game": self.game.identity, "parts": [part.identity for part in self.parts]}

    def __repr__(self) -> str:
        return f"Focused({self.game!r}, parts={len(self.parts)})"

    def sample_policies(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Random profiles `(count, N, S, M)`: one of the game, one of each part, and so on."""
        checks.positive_integer("count", count, least=0)
        policies = self.game.sample_policies(count, generator_of(seed, generator))
        every = len(self.parts) + 1
        for turn, part in enumerate(self.parts, start=1):
            policies[turn::every] = part.real(policies[turn::every])
        return policies

    def ex_ante_utility(self, policies: Array) -> Tensor:
        """The game's: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`."""
        return self.game.ex_ante_utility(self.as_policies(policies))
