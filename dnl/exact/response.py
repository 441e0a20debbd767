"""Best response of one sender, with a proven bound: `dnl.best_response`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dnl.exact.concavification import GlobalResponse
from dnl.exact.linear import Array
from dnl.exact.local import LocalResponse
from dnl.exact.problem import deviation
from dnl.exact.status import Status
from games import PersuasionGame, checks

MISSED = 1e-4  # of the payoff range: more than the margin of a witness costs
ROUNDING = 1e-9  # of the payoff range: what float64 may take from a bound


@dataclass(frozen=True, eq=False)
class BestResponse:
    """The best deviation found, and what no deviation reaches.

    Attributes:
        policy: `(S, M)`, within the radius; the sender's own where none is better.
        utility: what the simulator gives the sender for it.
        upper_bound: no deviation within the radius gets more, whatever the receiver's tie rule;
            at least `utility`.
        status: `"optimal"`, or why the bound may be loose (`Status`, with `.advice`).
        dual: `(S,)` where `radius` is None, else None: the certificate. With
            `f(c) = sum_j q_j . u` what an own signal with column `c` earns, `f(c) <= dual . c` for
            all `c >= 0`, so no policy earns more than `dual.sum()`.
        sender, radius: what was asked.
        seconds: the time it took.
    """

    policy: Tensor
    utility: float
    upper_bound: float
    status: Status
    dual: Tensor | None
    sender: int
    radius: float | None
    seconds: float


def best_response(
    game: PersuasionGame,
    policies: Tensor,
    sender: int,
    radius: float | None = None,
    time_limit: float = 60.0,
    *,
    tolerance: float = 1e-6,
) -> BestResponse:
    """The best policy of `sender` while the others keep theirs, and a proof.

    Args:
        game: the true game.
        policies: `(N, S, M)`.
        sender: who responds.
        radius: largest entry-wise change of its policy, above 0; None for any policy.
        time_limit: seconds; when it is over the bound is still valid.
        tolerance: where bound and value are this close the search ends, as a fraction of the
            sender's payoff range.

    Returns:
        A `BestResponse`, in the dtype and on the device of `policies`; computed in float64 on the
        CPU. Deterministic unless the status is `"time limit"`.

    Raises:
        ValueError: for a bad argument.
        ImportError: if highspy is not installed.
    """
    game.check_policies(policies)
    if policies.ndim != 3:
        raise ValueError(f"policies must be one profile (N, S, M), got {tuple(policies.shape)}")
    if type(sender) is not int or not 0 <= sender < game.n_senders:
        raise ValueError(f"sender must be an index in 0..{game.n_senders - 1}, got {sender!r}")
    if radius is not None:
        radius = checks.positive_number("radius", radius)
    time_limit = checks.positive_number("time_limit", time_limit)
    tolerance = checks.positive_number("tolerance", tolerance)
    return respond(game, policies, sender, radius, time_limit, tolerance)


def respond(
    game: PersuasionGame,
    policies: Tensor,
    sender: int,
    radius: float | None,
    time_limit: float,
    tolerance: float,
    enough: float | None = None,
) -> BestResponse:
    """`best_response`, unchecked.

    Args:
        enough: stop as soon as it is known whether the gain, in units of the payoff range, is at
            most this or more.
    """
    began = time.perf_counter()
    profile = exact_rows(policies)
    problem = deviation(game, profile, sender)
    own = torch.from_numpy(profile[sender].copy())
    judge = game.to("cpu", torch.float64)
    rows = torch.from_numpy(profile)
    present = judge.ex_ante_utility(rows)[sender].item()
    if problem.payoff_range == 0:
        dual = None if radius is not None else game.prior.double().cpu() * problem.lowest
        return BestResponse(
            own.to(policies),
            present,
            present,
            Status.OPTIMAL,
            None if dual is None else dual.to(policies),
            sender,
            radius,
            time.perf_counter() - began,
        )
    deadline = began + time_limit
    dual = None
    decided = None
    if enough is not None:
        start = (present - problem.lowest) / problem.payoff_range

        def decided(best: float, bound: float) -> bool:
            # A value on a boundary need not be reached: ask for a little more than needed.
            return bound <= start + enough or best > start + 2 * enough + 1e-6

    if radius is None:
        search = GlobalResponse(problem, tolerance, deadline, decided)
        witnesses, bound, status = search.witnesses, search.bound, search.status
        prior = game.prior.double().cpu().numpy()
        dual = torch.from_numpy(problem.payoff_range * search.dual + problem.lowest * prior)
    else:
        local = LocalResponse(problem, radius, tolerance, deadline, decided)
        witnesses, bound = local.witnesses, local.outcome.bound
        status = local.outcome.status
    policy, utility = _best_of(judge, rows, sender, witnesses)
    # The sender's best action state by state bounds what no search had time to bound.
    upper_bound = problem.in_units(min(bound, float(problem.prior @ problem.utility.max(1))))
    wide = upper_bound - utility > (tolerance + MISSED) * problem.payoff_range
    if radius is not None and wide and status is Status.OPTIMAL and enough is None:
        # Ties need not go the sender's way: look for the best if they go the game's.
        attained = LocalResponse(problem.as_played(), radius, tolerance, deadline, decided)
        policy, utility = _best_of(judge, rows, sender, [*attained.witnesses, policy.numpy()])
        if attained.outcome.status is Status.TIME_LIMIT:
            status = Status.TIME_LIMIT
    if utility > upper_bound:
        if utility > upper_bound + ROUNDING * problem.payoff_range:
            status = Status.SUSPECT
        upper_bound = utility
    missed = upper_bound - utility > (tolerance + MISSED) * problem.payoff_range
    if status is Status.OPTIMAL and missed and enough is None:
        status = Status.NOT_ATTAINED
    return BestResponse(
        policy=policy.to(policies),
        utility=utility,
        upper_bound=upper_bound,
        status=status,
        dual=None if dual is None else dual.to(policies),
        sender=sender,
        radius=radius,
        seconds=time.perf_counter() - began,
    )


def _best_of(
    game: PersuasionGame, rows: Tensor, sender: int, witnesses: Sequence[Array]
) -> tuple[Tensor, float]:
    """The best of `witnesses` and the present policy, which wins ties, and what it is worth."""
    tried = torch.from_numpy(np.stack([rows[sender].numpy(), *witnesses]))
    changed = rows.repeat(len(tried), 1, 1, 1)
    changed[:, sender] = tried
    utilities = game.ex_ante_utility(changed)[:, sender]
    best = int(utilities.argmax())
    return tried[best], utilities[best].item()


def exact_rows(policies: Tensor) -> Array:
    """A profile in float64 whose rows sum to 1 as exactly as they can: `(N, S, M)`."""
    rows = policies.detach().double().cpu().clamp_min(0)
    normalised: Array = (rows / rows.sum(-1, keepdim=True)).numpy()
    return normalised
