"""The best of random deviations of one sender (appendix B of the paper)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dnl.exact.tolerance import TOLERANCE, allowed_gain
from dnl.runtime.memory import DEVIATION_BYTES
from games import PersuasionGame, checks
from games.chunk_sizes import NUMBER_BYTES
from games.persuasion.game_stack import GameStack
from games.randomness import stream

DEVIATIONS_PER_ENTRY = 100  # per sender and entry of its policy (paper)
FIRST_BLOCK = 100  # deviations tried before the others


def deviations_within(policy: Tensor, radius: float | None, noise: Tensor) -> Tensor:
    """Policies within `radius` of `policy`, from uniform noise in [0, 1].

    Entries are drawn uniformly from [0, 1] within `radius` of the policy's. Each row is then moved
    until it sums to 1, every entry in proportion to its distance from the bound it moves to, so
    that it stays within the radius.

    Args:
        policy: `(..., S, M)`.
        radius: largest entry-wise distance, None for 1.
        noise: broadcastable to the result.
    """
    reach = 1.0 if radius is None else radius
    low = (policy - reach).clamp_min(0)
    high = (policy + reach).clamp_max(1)
    x = low + noise * (high - low)
    excess = x.sum(-1, keepdim=True) - 1
    room = torch.where(excess > 0, x - low, high - x)
    total = room.sum(-1, keepdim=True)
    share = torch.where(total > 0, excess / total, 0.0).clamp(-1, 1)
    return x - share * room


def best_sampled(
    game: PersuasionGame, policies: Tensor, radius: float | None, seed: int, deviations: int
) -> tuple[Tensor, Tensor]:
    """The best of random deviations from profiles `(B, N, S, M)`.

    Arguments, unchecked, as in `dnl.verify`.

    Returns:
        `(B, N)` what each sender gains by its best deviation, at least 0, and `(B, N, S, M)` that
        deviation in row n, the sender's own policy where none gains.
    """
    games = game.stacked()
    gain = policies.new_zeros(policies.shape[:2])
    witness = policies.clone()
    everybody = torch.arange(len(policies), device=policies.device)
    for sender, streams, size in _blocks(games, seed, deviations, policies):
        for rows, best, policy in _best(
            games, torch.zeros_like(everybody), policies, sender, radius, streams, size
        ):
            better = best > gain[rows, sender]  # never where nothing gains
            gain[rows[better], sender] = best[better]
            witness[rows[better], sender] = policy[better]
    return gain, witness


def unrefuted(
    games: GameStack, policies: Tensor, radius: float | None, seed: int, deviations: int
) -> Tensor:
    """Which profiles random deviations do not refute: as `dnl.verify` of each game, but quicker.

    The deviations are the same, but none is tried on a profile that is refuted already.

    Args:
        games: the true games.
        policies: `(G, B, N, S, M)`.
        radius, seed, deviations: unchecked, as in `dnl.verify`.

    Returns:
        `(G, B)` bool.

    Raises:
        ValueError: for policies that are no distributions.
    """
    checks.distributions("policies", policies)
    ranges = torch.stack([game.payoff_range for game in games.games]).to(policies)  # (G, N)
    most = allowed_gain(TOLERANCE, radius) * ranges
    profiles = policies.flatten(0, 1)
    left = torch.arange(len(profiles), device=policies.device)
    for sender, streams, size in _blocks(games, seed, deviations, policies):
        if not len(left):
            break
        of = left // policies.shape[1]
        found = _best(games, of, profiles[left], sender, radius, streams, size)
        left = torch.cat([left[rows[best <= most[of[rows], sender]]] for rows, best, _ in found])
    passed = torch.zeros(len(profiles), dtype=torch.bool, device=policies.device)
    passed[left] = True
    return passed.view(policies.shape[:2])


def _blocks(
    games: GameStack, seed: int, deviations: int, like: Tensor
) -> Iterator[tuple[int, list[torch.Generator], int]]:
    """Split the deviations into blocks: sender, the games' streams and number of deviations.

    The first block is small, since a few deviations refute most of what can be refuted.
    """
    most = max(1, _budget(like) // (len(games) * like.shape[-2:].numel()))
    for sender in range(like.shape[-3]):
        streams = [stream("verifier", seed, game.identity, sender) for game in games.games]
        drawn = 0
        while drawn < deviations:
            size = min(most if drawn else FIRST_BLOCK, most, deviations - drawn)
            yield sender, streams, size
            drawn += size


def _best(
    games: GameStack,
    of: Tensor,
    profiles: Tensor,
    sender: int,
    radius: float | None,
    streams: Sequence[torch.Generator],
    size: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The best of the next `size` deviations of `sender` from each of `profiles (b, N, S, M)`.

    `of (b,)` tells each profile's game. All profiles of a game share the noise, so a result does
    not depend on the other profiles. Nothing is drawn for a game without profiles.

    Yields:
        indices of some profiles `(p,)`, the largest gain `(p,)` and its deviation `(p, S, M)`.
    """
    if not len(profiles):
        return
    shape = (size, *profiles.shape[-2:])
    present, place = of.unique(return_inverse=True)
    drawn = [torch.rand(shape, dtype=torch.float64, generator=streams[g]) for g in present.tolist()]
    noise = torch.stack(drawn).to(profiles)  # (g, d, S, M)
    rows = torch.arange(len(profiles), device=profiles.device)
    for part in rows.split(max(1, _budget(profiles) // noise[0].numel())):
        own = (
            noise[place[part]] if len(noise) > 1 else noise
        )  # that of one game is broadcast, not copied
        tried = deviations_within(profiles[part, sender].unsqueeze(1), radius, own)
        best, index = games.deviation_gain(of[part], profiles[part], sender, tried).max(1)
        yield part, best, tried[torch.arange(len(part), device=part.device), index]


def _budget(like: Tensor) -> int:
    """How many entries of deviations are in memory at a time."""
    return DEVIATION_BYTES.get(like.device.type, DEVIATION_BYTES["cpu"]) // NUMBER_BYTES
