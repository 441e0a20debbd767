"""Best response of one sender while the others keep their policies, with a proven bound."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.deviation import deviation
from dnl.exact.global_response import GlobalResponse
from dnl.exact.linear_program import Array
from dnl.exact.local_response import LocalResponse
from dnl.exact.response_search import Decided
from dnl.exact.status import Status
from dnl.runtime.budget import Budget
from games import PersuasionGame, checks
from games.checks import Array as Profile
from games.persuasion import persuasion_game
from games.surroundings import own_surroundings

# Fractions of the payoff range.
MARGIN_LOSS = 1e-6  # that a policy inside a region may lose to the limit at its boundary
ROUNDING_OF_UTILITY = 1e-9  # by which a simulated utility may exceed a bound
ATTAINED_GAP = 1e-8  # up to which a bound counts as attained


@dataclass(frozen=True, eq=False)
class BestResponse:
    """The best deviation found, and a proven bound of all deviations.

    Attributes:
        policy: `(S, M)`, within the radius; the sender's own if none is better.
        utility: the sender's utility from it in the simulator.
        upper_bound: no deviation within the radius gets more; at least `utility`.
        is_attained: whether `utility` equals the bound, within 1e-8 of the payoff range. Often the
            supremum is a limit only: the receiver is indifferent there, and its tie rule decides
            against the sender. With the status `"optimal"` the policy comes within 2e-6 of it.
        status: `"optimal"`, or why the bound may be loose (`Status`, with `.advice`).
        dual: `(S,)`, the certificate if `radius` is None, else None. Let `f(c) = sum_j q_j . u` be
            the utility from an own signal with column `c`, ties in the sender's favour. Then
            `f(c) <= dual . c` for all `c >= 0`, so no policy earns more than `dual.sum()`. With one
            signal the inequality holds at `c = 1`, the only column.
        sender, radius: the arguments.
        seconds: wall-clock time.
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

    def __repr__(self) -> str:
        return (
            f"BestResponse(sender={self.sender}, utility={self.utility:.6g}, "
            f"upper_bound={self.upper_bound:.6g}, is_attained={self.is_attained}, "
            f"status={str(self.status)!r}, radius={self.radius})"
        )


@own_surroundings()
def best_response(
    game: PersuasionGame,
    policies: Profile,
    sender: int | str,
    radius: float | None = None,
    time_limit: float = 60.0,
    *,
    tolerance: float = 1e-6,
) -> BestResponse:
    """The best policy of `sender` while the others keep theirs, with a proven bound.

    Args:
        game: the true game.
        policies: `(N, S, M)`, as the simulator takes them.
        sender: index or name of the responding sender.
        radius: largest entry-wise change of its policy, above 0 and at most 1; None for any policy.
        time_limit: seconds; the bound stays valid when they are over.
        tolerance: gap between bound and utility at which the search ends, as a fraction of the
            sender's payoff range.

    Returns:
        A `BestResponse`, in the dtype and on the device of `policies` (float64 on the CPU if they
        are no tensor); computed in float64 on the CPU. Deterministic unless the status is
        `"time limit"`.

    Raises:
        ValueError: for a bad argument.
        ImportError: if highspy is not installed.
    """
    began = time.perf_counter()
    persuasion_game(game)
    policies = game.as_policies(policies)
    if policies.ndim != 3:
        raise ValueError(f"policies must be one profile (N, S, M), got {tuple(policies.shape)}")
    sender = game.sender_index(sender)
    if radius is not None:
        radius = checks.radius("radius", radius)
    time_limit = checks.positive_number("time_limit", time_limit)
    tolerance = checks.positive_number("tolerance", tolerance)
    budget = Budget(began + time_limit)
    judge = game.to("cpu", torch.float64)
    found = respond(judge, exact_rows(policies), sender, radius, budget, tolerance)
    return BestResponse(
        policy=found.policy.to(policies),
        utility=found.lowest + found.reached,
        upper_bound=found.lowest + found.bound,
        is_attained=found.bound - found.reached <= ATTAINED_GAP * judge.payoff_range[sender].item(),
        status=found.status,
        dual=None if found.dual is None else found.dual.to(policies),
        sender=sender,
        radius=radius,
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, eq=False)
class Response:
    """A best response, in utilities above `lowest`: a large constant costs no precision.

    Attributes:
        policy: `(S, M)`, float64.
        present: utility from the sender's own policy in the simulator.
        reached: utility from `policy`.
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
        """The gain of `policy`."""
        return self.reached - self.present

    @property
    def most(self) -> float:
        """Upper bound of every deviation's gain, at least 0."""
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
    """`best_response` without checks.

    Args:
        game: in float64 on the CPU.
        profile: `(N, S, M)`, rows exact.
        sender, radius, tolerance: as in `best_response`.
        budget: time and memory.
        enough: stop as soon as it is known whether the gain, as a fraction of the payoff range,
            exceeds this.
        outcomes: `outcomes_of(game, profile)` if known: the same for all senders.
    """
    began = time.perf_counter()
    worth = _Worth(game, sender)
    own = torch.from_numpy(profile[sender].copy())
    present = worth.of(outcomes_of(game, profile) if outcomes is None else outcomes)

    def response(
        policy: Tensor, reached: float, bound: float, status: Status, dual: Tensor | None
    ) -> Response:
        seconds = time.perf_counter() - began
        return Response(policy, present, reached, bound, worth.lowest, status, dual, seconds)

    prior, payoff_range = game.prior, worth.payoff_range
    fixed = payoff_range == 0 or game.n_signals == 1  # nothing can change
    if fixed or budget.over:
        status, above = Status.OPTIMAL, torch.full_like(worth.base, present)
        if not fixed:  # the sender's best action, state by state
            status, above = Status.TIME_LIMIT, worth.above[:, game.possible_actions].amax(1)
        dual = prior * (worth.base + above) if radius is None else None
        return response(own, present, max(present, float(prior @ above)), status, dual)
    problem = deviation(game, profile, sender)
    decided = None if enough is None else _decided(present / payoff_range, enough)
    search: GlobalResponse | LocalResponse
    if radius is None:
        search = GlobalResponse(problem, tolerance, budget, decided)
        dual = torch.from_numpy(payoff_range * search.dual) + prior * worth.base
    else:
        search, dual = LocalResponse(problem, radius, tolerance, budget, decided), None
    policy, reached = own, present
    if search.attained > present / payoff_range:
        changed = profile.copy()
        changed[sender] = search.witness
        if (simulated := worth.of(outcomes_of(game, changed))) > present:
            policy, reached = torch.from_numpy(search.witness.copy()), simulated
    # If the search had no time for a bound: the sender's best action, state by state.
    most = min(search.bound, float(problem.prior @ problem.utility.max(1)))
    bound, status = most * payoff_range, search.status
    if reached > bound:
        if reached > bound + ROUNDING_OF_UTILITY * payoff_range:
            status = Status.SUSPECT
        bound = reached
    missed = bound - reached > (tolerance + MARGIN_LOSS) * payoff_range
    if status is Status.OPTIMAL and missed and enough is None:
        status = Status.NOT_ATTAINED
    return response(policy, reached, bound, status, dual)


def _decided(start: float, enough: float) -> Decided:
    """Whether the gain over `start` is known to be at most `enough`, or more; normalised."""

    def decided(best: float, bound: float) -> bool:
        # A value on a boundary need not be reached: require a little more than needed.
        return bound <= start + enough or best > start + 2 * enough + MARGIN_LOSS

    return decided


class _Worth:
    """A sender's utility above `base (S,)`, the least that it can get in each state."""

    def __init__(self, game: PersuasionGame, sender: int) -> None:
        utility = game.sender_utility[sender]
        self.base = utility[:, game.possible_actions].amin(1)
        self.lowest = float(game.prior @ self.base)
        self.above = utility - self.base[:, None]
        self.payoff_range = game.payoff_range[sender].item()

    def of(self, outcomes: Tensor) -> float:
        """Utility of outcomes `(S, A)`, above `lowest`."""
        return float((outcomes * self.above).sum())


def outcomes_of(game: PersuasionGame, profile: Array) -> Tensor:
    """The joint distribution `(S, A)` of state and action under `profile (N, S, M)`."""
    rows = torch.from_numpy(profile)[None, None]
    return game.stacked().outcome_distribution(rows, check=False)[0, 0]


def exact_rows(policies: Tensor) -> Array:
    """A profile in float64 whose rows sum to 1 up to rounding: `(N, S, M)`.

    Rows that already do are not changed: near a tie the last digit may decide.
    """
    rows = policies.detach().double().cpu().clamp_min(0)
    total = rows.sum(-1, keepdim=True)
    exact = (total - 1).abs() <= 8 * torch.finfo(torch.float64).eps
    normalised: Array = torch.where(exact, rows, rows / total).numpy()
    return normalised
