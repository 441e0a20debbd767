"""Best response of one sender, with a proven bound: `dnl.best_response`."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.deviation import deviation
from dnl.exact.global_response import GlobalResponse
from dnl.exact.linear_program import Array
from dnl.exact.local_response import LocalResponse
from dnl.exact.status import Status
from dnl.runtime.budget import Budget
from games import PersuasionGame, checks
from games.surroundings import own_surroundings

MISSED = 1e-6  # of the payoff range: what a policy inside a cell may lose to its boundary
ROUNDING = 1e-9  # of the payoff range: what float64 may take from a bound
ATTAINED = 1e-8  # of the payoff range: how close to its bound a supremum counts as reached


@dataclass(frozen=True, eq=False)
class BestResponse:
    """The best deviation found, and what no deviation reaches.

    Attributes:
        policy: `(S, M)`, within the radius; the sender's own where none is better.
        utility: what the simulator gives the sender for it.
        upper_bound: no deviation within the radius gets more; at least `utility`.
        is_attained: whether `utility` is the bound itself, within 1e-8 of the payoff range. Often
            the best is a limit only: the receiver is indifferent there, and its rule decides
            against the sender. With the status `"optimal"` the policy comes within 2e-6 of the
            limit.
        status: `"optimal"`, or why the bound may be loose (`Status`, with `.advice`).
        dual: `(S,)` where `radius` is None, else None: the certificate. With
            `f(c) = sum_j q_j . u` what an own signal with column `c` earns, at most as a limit,
            `f(c) <= dual . c` for all `c >= 0`, so no policy earns more than `dual.sum()`. With one
            signal there is only `c = 1`, and the inequality holds there.
        sender, radius: what was asked.
        seconds: the time it took.
    """

    policy: Tensor
    utility: float
    upper_bound: float
    is_attained: bool
    status: Status
    dual: Tensor | None
    sender: int
    radius: float | None
    seconds: float


@own_surroundings()
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
    began = time.perf_counter()
    checks.instance("game", game, PersuasionGame)
    game.check_policies(policies)
    if policies.ndim != 3:
        raise ValueError(f"policies must be one profile (N, S, M), got {tuple(policies.shape)}")
    if type(sender) is not int or not 0 <= sender < game.n_senders:
        raise ValueError(f"sender must be an index in 0..{game.n_senders - 1}, got {sender!r}")
    if radius is not None:
        radius = checks.positive_number("radius", radius)
    time_limit = checks.positive_number("time_limit", time_limit)
    tolerance = checks.positive_number("tolerance", tolerance)
    budget = Budget(began + time_limit)
    judge = game.to("cpu", torch.float64)
    found = respond(judge, exact_rows(policies), sender, radius, budget, tolerance)
    return BestResponse(
        policy=found.policy.to(policies),
        utility=found.lowest + found.reached,
        upper_bound=found.lowest + found.bound,
        is_attained=found.bound - found.reached <= ATTAINED * judge.payoff_range[sender].item(),
        status=found.status,
        dual=None if found.dual is None else found.dual.to(policies),
        sender=sender,
        radius=radius,
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, eq=False)
class Response:
    """A best response in utilities above `lowest`, so that nothing is rounded to what all share.

    Attributes:
        policy: `(S, M)`, float64.
        present: what the sender's own policy gets in the simulator.
        reached: what `policy` gets.
        bound: no deviation gets more.
        lowest: `sum_s mu(s) min_a u(s, a)`.
        status, dual, seconds: as in `BestResponse`.
    """

    policy: Tensor
    present: float
    reached: float
    bound: float
    lowest: float
    status: Status
    dual: Tensor | None
    seconds: float

    @property
    def gain(self) -> float:
        """What `policy` gains."""
        return self.reached - self.present

    @property
    def most(self) -> float:
        """What no deviation gains more than, at least 0."""
        return max(self.bound - self.present, 0.0)


def respond(
    game: PersuasionGame,
    profile: Array,
    sender: int,
    radius: float | None,
    budget: Budget,
    tolerance: float,
    enough: float | None = None,
    outcomes: Tensor | None = None,
) -> Response:
    """`best_response`, unchecked.

    Args:
        game: in float64 on the CPU.
        profile: `(N, S, M)`, rows exact.
        sender, radius, tolerance: as there.
        budget: time and memory.
        outcomes: `outcomes_of` the profile if known: the same for all senders.
        enough: stop as soon as it is known whether the gain, in units of the payoff range, is at
            most this or more.
    """
    began = time.perf_counter()
    worth = _Worth(game, sender)
    own = torch.from_numpy(profile[sender].copy())
    present = worth.of(outcomes_of(game, profile) if outcomes is None else outcomes)
    prior = game.prior
    dual = None
    fixed = worth.payoff_range == 0 or game.n_signals == 1  # nothing can change
    if fixed or budget.over:
        status, above = Status.OPTIMAL, torch.full_like(worth.base, present)
        if not fixed:  # the sender's best action, state by state
            status, above = Status.TIME_LIMIT, worth.above[:, game.possible_actions].amax(1)
        dual = prior * (worth.base + above) if radius is None else None
        bound = max(present, float(prior @ above))
        seconds = time.perf_counter() - began
        return Response(own, present, present, bound, worth.lowest, status, dual, seconds)
    problem = deviation(game, profile, sender)
    decided = None
    if enough is not None:
        start = present / worth.payoff_range

        def decided(best: float, bound: float) -> bool:
            # A value on a boundary need not be reached: ask for a little more than needed.
            return bound <= start + enough or best > start + 2 * enough + MISSED

    search: GlobalResponse | LocalResponse
    if radius is None:
        search = GlobalResponse(problem, tolerance, budget, decided)
        scaled = torch.from_numpy(worth.payoff_range * search.dual)
        dual = scaled + prior * worth.base
    else:
        search = LocalResponse(problem, radius, tolerance, budget, decided)
    policy, reached = own, present
    if search.attained > present / worth.payoff_range:
        changed = profile.copy()
        changed[sender] = search.witness
        if (simulated := worth.of(outcomes_of(game, changed))) > present:
            policy, reached = torch.from_numpy(search.witness.copy()), simulated
    # The sender's best action state by state bounds what no search had time to bound.
    most = min(search.bound, float(problem.prior @ problem.utility.max(1)))
    bound, status = most * worth.payoff_range, search.status
    if reached > bound:
        if reached > bound + ROUNDING * worth.payoff_range:
            status = Status.SUSPECT
        bound = reached
    missed = bound - reached > (tolerance + MISSED) * worth.payoff_range
    if status is Status.OPTIMAL and missed and enough is None:
        status = Status.NOT_ATTAINED
    return Response(
        policy, present, reached, bound, worth.lowest, status, dual, time.perf_counter() - began
    )


class _Worth:
    """What outcomes are worth to a sender.

    Above `base (S,)`, the least that the receiver's action leaves the sender in each state.
    """

    def __init__(self, game: PersuasionGame, sender: int) -> None:
        utility = game.sender_utility[sender]
        self.base = utility[:, game.possible_actions].amin(1)
        self.lowest = float(game.prior @ self.base)
        self.above = utility - self.base[:, None]
        self.payoff_range = game.payoff_range[sender].item()

    def of(self, outcomes: Tensor) -> float:
        """The utility of outcomes `(S, A)`, above `lowest`."""
        return float((outcomes * self.above).sum())


def outcomes_of(game: PersuasionGame, profile: Array) -> Tensor:
    """The joint distribution `(S, A)` of state and action under `profile (N, S, M)`."""
    rows = torch.from_numpy(profile)[None, None]
    return game.stacked().outcome_distribution(rows, check=False)[0, 0]


def exact_rows(policies: Tensor) -> Array:
    """A profile in float64 whose rows sum to 1 up to rounding: `(N, S, M)`.

    Rows that do already keep their bits: next to a tie the last digit may decide.
    """
    rows = policies.detach().double().cpu().clamp_min(0)
    total = rows.sum(-1, keepdim=True)
    exact = (total - 1).abs() <= 8 * torch.finfo(torch.float64).eps
    normalised: Array = torch.where(exact, rows, rows / total).numpy()
    return normalised
