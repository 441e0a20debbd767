"""Decide whether a profile is an epsilon-local Nash equilibrium of the true game.

Verification uses the true game only, never a surrogate. `"exact"` computes an upper bound on what
each sender can gain and decides. `"sampled"` tries random deviations, as the paper does (appendix
B). It gives a *lower* bound on what a sender can gain, so it refutes or does not.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from dnl.equilibria.sampled_deviations import DEVIATIONS_PER_ENTRY, best_sampled
from dnl.exact import linear_program
from dnl.exact.best_response import Response, exact_rows, outcomes_of, respond
from dnl.exact.tolerance import TOLERANCE, allowed_gain
from dnl.runtime.budget import Budget
from dnl.runtime.parallel import spread
from games import PersuasionGame, checks
from games.checks import Array
from games.persuasion import persuasion_game
from games.randomness import seed_of
from games.surroundings import own_surroundings

METHODS = ("exact", "sampled")


class Verdict(StrEnum):
    """What verification says of a profile.

    The exact method certifies, refutes or leaves undecided; sampling refutes or does not.
    """

    CERTIFIED = "certified"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    NOT_REFUTED = "not refuted"

    __repr__ = str.__repr__  # a tuple of verdicts prints as one of strings


@dataclass(frozen=True, eq=False, kw_only=True)
class _Asked:
    """What was asked of a verification."""

    game: str
    method: str
    radius: float | None
    tolerance: float
    deviations: int
    seed: int

    def _asked(self) -> str:
        return f"method={self.method!r}, radius={self.radius!r}, game={self.game!r}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Verification(_Asked):
    """What verification found for one profile.

    Attributes:
        gain: `(N,)`, at least 0, in units of utility. `"exact"`: no deviation of the sender gains
            more; ties go by the game's rule. `"sampled"`: the most that one was found to gain, a
            lower bound.
        relative_gain: `(N,)`: `gain` as a fraction of the sender's payoff range; 0 where that is 0.
        verdict: compares with and prints as its text, for example `"certified"`.
        witness: `(N, S, M)`: row n is sender n's best deviation found, its own policy where none
            gains.
        witness_gain: `(N,)`: what the witness gains in the simulator.
        status: `N` of the exact computation (`dnl.exact.status.Status`); `"complete"` for sampling.
        seconds: `(N,)`: time per sender (sampling: the batch's, shared equally).
        game, method, radius, tolerance, seed: what was asked; `game` is the game's identity and
            `radius` the largest entry-wise change of a policy, None for any.
        deviations: the number tried per sender; 0 for `"exact"`.
    """

    gain: Tensor
    relative_gain: Tensor
    verdict: Verdict
    witness: Tensor
    witness_gain: Tensor
    status: tuple[str, ...]
    seconds: Tensor

    @property
    def is_equilibrium(self) -> bool:
        """Whether the profile is certified; sampling never certifies."""
        return self.verdict is Verdict.CERTIFIED

    def __repr__(self) -> str:
        largest = self.relative_gain.max().item()
        return (
            f"Verification({self.verdict!r}, largest relative_gain={largest:.2g}, {self._asked()})"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Verifications(_Asked):
    """What verification found for `B` profiles; `found[b]` is the `Verification` of one.

    Attributes as there, with a first axis `B`: `gain`, `relative_gain`, `witness_gain` and
    `seconds` are `(B, N)`, `witness` is `(B, N, S, M)`, `verdict` and `status` are tuples of `B`.
    """

    gain: Tensor
    relative_gain: Tensor
    verdict: tuple[Verdict, ...]
    witness: Tensor
    witness_gain: Tensor
    status: tuple[tuple[str, ...], ...]
    seconds: Tensor

    def __repr__(self) -> str:
        counts = Counter(map(str, self.verdict))
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        return f"Verifications({verdicts or 'no profiles'}, {self._asked()})"

    def __len__(self) -> int:
        return len(self.verdict)

    def __getitem__(self, index: int) -> Verification:
        asked = {field.name for field in fields(_Asked)}
        values = vars(self).items()
        return Verification(**{k: value if k in asked else value[index] for k, value in values})

    @property
    def is_equilibrium(self) -> Tensor:
        """`(B,)`: whether each profile is certified."""
        return torch.tensor([verdict is Verdict.CERTIFIED for verdict in self.verdict])


@own_surroundings()
def verify(
    game: PersuasionGame,
    policies: Array,
    radius: float | None = 0.005,
    method: str = "exact",
    tolerance: float = TOLERANCE,
    time_limit: float = 60.0,
    seed: int | None = None,
    *,
    generator: torch.Generator | None = None,
    deviations: int | None = None,
    workers: int = 1,
) -> Verification | Verifications:
    """Decide whether a sender can gain by deviating within `radius` (Definition 3 of the paper).

    Args:
        game: the true game.
        policies: `(N, S, M)` or `(B, N, S, M)`, as the simulator takes them. A profile's result
            does not depend on the others.
        radius: largest entry-wise change of a sender's policy, above 0 and at most 1; None for any
            policy.
        method: `"exact"` proves (needs highspy); `"sampled"` tries random deviations.
        tolerance: gains up to tolerance x payoff range x min(1, radius / 0.005) do not count.
        time_limit: `"exact"` only: seconds per profile, from when its computation starts. When they
            are over the bounds are still valid.
        seed: `"sampled"` only: of the verifier's random stream; None for 0.
        generator: instead of `seed`.
        deviations: `"sampled"` only: number per sender; None for 100 * S * M.
        workers: `"exact"` only: number of profiles verified at once, each on a core. Results do not
            depend on it unless a time limit is hit.

    Returns:
        A `Verification` of one profile, `Verifications` of many, in the dtype and on the device of
        `policies` (float64 on the CPU if they are no tensor). Exact: *certified* where the bound of
        every sender's gain is within the tolerance, *refuted* where a witness gains more than that
        in the simulator, else *undecided* (see `status`).

    Raises:
        ValueError: for a bad argument.
        ImportError: for `"exact"` without highspy.
    """
    persuasion_game(game)
    checks.one_of("method", method, METHODS)
    if radius is not None:
        radius = checks.radius("radius", radius)
    tolerance = checks.positive_number("tolerance", tolerance, allow_zero=method == "sampled")
    time_limit = checks.positive_number("time_limit", time_limit)
    if deviations is None:
        deviations = DEVIATIONS_PER_ENTRY * game.n_states * game.n_signals
    elif method == "exact":
        raise ValueError(f"deviations is for method 'sampled', got {deviations!r} with 'exact'")
    checks.positive_integer("deviations", deviations)
    workers = checks.positive_integer("workers", workers)
    if workers > 1 and method == "sampled":
        raise ValueError(f"workers is for method 'exact', got {workers!r} with 'sampled'")
    policies = game.as_policies(policies)
    seed = seed_of(seed, generator)
    batch = (policies.unsqueeze(0) if policies.ndim == 3 else policies).detach()
    allowed = allowed_gain(tolerance, radius)
    if method == "exact":
        found = _exact(game, batch, radius, allowed, time_limit, workers)
    else:
        found = _sampled(game, batch, radius, allowed, seed, deviations)
    verified = Verifications(
        **found,
        game=game.identity,
        method=method,
        radius=radius,
        tolerance=tolerance,
        deviations=0 if method == "exact" else deviations,
        seed=seed,
    )
    return verified[0] if policies.ndim == 3 else verified


def verify_profile(
    game: PersuasionGame,
    policies: Array,
    radius: float | None,
    *,
    tolerance: float = TOLERANCE,
    time_limit: float = 60.0,
) -> Verification:
    """`verify`, by the exact method, of one profile `(N, S, M)`."""
    found = verify(game, policies, radius, tolerance=tolerance, time_limit=time_limit)
    if isinstance(found, Verifications):
        shape = tuple(found.witness.shape)
        raise ValueError(f"policies must be one profile (N, S, M), got {shape}")
    return found


@own_surroundings()
def decide(
    game: PersuasionGame,
    profile: Tensor,
    radius: float | None = 0.005,
    tolerance: float = TOLERANCE,
    time_limit: float = 60.0,
) -> Verdict:
    """The exact verdict on one profile `(N, S, M)`: as `verify`, but quicker, without bounds.

    Arguments are those of `verify`, unchecked. Stops at the first sender that refutes the profile
    and computes bounds no tighter than the verdict needs.
    """
    allowed = allowed_gain(tolerance, radius)
    judge = game.to("cpu", torch.float64)
    rows = exact_rows(profile)
    budget = Budget.within(time_limit)
    outcomes = outcomes_of(judge, rows)
    verdict = Verdict.CERTIFIED
    for n in range(game.n_senders):
        turn = budget.part(1 / (game.n_senders - n))
        found = respond(
            judge, rows, n, radius, turn, 0.4 * allowed, enough=0.9 * allowed, outcomes=outcomes
        )
        most = allowed * judge.payoff_range[n].item()
        if found.gain > most:
            return Verdict.REFUTED
        if not found.most <= most:
            verdict = Verdict.UNDECIDED
    return verdict


def decide_many(
    game: PersuasionGame,
    profiles: Sequence[Tensor],
    radius: float | None = 0.005,
    time_limit: float = 60.0,
    workers: int = 1,
) -> list[Verdict]:
    """`decide` on each of `profiles`, `(N, S, M)` all, up to `workers` at once."""

    def verdict(profile: Tensor) -> Verdict:
        return decide(game, profile, radius, time_limit=time_limit)

    return spread(verdict, profiles, workers)


def _exact(
    game: PersuasionGame,
    batch: Tensor,
    radius: float | None,
    allowed: float,
    time_limit: float,
    workers: int,
) -> dict[str, Any]:
    """The fields of `Verifications` by best responses with proven bounds."""

    judge = game.to("cpu", torch.float64)

    def respond_all(rows: linear_program.Array) -> list[Response]:
        budget = Budget.within(time_limit)
        outcomes = outcomes_of(judge, rows)
        turns = range(len(rows), 0, -1)
        # Later senders share the time that earlier ones left. The solver's gap may be half of the
        # tolerance: a gain of 0 is then always certified.
        return [
            respond(judge, rows, n, radius, budget.part(1 / left), 0.5 * allowed, outcomes=outcomes)
            for n, left in enumerate(turns)
        ]

    gain = batch.new_zeros(batch.shape[:2])
    witness_gain, seconds = torch.zeros_like(gain), torch.zeros_like(gain)
    witness = batch.clone()
    status: list[tuple[str, ...]] = []
    verdict: list[Verdict] = []
    ranges = judge.payoff_range
    profiles = [exact_rows(profile) for profile in batch]
    found = spread(respond_all, profiles, workers)
    for b, responses in enumerate(found):
        certified, refuted, statuses = True, False, []
        for n, response in enumerate(responses):
            certified &= response.most <= allowed * ranges[n].item()
            refuted |= response.gain > allowed * ranges[n].item()
            gain[b, n], seconds[b, n] = response.most, response.seconds
            if response.gain > 0:
                witness[b, n], witness_gain[b, n] = response.policy.to(batch), response.gain
            statuses.append(str(response.status))
        status.append(tuple(statuses))
        doubtful = Verdict.REFUTED if refuted else Verdict.UNDECIDED
        verdict.append(Verdict.CERTIFIED if certified else doubtful)
    return _fields(game, gain, witness, witness_gain, status, seconds, verdict)


def _sampled(
    game: PersuasionGame,
    batch: Tensor,
    radius: float | None,
    allowed: float,
    seed: int,
    deviations: int,
) -> dict[str, Any]:
    """The fields of `Verifications` by random deviations."""
    began = time.perf_counter()
    gain, witness = best_sampled(game, batch, radius, seed, deviations)
    refuted = (gain > allowed * game.payoff_range.to(batch)).any(1)
    return _fields(
        game,
        gain,
        witness,
        gain.clone(),
        [("complete",) * game.n_senders] * len(batch),
        torch.full_like(gain, (time.perf_counter() - began) / max(gain.numel(), 1)),
        [Verdict.REFUTED if bad else Verdict.NOT_REFUTED for bad in refuted.tolist()],
    )


def _fields(
    game: PersuasionGame,
    gain: Tensor,
    witness: Tensor,
    witness_gain: Tensor,
    status: list[tuple[str, ...]],
    seconds: Tensor,
    verdict: list[Verdict],
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
