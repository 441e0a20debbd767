"""What networks see of a game: utilities at random profiles, and nothing else."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from dnl.runtime.memory import SIMULATED_BYTES
from dnl.runtime.parallel import spread
from games import FollowerGame, PersuasionGame, stack
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
    """Profiles `(G, count, N, S, M)` in `dtype`, utilities `(G, count, N)` in the games' own.

    Profiles are drawn in the games' own precision, those of few games at a time.

    Args:
        games: at least one, of one class and of equal N, M and S.
        count: samples of each game.
        seed, purpose: of each game's stream.
        device: where they are simulated and kept.
        dtype: of the profiles.
    """

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


class Remembered:
    """`sample`, which draws and simulates what it is asked for again only once.

    What it has returned is kept as long as it is, and is not to be written to.
    """

    def __init__(self) -> None:
        self.kept: dict[object, Samples] = {}

    def __call__(self, games: Sequence[FollowerGame], *what: Any) -> Samples:
        """See `sample`, whose arguments these are."""
        key = (*(game.identity for game in games), *what)
        if key not in self.kept:
            self.kept[key] = sample(games, *what)
        return self.kept[key]


def _simulated_together(games: Sequence[FollowerGame], most: int) -> list[list[FollowerGame]]:
    """Neighbours that are simulated as one batch: of one shape, actions included."""

    def kind(game: FollowerGame) -> object:
        if isinstance(game, PersuasionGame):
            return game.shape, game.tie_break
        return id(game)

    groups, step = [], max(1, most)
    for _, same in groupby(games, kind):
        alike = list(same)
        groups += [alike[start : start + step] for start in range(0, len(alike), step)]
    return groups
