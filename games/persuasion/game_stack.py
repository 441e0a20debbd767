"""Several games of one shape, simulated as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.persuasion import simulation, unilateral
from games.surroundings import contract, ordinary_tensors
from games.value import GameValue

if TYPE_CHECKING:
    from games.persuasion.game import PersuasionGame


@dataclass(frozen=True)
class GameStack:
    """Several games of one shape, simulated as one batch.

    Args:
        games: at least one; all of the same `shape` and `tie_break`.

    Raises:
        ValueError: if shapes or tie rules differ, or one is no `PersuasionGame`.
    """

    games: tuple[PersuasionGame, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "games", checks.sequence("games", self.games))
        if not self.games:
            raise ValueError("games must hold at least one game, got none")
        for game in self.games:
            if not isinstance(game, GameValue) or not hasattr(game, "tie_break"):
                raise ValueError(f"games must be PersuasionGames, got {checks.shown(game)}")
        kinds = {(game.shape, game.tie_break) for game in self.games}
        if len(kinds) > 1:
            raise ValueError(f"games must share shape (N, M, S, A) and tie_break, got {kinds}")

    def __len__(self) -> int:
        return len(self.games)

    @property
    def tie_break(self) -> str:
        """The games' common tie rule."""
        return self.games[0].tie_break

    @cached_property
    def _stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        columns = zip(*(game._tensors() for game in self.games), strict=True)
        with ordinary_tensors():  # they are kept, for gradients too
            prior, v, u = (torch.stack(column) for column in columns)
        return prior, v, u

    def tensors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prior `(G, S)`, receiver `(G, S, A)`, sender `(G, N, S, A)` utility, typed as `like`."""
        prior, v, u = (tensor.to(like) for tensor in self._stacked)
        return prior, v, u

    def receiver(self, like: Tensor) -> simulation.Receiver:
        """The games' receivers, typed as `like`."""
        _, v, u = self.tensors(like)
        units = like.new_tensor(self._tie_units[like.dtype])
        return simulation.Receiver(v, u, self.tie_break, units)

    @cached_property
    def _tie_units(self) -> dict[torch.dtype, list[tuple[float, ...]]]:
        """For each dtype and each game: the ranges of which the tie tolerance is a fraction."""
        return {
            dtype: [game.tie_units(dtype) for game in self.games]
            for dtype in simulation.TIE_TOLERANCE
        }

    def outcome_distribution(self, policies: Array, *, check: bool = True) -> Tensor:
        """Joint distribution of state and action: `(G, B, N, S, M) -> (G, B, S, A)`.

        `check=False` skips the validation of `policies`, which must then be a tensor.
        """
        if check:
            policies = self._checked(policies)
        prior, _, _ = self.tensors(policies)
        return simulation.outcome_distribution(prior, self.receiver(policies), policies)

    def ex_ante_utility(self, policies: Array, *, check: bool = True) -> Tensor:
        """Senders' expected utilities, each game its own: `(G, B, N, S, M) -> (G, B, N)`.

        `check=False` skips the validation of `policies`, which must then be a tensor.
        """
        if check:
            policies = self._checked(policies)
        _, _, u = self.tensors(policies)
        # In parts, so that not all outcome distributions are held at once.
        parts = policies.split(simulation.outcomes_held(policies, u.shape[-1]), 1)
        return torch.cat(
            [
                contract("gbsa,gnsa->gbn", self.outcome_distribution(part, check=False), u)
                for part in parts
            ],
            1,
        )

    def deviation_gain(
        self, games: Tensor, policies: Tensor, sender: int, deviations: Tensor
    ) -> Tensor:
        """What `sender` gains by deviating from its policy in each profile, unchecked.

        Args:
            games: `(B,)`, which game each profile is of.
            policies: `(B, N, S, M)`.
            sender: who deviates.
            deviations: `(B, D, S, M)`: its own policies to try.

        Returns:
            `(B, D)`; see `PersuasionGame.deviation_gain`.
        """
        prior, _, u = self.tensors(policies)
        return unilateral.deviation_gain(
            prior, u, self.receiver(policies), games, policies, sender, deviations
        )

    def _checked(self, policies: Array) -> Tensor:
        """`policies (G, B, N, S, M)` of these games as a tensor."""
        policies = checks.as_tensor("policies", policies)
        game = self.games[0]
        expected = (len(self), "B", game.n_senders, game.n_states, game.n_signals)
        if policies.ndim != 5 or (policies.shape[0], *policies.shape[2:]) != (
            expected[0],
            *expected[2:],
        ):
            raise checks.shape_error("policies", "(G, B, N, S, M)", expected, policies)
        checks.distributions("policies", policies)
        return policies


def stack(games: Sequence[PersuasionGame]) -> GameStack:
    """Same-shape games as one batch; see `GameStack`."""
    return GameStack(checks.sequence("games", games))
