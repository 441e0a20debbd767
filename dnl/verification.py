"""Is a profile an epsilon-local Nash equilibrium of the true game?

Verification sees the true game only, never a surrogate. `"exact"` bounds what each sender can gain
from above and decides. `"sampled"` tries random deviations, as the paper does (appendix B): what it
finds is a *lower* bound on what a sender can gain, so it can refute a profile and never prove one.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dnl.exact.parallel import spread
from dnl.exact.response import BestResponse, exact_rows, respond
from games import PersuasionGame, checks
from games.randomness import stream

METHODS = ("exact", "sampled")
TOLERANCE = 1e-5  # gain, as a fraction of the payoff range, that does not count
REFERENCE_RADIUS = 0.005  # radius at which the tolerance is the whole stated one
DEVIATIONS_PER_ENTRY = 100  # sampled deviations per sender and entry of its policy (paper)
CHUNK_ENTRIES = 2**21  # entries of deviations held at a time
FIRST_BLOCK = 100  # deviations that are tried before the others


@dataclass(frozen=True, eq=False)
class Verification:
    """What verification found for one profile, or (with the axis `B`) for a batch.

    Attributes:
        gain: `(N,)` or `(B, N)`, at least 0, in units of utility. `"exact"`: no deviation of the
            sender gains more, whatever the receiver's tie rule. `"sampled"`: the most that one was
            found to gain, a lower bound.
        relative_gain: `gain` as a fraction of the sender's payoff range; 0 where that is 0.
        verdict: `"certified"`, `"refuted"` or `"undecided"` (exact), `"refuted"` or
            `"not refuted"` (sampled); a tuple of `B` of them for a batch.
        witness: `(N, S, M)` or `(B, N, S, M)`: row n is sender n's best deviation found, its own
            policy where none gains.
        witness_gain: `gain`'s shape: what the witness gains in the simulator.
        status: of the exact computation per sender (`dnl.exact.status.Status`), a tuple of `N`, or
            a tuple of `B` of them; `"complete"` for sampling.
        seconds: `gain`'s shape: time per sender (sampling: the batch's, shared equally).
        game, method, radius, tolerance, seed: what was asked; `radius` is the largest entry-wise
            change of a policy, None for any.
        deviations: the number tried per sender; 0 for `"exact"`.
    """

    gain: Tensor
    relative_gain: Tensor
    verdict: str | tuple[str, ...]
    witness: Tensor
    witness_gain: Tensor
    status: tuple[str, ...] | tuple[tuple[str, ...], ...]
    seconds: Tensor
    game: str
    method: str
    radius: float | None
    tolerance: float
    deviations: int
    seed: int

    @property
    def is_equilibrium(self) -> bool | Tensor:
        """Whether the verdict is `"certified"` (bool, or `(B,)`); sampling never certifies."""
        if isinstance(self.verdict, str):
            return self.verdict == "certified"
        return torch.tensor([verdict == "certified" for verdict in self.verdict])


def verify(
    game: PersuasionGame,
    policies: Tensor,
    radius: float | None = 0.005,
    method: str = "exact",
    tolerance: float = TOLERANCE,
    time_limit: float = 60.0,
    seed: int = 0,
    *,
    deviations: int | None = None,
    workers: int = 1,
) -> Verification:
    """Decide whether a sender can gain by deviating within `radius` (Definition 3 of the paper).

    Args:
        game: the true game.
        policies: `(N, S, M)` or `(B, N, S, M)`. A profile's result does not depend on its company.
        radius: largest entry-wise change of a sender's policy, above 0; None for any policy.
        method: `"exact"` proves (needs highspy); `"sampled"` looks for deviations.
        tolerance: gains up to tolerance x payoff range x min(1, radius / 0.005) do not count.
        time_limit: seconds per profile for `"exact"`, from when that profile's turn comes; bounds
            are valid when it is over. Sampling always runs to its end.
        seed: of the verifier's stream; `"exact"` draws nothing from it.
        deviations: `"sampled"` only: tried per sender; None for 100 * S * M.
        workers: `"exact"` only: so many profiles at once, each on a core. Where no limit is hit the
            results do not depend on it.

    Returns:
        A `Verification` in the dtype and on the device of `policies`. Exact: *certified* where the
        bound of every sender's gain is within the tolerance, *refuted* where a witness gains more
        than that in the simulator, else *undecided* (see `status`).

    Raises:
        ValueError: for a bad argument.
        ImportError: for `"exact"` without highspy.
    """
    checks.one_of("method", method, METHODS)
    if radius is not None:
        radius = checks.positive_number("radius", radius)
    tolerance = checks.positive_number("tolerance", tolerance, allow_zero=method == "sampled")
    time_limit = checks.positive_number("time_limit", time_limit)
    checks.positive_integer("seed", seed, least=0)
    if deviations is None:
        deviations = DEVIATIONS_PER_ENTRY * game.n_states * game.n_signals
    elif method == "exact":
        raise ValueError(f"deviations is for method 'sampled', got {deviations!r} with 'exact'")
    checks.positive_integer("deviations", deviations)
    workers = checks.positive_integer("workers", workers)
    if workers > 1 and method == "sampled":
        raise ValueError(f"workers is for method 'exact', got {workers!r} with 'sampled'")
    game.check_policies(policies)
    batch = (policies.unsqueeze(0) if policies.ndim == 3 else policies).detach()
    allowed = allowed_gain(tolerance, radius)
    if method == "exact":
        found = _exact(game, batch, radius, allowed, time_limit, workers)
    else:
        found = _sampled(game, batch, radius, allowed, seed, deviations)
    if policies.ndim == 3:
        found = {name: value[0] for name, value in found.items()}
    return Verification(
        **found,
        game=game.identity,
        method=method,
        radius=radius,
        tolerance=tolerance,
        deviations=0 if method == "exact" else deviations,
        seed=seed,
    )


def decide(
    game: PersuasionGame,
    profile: Tensor,
    radius: float | None = 0.005,
    tolerance: float = TOLERANCE,
    time_limit: float = 60.0,
) -> str:
    """The exact verdict on one profile `(N, S, M)`, without tight bounds: as `verify`, but quicker.

    Arguments, unchecked, as in `verify`. Ends at the first sender that refutes the profile, and
    searches no further than the verdict needs.
    """
    allowed = allowed_gain(tolerance, radius)
    rows = torch.from_numpy(exact_rows(profile))
    judge = game.to("cpu", torch.float64)
    utilities = judge.ex_ante_utility(rows)
    deadline = time.perf_counter() + time_limit
    verdict = "certified"
    for n in range(game.n_senders):
        left = max(deadline - time.perf_counter(), 1e-3) / (game.n_senders - n)
        found = respond(judge, rows, n, radius, left, 0.4 * allowed, enough=0.9 * allowed)
        most = allowed * game.payoff_range[n].item()
        if found.utility - utilities[n].item() > most:
            return "refuted"
        if not found.upper_bound - utilities[n].item() <= most:
            verdict = "undecided"
    return verdict


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


def decide_many(
    game: PersuasionGame,
    profiles: Sequence[Tensor],
    radius: float | None = 0.005,
    time_limit: float = 60.0,
    workers: int = 1,
) -> list[str]:
    """`decide` on each of `profiles`, `(N, S, M)` all, up to `workers` at once."""

    def verdict(profile: Tensor) -> str:
        return decide(game, profile, radius, time_limit=time_limit)

    return spread(verdict, profiles, workers)


def allowed_gain(tolerance: float, radius: float | None) -> float:
    """Gain, as a fraction of the payoff range, that a verdict at `radius` does not count."""
    return tolerance * (1.0 if radius is None else min(1.0, radius / REFERENCE_RADIUS))


def _exact(
    game: PersuasionGame,
    batch: Tensor,
    radius: float | None,
    allowed: float,
    time_limit: float,
    workers: int,
) -> dict[str, Any]:
    """The fields of a batch's `Verification` by best responses with proven bounds."""

    def respond_all(rows: Tensor) -> list[BestResponse]:
        deadline = time.perf_counter() + time_limit
        responses = []
        for n in range(game.n_senders):
            # What earlier senders left of the time is shared by the later ones.
            left = max(deadline - time.perf_counter(), 0.0) / (game.n_senders - n)
            # Half of the tolerance for the gap: a gain of 0 is then always certified.
            responses.append(respond(game, rows, n, radius, left, 0.5 * allowed))
        return responses

    gain = batch.new_zeros(batch.shape[:2])
    witness_gain, seconds = torch.zeros_like(gain), torch.zeros_like(gain)
    witness = batch.clone()
    status, verdict = [], []
    ranges = game.payoff_range.double().cpu()
    judge = game.to("cpu", torch.float64)
    profiles = [torch.from_numpy(exact_rows(profile)) for profile in batch]
    found = spread(respond_all, profiles, workers)
    for b, (rows, responses) in enumerate(zip(profiles, found, strict=True)):
        utilities = judge.ex_ante_utility(rows)
        certified, refuted, statuses = True, False, []
        for n, response in enumerate(responses):
            most = max(response.upper_bound - utilities[n].item(), 0.0)
            got = response.utility - utilities[n].item()
            certified &= most <= allowed * ranges[n].item()
            refuted |= got > allowed * ranges[n].item()
            gain[b, n], seconds[b, n] = most, response.seconds
            if got > 0:
                witness[b, n], witness_gain[b, n] = response.policy.to(batch), got
            statuses.append(str(response.status))
        status.append(tuple(statuses))
        verdict.append("certified" if certified else "refuted" if refuted else "undecided")
    return _fields(game, gain, witness, witness_gain, status, seconds, verdict)


def _sampled(
    game: PersuasionGame,
    batch: Tensor,
    radius: float | None,
    allowed: float,
    seed: int,
    deviations: int,
) -> dict[str, Any]:
    """The fields of a batch's `Verification` by random deviations."""
    began = time.perf_counter()
    gain = batch.new_zeros(batch.shape[:2])  # (B, N)
    witness = batch.clone()
    everybody = torch.arange(len(batch), device=batch.device)
    for sender, noise in _noise(game, seed, deviations, batch):
        for rows in everybody.split(_at_once(noise)):
            best, policy = _best(game, batch[rows], sender, radius, noise)
            better = best > gain[rows, sender]  # never where nothing gains
            gain[rows[better], sender] = best[better]
            witness[rows[better], sender] = policy[better]
    refuted = (gain > allowed * game.payoff_range.to(batch)).any(1)
    return _fields(
        game,
        gain,
        witness,
        gain.clone(),
        [("complete",) * game.n_senders] * len(batch),
        torch.full_like(gain, (time.perf_counter() - began) / max(gain.numel(), 1)),
        ["refuted" if bad else "not refuted" for bad in refuted.tolist()],
    )


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


def _fields(
    game: PersuasionGame,
    gain: Tensor,
    witness: Tensor,
    witness_gain: Tensor,
    status: list[tuple[str, ...]],
    seconds: Tensor,
    verdict: list[str],
) -> dict[str, Any]:
    ranges = game.payoff_range.to(gain)
    return {
        "gain": gain,
        "relative_gain": torch.where(ranges > 0, gain / ranges, 0.0),
        "witness": witness,
        "witness_gain": witness_gain,
        "status": tuple(status),
        "seconds": seconds,
        "verdict": tuple(verdict),
    }


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
