"""Training samples: random profiles of a game and the ex-ante utilities there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from dnl.runtime.memory import SIMULATED_BYTES
from dnl.runtime.parallel import spread
from games import FollowerGame, PersuasionGame, checks, stack
from games.checks import shown
from games.chunk_sizes import NUMBER_BYTES
from games.randomness import stream
from games.surroundings import own_surroundings

Samples = tuple[Tensor, Tensor]
Sample = Callable[[Sequence[FollowerGame], int, int, str, torch.device, torch.dtype], Samples]


@own_surroundings()
def sample(
    games: Sequence[FollowerGame],
    count: int,
    seed: int,
    purpose: str,
    device: torch.device,
    dtype: torch.dtype,
) -> Samples:
    """Profiles `(G, count, N, S, M)` in `dtype`, utilities `(G, count, N)` in the games' dtype.

    Profiles are drawn in the games' dtype, a few games at a time.

    Args:
        games: at least one, of one class and of equal N, M and S.
        count: samples per game.
        seed, purpose: of each game's random stream.
        device: for simulation and result.
        dtype: of the profiles.

    Raises:
        ValueError: for a bad argument.
    """
    games = all_games(games)
    checks.positive_integer("count", count)
    checks.positive_integer("seed", seed, least=0)
    checks.filled("purpose", purpose)
    device = checks.device("device", device)
    if not isinstance(dtype, torch.dtype) or dtype not in checks.SUM_TOLERANCE:
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {shown(dtype)}")

    def draw(game: FollowerGame) -> Tensor:
        return game.sample_policies(count, stream("data", seed, game.identity, purpose))

    n_senders, n_signals, n_states, _ = games[0].shape
    size = (len(games), count, n_senders, n_states, n_signals)
    profiles = torch.empty(size, dtype=dtype, device=device)
    groups = _simulated_together(games, SIMULATED_BYTES // (NUMBER_BYTES * profiles[0].numel()))
    utilities = []
    for alike, place in zip(groups, profiles.split([len(g) for g in groups]), strict=True):
        drawn = torch.stack(spread(draw, alike, torch.get_num_threads())).to(device)
        persuasion = [game for game in alike if isinstance(game, PersuasionGame)]
        if persuasion:
            utilities.append(stack(persuasion).ex_ante_utility(drawn, check=False))
        else:
            utilities.append(alike[0].ex_ante_utility(drawn[0]).unsqueeze(0))
        place.copy_(drawn)
    return profiles, torch.cat(utilities)


def all_games(games: object) -> tuple[FollowerGame, ...]:
    """`games` as a tuple if it holds games, at least one."""
    if not isinstance(games, Iterable) or isinstance(games, str | bytes | Mapping):
        raise ValueError(f"games must be a sequence of games, got {shown(games)}")
    found = tuple(games)
    if not found:
        raise ValueError("games must hold at least one game, got none")
    for game in found:
        if not isinstance(game, FollowerGame):
            raise ValueError(f"games must be PersuasionGames or FollowerGames, got {shown(game)}")
    return found


class Remembered:
    """`sample` with a cache: equal arguments are drawn and simulated once.

    The cache lives as long as the object. Do not write to the tensors it returns.
    """

    def __init__(self) -> None:
        self.kept: dict[object, Samples] = {}

    def __call__(self, games: Sequence[FollowerGame], *what: Any) -> Samples:
        """See `sample` for the arguments."""
        games = all_games(games)
        key = (*(game.identity for game in games), *what)
        if key not in self.kept:
            self.kept[key] = sample(games, *what)
        return self.kept[key]


def _simulated_together(games: Sequence[FollowerGame], most: int) -> list[list[FollowerGame]]:
    """Groups of consecutive games to simulate as one batch: equal shapes, including actions."""

    def kind(game: FollowerGame) -> object:
        if isinstance(game, PersuasionGame):
            return game.shape, game.tie_break
        return id(game)

    groups, step = [], max(1, most)
    for _, same in groupby(games, kind):
        alike = list(same)
        groups += [alike[start : start + step] for start in range(0, len(alike), step)]
    return groups
