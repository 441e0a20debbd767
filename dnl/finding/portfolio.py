"""`dnl.find_equilibria`: members side by side, proposals certified, ranked by welfare."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.finding.equilibrium import Equilibrium
from dnl.finding.members import DEFAULT_MEMBERS, MEMBERS
from dnl.finding.search import Proposals, Search, canonical
from dnl.verification import verify
from games import PersuasionGame, checks

RETURNED = 8  # local equilibria returned, besides the best global one and full revelation
GLOBAL_SHARE = 0.3  # of the time limit, kept for global gaps
CERTIFY_SHARE = 0.15  # of the time left that certifying one proposal may take
CERTIFY_GLOBAL_SHARE = 0.05  # the same for any deviation
EARLY_MEMBERS = ("no-information", "full-revelation", "one-speaker", "blocks")
EARLY_SHARE = 0.5  # of the search that they may take
GLOBAL_MEMBERS = ("full-revelation", "one-speaker", "responses")  # may find global equilibria


@dataclass(frozen=True, eq=False)
class _Found:
    policies: Tensor
    welfare: float
    source: str
    is_global: bool


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
        members: names out of `dnl.finding.MEMBERS`; None for those that know the game (all but
            the surrogates, which only sample it).
        on_progress: called with the seconds used and a message.
        on_certified: called with each profile `(N, S, M)` as soon as it is certified within
            `radius`, and the member that proposed it: what is there if the search is interrupted.

    Returns:
        Profiles that no sender can improve upon within `radius`, proven; merged up to names of
        signals; each with the proven bound on what any deviation could gain. Besides those of
        highest welfare, full revelation and the global equilibria that the members found on their
        way. May be empty. Deterministic where `status` is `"complete"`.

    Raises:
        ValueError: for a bad argument.
        ImportError: if highspy is not installed.
    """
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
    game = game.to("cpu", torch.float64)
    search = Search(game, radius, began + (1 - GLOBAL_SHARE) * time_limit, seed)
    found = _collect(search, names, began, on_progress, on_certified)
    complete = search.left > 0 and not search.cut
    best = sorted(found, key=lambda f: -f.welfare)[:RETURNED]
    # First those that should turn out global: their proof is wanted most.
    chosen = [f for f in found if f.is_global or f.source == "full-revelation"]
    chosen += [f for f in best if f not in chosen]
    proven = []
    for index, candidate in enumerate(chosen):

        def share(index: int = index) -> float:
            left = began + time_limit - time.perf_counter()
            return max(left, 0.05) / (len(chosen) - index)

        local = verify(game, candidate.policies, radius, time_limit=max(share(), 1.0))
        if local.verdict != "certified":  # the clock, at most: it was certified before
            complete = False
            continue
        if on_progress is not None:
            on_progress(time.perf_counter() - began, f"global gap {index + 1}/{len(chosen)}")
        everywhere = verify(game, candidate.policies, None, time_limit=share())
        proven.append((candidate, local, everywhere))
    status = "complete" if complete else "time limit"
    results = [
        Equilibrium(game, candidate.policies, local, everywhere, candidate.source, status)
        for candidate, local, everywhere in proven
    ]
    return tuple(sorted(results, key=lambda e: -e.welfare))


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
                new = _judge(search, policies, name)
                if new is not None:
                    found.append(new)
                    if on_certified is not None:
                        on_certified(new.policies, name)
        return True

    def wanted(name: str) -> bool:
        """Whether the member may find something better than what there is."""
        if search.left == 0:
            return False
        return not search.is_best or (name in GLOBAL_MEMBERS and not search.is_best_global)

    running = {name: MEMBERS[name](search) for name in names}
    # Cheap proposals first, each member to its end while the time allows; then all in turn.
    early = time.perf_counter() + EARLY_SHARE * search.left
    for name in [name for name in EARLY_MEMBERS if name in running]:
        while wanted(name):
            if time.perf_counter() >= early:
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


def _judge(search: Search, policies: Tensor, name: str) -> _Found | None:
    """The proposal if it is certified and better than what there is."""
    welfare = search.welfare(policies).item()
    may_be_global = name in GLOBAL_MEMBERS and welfare > search.global_floor + search.slack
    if welfare <= search.floor + search.slack and not may_be_global and name != "full-revelation":
        return None
    if not search.certifies(policies, search.radius, CERTIFY_SHARE):
        return None
    is_global = may_be_global and search.certifies(policies, None, CERTIFY_GLOBAL_SHARE)
    if is_global:
        search.global_floor = max(search.global_floor, welfare)
    search.floor = max(search.floor, welfare)
    return _Found(policies, welfare, name, is_global)
