"""`dnl.find_equilibria`: members side by side, proposals certified, ranked by welfare."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.equilibria.equilibrium import Equilibrium
from dnl.equilibria.members import DEFAULT_MEMBERS, MEMBERS
from dnl.equilibria.search import Proposals, Search, canonical
from dnl.equilibria.verification import Verdict, Verification, verify_profile
from dnl.runtime.budget import Budget
from games import PersuasionGame, checks
from games.surroundings import own_surroundings

MOST_RETURNED = 8  # local equilibria returned, besides the best global one and full revelation
GLOBAL_SHARE = 0.3  # of the time limit, kept for global gaps
CERTIFY_SHARE = 0.15  # of the time left that certifying one proposal may take
FIRST_SHARE = 0.4  # the same while nothing is certified
CERTIFY_GLOBAL_SHARE = 0.05  # of the time left that it may take for any deviation
MOST_ALIKE = 2  # proposals of one member and welfare for which that is tried
SAME_OUTCOME = 1e-3  # total variation of state and action up to which two profiles do the same
EARLY_MEMBERS = (
    "no-information",
    "full-revelation",
    "agreement",
    "planner",
    "division",
    "one-speaker",
    "blocks",
)
EARLY_SHARE = 0.5  # of the search that they may take
GLOBAL_MEMBERS = (  # may find global equilibria
    "full-revelation",
    "agreement",
    "planner",
    "division",
    "one-speaker",
    "responses",
)
# No sender can hide what these say: the proof for any deviation is sought first.
GLOBAL_BY_CONSTRUCTION = ("full-revelation", "agreement")


@dataclass(frozen=True, eq=False)
class _Found:
    """A certified proposal; `seconds` is what its certificate took."""

    policies: Tensor
    welfare: float
    source: str
    is_global: bool
    seconds: float


@own_surroundings()
def find_equilibria(
    game: PersuasionGame,
    radius: float = 0.005,
    time_limit: float = 60.0,
    seed: int = 0,
    members: Sequence[str] | None = None,
    *,
    on_progress: Callable[[float, str], None] | None = None,
    on_certified: Callable[[Tensor, str], None] | None = None,
) -> tuple[Equilibrium, ...]:
    """Certified local equilibria, the highest welfare first.

    Args:
        game: the true game.
        radius: of the local equilibria, above 0.
        time_limit: seconds in all.
        seed: of the members' random starts.
        members: names out of `dnl.equilibria.MEMBERS`; None for those that know the game (all but
            the surrogates, which only sample it).
        on_progress: called with the seconds used and a message.
        on_certified: called with each profile `(N, S, M)` as soon as it is certified within
            `radius`, and the member that proposed it: what is there if the search is interrupted.

    Returns:
        Profiles that no sender can improve upon within `radius`, proven; each with the proven bound
        on what any deviation could gain. Of several with one outcome (joint distribution of state
        and action) the best, and the best that is global. Besides those of highest welfare, full
        revelation and the global equilibria that the members found on their way. May be empty.
        Deterministic where `status` is `"complete"`.

    Raises:
        ValueError: for a bad argument.
        ImportError: if highspy is not installed.
    """
    checks.instance("game", game, PersuasionGame)
    radius = checks.positive_number("radius", radius)
    time_limit = checks.positive_number("time_limit", time_limit)
    seed = checks.positive_integer("seed", seed, least=0)
    if members is not None and (isinstance(members, str) or not isinstance(members, Sequence)):
        raise ValueError(f"members must be names out of {list(MEMBERS)}, got {members!r}")
    names = DEFAULT_MEMBERS if members is None else tuple(members)
    if not names:
        raise ValueError(f"members must be names out of {list(MEMBERS)}, got {members!r}")
    for name in names:
        checks.one_of("members", name, tuple(MEMBERS))
    began = time.perf_counter()
    budget = Budget.within(time_limit)
    game = game.to("cpu", torch.float64)
    search = Search(game, radius, budget.part(1 - GLOBAL_SHARE), seed)
    found = _distinct(search, _collect(search, names, began, on_progress, on_certified))
    complete = not search.budget.over and not search.cut
    best = sorted(found, key=lambda f: -f.welfare)[:MOST_RETURNED]
    # First those that should turn out global: their proof is wanted most.
    chosen = [f for f in found if f.is_global or f.source == "full-revelation"]
    chosen += [f for f in best if f not in chosen]
    proven = []
    for index, candidate in enumerate(chosen):
        if on_progress is not None:
            on_progress(time.perf_counter() - began, f"global gap {index + 1}/{len(chosen)}")
        local, everywhere = _verified(search, candidate, budget, len(chosen) - index)
        if local.is_equilibrium:
            proven.append((candidate, local, everywhere))
    status = "complete" if complete else "time limit"
    results = [
        Equilibrium(game, candidate.policies, local, everywhere, candidate.source, status)
        for candidate, local, everywhere in proven
    ]
    return tuple(sorted(results, key=lambda e: -e.welfare))


def _distinct(search: Search, found: Sequence[_Found]) -> list[_Found]:
    """Without those that do the same as another one that is as good; full revelation stays."""
    kept: list[_Found] = []
    outcomes: list[Tensor] = []
    ranked = sorted(
        found, key=lambda f: (f.source != "full-revelation", not f.is_global, -f.welfare)
    )
    for candidate in ranked:
        batch = candidate.policies[None, None]
        outcome = search.game.stacked().outcome_distribution(batch)[0, 0]  # (S, A)
        same = [
            other
            for other, its in zip(kept, outcomes, strict=True)
            if (outcome - its).abs().sum() <= 2 * SAME_OUTCOME
        ]
        if not any(
            other.welfare >= candidate.welfare - search.slack
            and other.is_global >= candidate.is_global
            for other in same
        ):
            kept.append(candidate)
            outcomes.append(outcome)
    return [candidate for candidate in found if candidate in kept]


def _verified(
    search: Search, candidate: _Found, budget: Budget, remaining: int
) -> tuple[Verification, Verification]:
    """The candidate's verifications, within the radius and for any deviation.

    What the search has proven is used where the time does not suffice for tighter bounds. A proof
    for any deviation is one for those within the radius.
    """
    game, policies = search.game, candidate.policies

    def verified(radius: float | None, known: Verification) -> Verification:
        if budget.left <= candidate.seconds:
            return known
        limit = max(budget.left / remaining, 1e-3)
        found = verify_profile(game, policies, radius, tolerance=search.tolerance, time_limit=limit)
        # Its part of the time may be less than what the search had.
        worse = found.verdict is Verdict.UNDECIDED and known.is_equilibrium
        return known if worse else found

    everywhere = _bounded(search, policies, None, search.at_most(policies))
    if candidate.is_global and not everywhere.is_equilibrium:
        everywhere = verified(None, _bounded(search, policies, None, search.most(None)))
    local = _bounded(search, policies, search.radius, everywhere.gain)
    if not local.is_equilibrium:
        decided = _bounded(search, policies, search.radius, search.most(search.radius))
        local = verified(search.radius, decided)
    if not candidate.is_global and not everywhere.is_equilibrium:
        everywhere = verified(None, everywhere)
    return local, everywhere


def _bounded(search: Search, policies: Tensor, radius: float | None, gain: Tensor) -> Verification:
    """A verification that says: no sender gains more than `gain (N,)`, which is proven."""
    game, ranges = search.game, search.game.payoff_range
    certified = bool((gain <= search.most(radius)).all())
    return Verification(
        gain=gain,
        relative_gain=torch.where(ranges > 0, gain / ranges, 0.0),
        verdict=Verdict.CERTIFIED if certified else Verdict.UNDECIDED,
        witness=policies.clone(),
        witness_gain=torch.zeros_like(gain),
        status=("optimal" if certified else "time limit",) * game.n_senders,
        seconds=torch.zeros_like(gain),
        game=game.identity,
        method="exact",
        radius=radius,
        tolerance=search.tolerance,
        deviations=0,
        seed=0,
    )


def _collect(
    search: Search,
    names: Sequence[str],
    began: float,
    on_progress: Callable[[float, str], None] | None,
    on_certified: Callable[[Tensor, str], None] | None,
) -> list[_Found]:
    """Certified proposals, each better than those before it, locally or globally."""
    found: list[_Found] = []
    seen: set[bytes] = set()
    refused: list[tuple[str, float]] = []

    def step(name: str, proposals: Proposals) -> bool:
        """One step of a member; False where it has ended."""
        try:
            policies = next(proposals)
        except StopIteration:
            return False
        if on_progress is not None:
            best = f"best welfare {search.floor:.4g}" if found else "nothing yet"
            on_progress(time.perf_counter() - began, f"{name}: {best}")
        if policies is not None:
            policies = policies / policies.sum(-1, keepdim=True)
            key = canonical(policies)
            if key not in seen:
                seen.add(key)
                new = _judge(search, policies, name, refused)
                if new is not None:
                    found.append(new)
                    if on_certified is not None:
                        on_certified(new.policies, name)
        return True

    def wanted(name: str) -> bool:
        """Whether the member may find something better than what there is."""
        if search.budget.over:
            return False
        if name == "full-revelation":  # promised to callers
            return True
        return not search.is_best or (name in GLOBAL_MEMBERS and not search.is_best_global)

    running = {name: MEMBERS[name](search) for name in names}
    # Cheap proposals first, each member to its end while the time allows; then all in turn.
    early = search.budget.part(EARLY_SHARE)
    for name in [name for name in EARLY_MEMBERS if name in running]:
        while wanted(name):
            if early.over:
                search.cut = True  # the clock decides what comes next
                break
            if not step(name, running[name]):
                del running[name]
                break
    while running := {name: running[name] for name in running if wanted(name)}:
        for name in list(running):
            if not step(name, running[name]):
                del running[name]
    return found


def _judge(
    search: Search, policies: Tensor, name: str, refused: list[tuple[str, float]]
) -> _Found | None:
    """The proposal if it is certified and better than what there is.

    Args:
        search: what is searched.
        policies: `(N, S, M)`.
        name: of the member.
        refused: members and welfare of proposals that are not known to be global; grows. Of those
            that are alike a few are tried.
    """
    welfare = search.welfare(policies).item()
    may_be_global = name in GLOBAL_MEMBERS and welfare > search.global_floor + search.slack
    alike = [abs(welfare - other) <= search.slack for who, other in refused if who == name]
    may_be_global &= sum(alike) < MOST_ALIKE
    if welfare <= search.floor + search.slack and not may_be_global and name != "full-revelation":
        return None
    began = time.perf_counter()
    is_global = search.is_every_best(policies)
    share = CERTIFY_SHARE if search.floor > -float("inf") else FIRST_SHARE
    if name in GLOBAL_BY_CONSTRUCTION and may_be_global and not is_global:
        is_global = search.certifies(policies, None, share)
    implied = is_global and search.allowed(search.radius) >= search.allowed(None)
    if not implied and not search.certifies(policies, search.radius, share):
        return None
    seconds = time.perf_counter() - began
    if may_be_global and not is_global:
        is_global = search.certifies(policies, None, CERTIFY_GLOBAL_SHARE)
        if not is_global:
            refused.append((name, welfare))
    if is_global:
        search.global_floor = max(search.global_floor, welfare)
    search.floor = max(search.floor, welfare)
    return _Found(policies, welfare, name, is_global, seconds)
