"""`dnl.find_equilibria`: run members side by side, certify proposals, rank what is certified."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dnl.equilibria.candidates import Candidate, Collector
from dnl.equilibria.equilibrium import Equilibria, Equilibrium
from dnl.equilibria.member import MEMBERS, Member, default_members
from dnl.equilibria.ranking import WELFARE, RankBy, ranked, ranking_of
from dnl.equilibria.search import GLOBAL_SHARE, LOCAL, SCOPES, Search
from dnl.equilibria.verification import Verdict, Verification, verify_profile
from dnl.runtime.budget import Budget
from games import PersuasionGame, checks
from games.persuasion import persuasion_game
from games.randomness import seed_of
from games.surroundings import own_surroundings

MOST_RETURNED = 8  # local equilibria, besides global ones and those that are promised
SAME_OUTCOME = 1e-3  # total variation up to which two outcomes are the same


@own_surroundings()
def find_equilibria(
    game: PersuasionGame,
    radius: float = 0.005,
    time_limit: float = 60.0,
    seed: int | None = None,
    members: Sequence[str] | None = None,
    *,
    scope: str = LOCAL,
    rank_by: RankBy = WELFARE,
    generator: torch.Generator | None = None,
    on_progress: Callable[[float, str], None] | None = None,
    on_certified: Callable[[Tensor, str], None] | None = None,
) -> Equilibria:
    """Certified equilibria as a tuple: Nash equilibria first, each part ranked.

    Args:
        game: the true game.
        radius: of the local equilibria, above 0 and at most 1.
        time_limit: seconds in all.
        seed: of the members' random starts; None for 0.
        members: names of search methods, out of `dnl.equilibria.MEMBERS`; None for the default set
            (all that suit the scope, except those that ascend a surrogate).
        scope: `"local"` for equilibria within `radius`, whether Nash or not; `"global"` to search
            for Nash equilibria only. Then members look for profiles that withstand any deviation,
            the time of proofs goes to these, and the search ends when none can be better.
        rank_by: what makes one equilibrium better than another: `"welfare"` (the senders' summed
            utilities), `"receiver"` (its utility), a sender's index or name (its utility), or
            weights `(N,)` of the senders' utilities or `(N + 1,)` with the receiver's as the last.
            Weights may be negative. It steers the search, too.
        generator: instead of `seed`.
        on_progress: called with the seconds used and a message.
        on_certified: called with each profile `(N, S, M)` as soon as it is certified, and the name
            of its member: so a search that is interrupted has results.

    Returns:
        Profiles that no sender can improve upon within `radius`, proven; each with the proven bound
        on what any deviation could gain. In this order: those certified as Nash equilibria, those
        that are undecided, and those that are refuted; each part best first. Of several with one
        outcome (joint distribution of state and action) the best, and the best that is Nash.
        Besides the best ones, full revelation and the Nash equilibria that the members found on
        their way. With scope `"global"`, Nash equilibria only. May be empty: its `status` says
        how the search ended. Deterministic where that is `"complete"`.

    Raises:
        ValueError: for a bad argument.
        ImportError: if highspy is not installed.
    """
    persuasion_game(game)
    radius = checks.radius("radius", radius)
    time_limit = checks.positive_number("time_limit", time_limit)
    checks.one_of("scope", scope, SCOPES)
    for name, called in (("on_progress", on_progress), ("on_certified", on_certified)):
        if called is not None:
            checks.function(name, called)
    game = game.to("cpu", torch.float64)
    ranking = ranking_of(game, rank_by)
    chosen = _chosen(members, scope)
    seed = seed_of(seed, generator)
    began = time.perf_counter()
    budget = Budget.within(time_limit)

    def progress(message: str) -> None:
        if on_progress is not None:
            on_progress(time.perf_counter() - began, message)

    searching = budget.part(1 - GLOBAL_SHARE[scope])
    search = Search(game, radius, searching, seed, scope=scope, rank_by=rank_by)
    found = _distinct(search, Collector(search, progress, on_certified).collect(chosen))
    status = "complete" if not search.budget.over and not search.cut else "time limit"
    best = sorted(found, key=lambda f: -f.worth)[:MOST_RETURNED]
    # First those that are probably global: their proof matters most.
    kept = [f for f in found if f.is_global or f.member.is_promised]
    kept += [f for f in best if f not in kept]
    results = []
    for index, one in enumerate(kept):
        progress(f"global gap {index + 1}/{len(kept)}")
        local, everywhere = _verified(search, one, budget, len(kept) - index)
        if local.is_equilibrium and (scope == LOCAL or everywhere.is_equilibrium):
            name = one.member.name
            results.append(Equilibrium(game, one.policies, local, everywhere, name, status))
    return Equilibria(ranked(game, results, ranking), status)


def _chosen(names: Sequence[str] | None, scope: str) -> list[Member]:
    """The members called `names`, each once; those of the default set for None."""
    if names is None:
        names = default_members(scope)
    elif isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ValueError(f"members must be names out of {list(MEMBERS)}, got {names!r}")
    for name in names:
        checks.one_of("members", name, tuple(MEMBERS))
    return [MEMBERS[name] for name in dict.fromkeys(names)]


def _distinct(search: Search, found: Sequence[Candidate]) -> list[Candidate]:
    """Drop candidates whose outcome is that of another one which is as good."""
    kept: list[Candidate] = []
    outcomes: list[Tensor] = []
    ranked = sorted(found, key=lambda f: (not f.member.is_promised, not f.is_global, -f.worth))
    for candidate in ranked:
        batch = candidate.policies[None, None]
        outcome = search.game.stacked().outcome_distribution(batch)[0, 0]  # (S, A)
        same = [
            other
            for other, its in zip(kept, outcomes, strict=True)
            if (outcome - its).abs().sum() <= 2 * SAME_OUTCOME
        ]
        if not any(
            other.worth >= candidate.worth - search.slack and other.is_global >= candidate.is_global
            for other in same
        ):
            kept.append(candidate)
            outcomes.append(outcome)
    return [candidate for candidate in found if candidate in kept]


def _verified(
    search: Search, candidate: Candidate, budget: Budget, remaining: int
) -> tuple[Verification, Verification]:
    """The candidate's verifications, within the radius and for any deviation.

    Where the time does not suffice for tighter bounds, those that the search has proven are used. A
    proof for any deviation is one for those within the radius.
    """
    game, policies = search.game, candidate.policies

    def verified(radius: float | None, known: Verification) -> Verification:
        if budget.left <= candidate.seconds:
            return known
        limit = max(budget.left / remaining, 1e-3)
        found = verify_profile(game, policies, radius, tolerance=search.tolerance, time_limit=limit)
        # It may have had less time than the search had.
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
    """A verification from proven bounds `gain (N,)`."""
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
