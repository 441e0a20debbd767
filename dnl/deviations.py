"""Random deviations of one sender, as the paper tries them (appendix B), and what they find."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dnl.tolerance import TOLERANCE, allowed_gain
from games import PersuasionGame
from games.randomness import stream

DEVIATIONS_PER_ENTRY = 100  # per sender and entry of its policy (paper)
CHUNK_ENTRIES = 2**21  # entries of deviations held at a time
FIRST_BLOCK = 100  # deviations that are tried before the others


def deviations_within(policy: Tensor, radius: float | None, noise: Tensor) -> Tensor:
    """Policies within `radius` of `policy`, from uniform noise in [0, 1].

    Uniform in the box of entries in [0, 1] at most `radius` away; a row whose sum is then off is
    moved back towards the nearer face of that box, each entry in proportion to its room, so it
    sums to 1 and stays inside.

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
        what each sender gains by its best one, at least 0, `(B, N)`, and `(B, N, S, M)`: row n is
        sender n's best one, its own policy where none gains.
    """
    gain = policies.new_zeros(policies.shape[:2])
    witness = policies.clone()
    everybody = torch.arange(len(policies), device=policies.device)
    for sender, noise in _noise(game, seed, deviations, policies):
        for rows in everybody.split(_at_once(noise)):
            best, policy = _best(game, policies[rows], sender, radius, noise)
            better = best > gain[rows, sender]  # never where nothing gains
            gain[rows[better], sender] = best[better]
            witness[rows[better], sender] = policy[better]
    return gain, witness


def unrefuted(
    game: PersuasionGame, policies: Tensor, radius: float | None, seed: int, deviations: int
) -> Tensor:
    """Which profiles `(B, N, S, M)` random deviations do not refute, as `verify`, but quicker.

    Arguments, unchecked, as in `verify`; deviations are the same. A profile that is refuted meets
    no more of them.

    Returns:
        `(B,)` bool.
    """
    most = allowed_gain(TOLERANCE, radius) * game.payoff_range.to(policies)  # (N,)
    left = torch.arange(len(policies), device=policies.device)
    for sender, noise in _noise(game, seed, deviations, policies):
        kept = [
            rows[_best(game, policies[rows], sender, radius, noise)[0] <= most[sender]]
            for rows in left.split(_at_once(noise))
        ]
        left = torch.cat(kept)
        if not len(left):
            break
    passed = torch.zeros(len(policies), dtype=torch.bool, device=policies.device)
    passed[left] = True
    return passed


def _noise(
    game: PersuasionGame, seed: int, deviations: int, like: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Senders with uniform noise `(d, S, M)`, block by block until each has met all deviations.

    All profiles meet the same noise: a result does not depend on its company. The first block is a
    small one, since few deviations refute most of what can be refuted.
    """
    most = max(1, CHUNK_ENTRIES // (game.n_states * game.n_signals))
    for sender in range(game.n_senders):
        generator = stream("verifier", seed, game.identity, sender)
        drawn = 0
        while drawn < deviations:
            size = min(most if drawn else FIRST_BLOCK, most, deviations - drawn)
            shape = (size, game.n_states, game.n_signals)
            noise = torch.rand(shape, dtype=torch.float64, generator=generator)
            yield sender, noise.to(like)
            drawn += size


def _at_once(noise: Tensor) -> int:
    """How many profiles meet all of a block of noise together."""
    return max(1, CHUNK_ENTRIES // noise.numel())


def _best(
    game: PersuasionGame, profiles: Tensor, sender: int, radius: float | None, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The most that `sender` gains in `profiles (b, N, S, M)`: `(b,)`, and how: `(b, S, M)`."""
    tried = deviations_within(profiles[:, sender].unsqueeze(1), radius, noise)
    best, index = game.deviation_gain(profiles, sender, tried).max(1)
    return best, tried[torch.arange(len(tried), device=tried.device), index]
