"""Is a profile an epsilon-local Nash equilibrium of the true game?

Verification sees the simulator only, never a surrogate. `"sampled"` tries random deviations, as
the paper does (appendix B): what it finds is a *lower* bound on what a sender can gain, so it can
refute a profile and never prove one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from games import PersuasionGame, checks
from games.randomness import stream

METHODS = ("sampled",)
REFERENCE_RADIUS = 0.005  # radius at which the tolerance is the whole stated one
DEVIATIONS_PER_ENTRY = 100  # sampled deviations per sender and entry of its policy (paper)
CHUNK_ENTRIES = 2**21  # entries of deviations held at a time


@dataclass(frozen=True, eq=False)
class Verification:
    """What verification found for one profile, or (with the axis `B`) for a batch.

    Attributes:
        gain: `(N,)` or `(B, N)`, at least 0: the most that each sender was found to gain by
            deviating, in units of utility. A lower bound where `method` is `"sampled"`.
        relative_gain: `gain` as a fraction of the sender's payoff range; 0 where that is 0.
        verdict: `"refuted"` or `"not refuted"`; a tuple of `B` of them for a batch.
        witness: `(N, S, M)` or `(B, N, S, M)`: row n is sender n's best deviation found, its own
            policy where none gains.
        game, method, radius, tolerance, deviations, seed: what was asked; `radius` is the largest
            entry-wise change of a policy, None for any; `deviations` the number tried per sender.
    """

    gain: Tensor
    relative_gain: Tensor
    verdict: str | tuple[str, ...]
    witness: Tensor
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
    *,
    method: str,
    tolerance: float = 1e-5,
    time_limit: float = 60.0,
    seed: int = 0,
    deviations: int | None = None,
) -> Verification:
    """Look for profitable deviations within `radius` (Definition 3 of the paper).

    Args:
        game: the true game.
        policies: `(N, S, M)` or `(B, N, S, M)`. All profiles of a batch meet the same random
            deviations, so that a profile's result does not depend on its company.
        radius: largest entry-wise change of a sender's policy, above 0; None for any policy.
        method: `"sampled"`; there is no default, because sampling proves nothing. (`"exact"` comes
            with the next release.)
        tolerance: gains up to tolerance x payoff range x min(1, radius / 0.005) do not count.
        time_limit: seconds for exact methods; sampling always runs to its end.
        seed: of the verifier's stream.
        deviations: tried per sender; None for 100 * S * M.

    Returns:
        A `Verification` in the dtype and on the device of `policies`.

    Raises:
        ValueError: for a bad argument.
    """
    if method == "exact":
        raise ValueError(
            "method 'exact' is not available yet: it comes with the next release; "
            "use method='sampled'"
        )
    checks.one_of("method", method, METHODS)
    if radius is not None:
        checks.positive_number("radius", radius)
    checks.positive_number("tolerance", tolerance, allow_zero=True)
    checks.positive_number("time_limit", time_limit)
    checks.positive_integer("seed", seed, least=0)
    if deviations is None:
        deviations = DEVIATIONS_PER_ENTRY * game.n_states * game.n_signals
    checks.positive_integer("deviations", deviations)
    game.check_policies(policies)

    single = policies.ndim == 3
    batch = (policies.unsqueeze(0) if single else policies).detach()
    gain = batch.new_zeros(batch.shape[:2])  # (B, N)
    witness = batch.clone()
    at_once = max(1, CHUNK_ENTRIES // (game.n_states * game.n_signals))
    rows = max(1, at_once // deviations)  # profiles that meet all deviations together
    for sender in range(game.n_senders):
        generator = stream("verifier", seed, game.identity, sender)
        for drawn in range(0, deviations, at_once):
            size = (min(at_once, deviations - drawn), game.n_states, game.n_signals)
            noise = torch.rand(size, dtype=torch.float64, generator=generator).to(batch)
            for start in range(0, len(batch), rows):
                part = batch[start : start + rows]
                own = part[:, sender].unsqueeze(1)  # (b, 1, S, M)
                tried = deviations_within(own, radius, noise)  # (b, d, S, M)
                best, index = game.deviation_gain(part, sender, tried).max(1)  # (b,)
                better = best > gain[start : start + rows, sender]  # never where nothing gains
                found = tried[torch.arange(len(part), device=tried.device), index]
                gain[start : start + rows, sender][better] = best[better]
                witness[start : start + rows, sender][better] = found[better]

    ranges = game.payoff_range.to(batch)
    scale = 1.0 if radius is None else min(1.0, radius / REFERENCE_RADIUS)
    refuted = (gain > tolerance * scale * ranges).any(1)
    relative = torch.where(ranges > 0, gain / ranges, 0.0)
    verdict = tuple("refuted" if bad else "not refuted" for bad in refuted.tolist())
    return Verification(
        gain=gain[0] if single else gain,
        relative_gain=relative[0] if single else relative,
        verdict=verdict[0] if single else verdict,
        witness=witness[0] if single else witness,
        game=game.identity,
        method=method,
        radius=radius,
        tolerance=tolerance,
        deviations=deviations,
        seed=seed,
    )


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
