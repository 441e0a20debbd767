"""Run the members of the search in turn and keep the proposals that are certified."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from dnl.equilibria.member import MEMBERS, Member
from dnl.equilibria.search import GLOBAL, Proposals, Search, canonical
from dnl.equilibria.verification import Verdict
from games.checks import shown

CERTIFY_SHARE = 0.15  # of the time left, for certifying one proposal
FIRST_SHARE = 0.4  # the same while nothing is certified
CERTIFY_GLOBAL_SHARE = 0.05  # of the time left, for certifying it against any deviation
MOST_ALIKE = 2  # failed tries of that per member and level of worth
EARLY_SHARE = 0.5  # of the search time, for early members


@dataclass(frozen=True, eq=False)
class Candidate:
    """A certified proposal.

    Attributes:
        policies: `(N, S, M)`.
        worth: what the search ranks it by.
        member: the member that proposed it.
        is_global: whether it is certified against any deviation.
        seconds: time of its certificate.
    """

    policies: Tensor
    worth: float
    member: Member
    is_global: bool
    seconds: float


class Collector:
    """Collects certified proposals, each better than the previous ones, locally or globally.

    Args:
        search: the game and the state of the search.
        on_step: called with a message at each step of a member.
        on_certified: called with the profile `(N, S, M)` and the name of the member.
    """

    def __init__(
        self,
        search: Search,
        on_step: Callable[[str], None],
        on_certified: Callable[[Tensor, str], None] | None,
    ) -> None:
        self.search, self.on_step, self.on_certified = search, on_step, on_certified
        self.found: list[Candidate] = []
        self._seen: set[bytes] = set()
        # Member and worth of each proposal that was not proven to be global.
        self._refused: list[tuple[Member, float]] = []

    def collect(self, members: Iterable[Member]) -> list[Candidate]:
        """Run early members first, each to its end while time remains; then all in turn."""
        search = self.search
        running = {member: _proposals(member, search) for member in members}
        early = search.budget.part(EARLY_SHARE)
        for member in [m for m in MEMBERS.values() if m.early and m in running]:
            while self._is_wanted(member):
                if early.over:
                    search.cut = True  # the result depends on the clock
                    break
                if not self._step(member, running[member]):
                    del running[member]
                    break
        while running := {m: p for m, p in running.items() if self._is_wanted(m)}:
            for member in list(running):
                if not self._step(member, running[member]):
                    del running[member]
        return self.found

    def _is_wanted(self, member: Member) -> bool:
        """Whether the member may find something better than the candidates so far."""
        search = self.search
        if search.budget.over:
            return False
        if search.scope == GLOBAL:
            return member.is_promised or not search.is_best_global
        if member.is_promised or not search.is_best:
            return True
        return member.may_be_global and not search.is_best_global

    def _step(self, member: Member, proposals: Proposals) -> bool:
        """Run one step of a member; False if it has ended."""
        search = self.search
        try:
            policies = next(proposals)
        except StopIteration:
            return False
        best = f"best {search.ranking.label} {search.floor:.4g}" if self.found else "nothing yet"
        self.on_step(f"{member.name}: {best}")
        if policies is None:
            return True
        game = search.game
        size = (game.n_senders, game.n_states, game.n_signals)
        if not isinstance(policies, Tensor) or policies.shape != size or policies.isnan().any():
            raise ValueError(
                f"member {member.name!r} must propose profiles (N, S, M) = {size}, "
                f"got {shown(policies)}"
            )
        policies = policies / policies.sum(-1, keepdim=True)
        key = canonical(policies)
        if key not in self._seen:
            self._seen.add(key)
            candidate = self._judged(policies, member)
            if candidate is not None:
                self.found.append(candidate)
                if self.on_certified is not None:
                    self.on_certified(candidate.policies, member.name)
        return True

    def _judged(self, policies: Tensor, member: Member) -> Candidate | None:
        """The proposal `(N, S, M)` if it is certified and better than the candidates so far."""
        search = self.search
        worth = search.worth(policies).item()
        may_be_global = member.may_be_global or search.scope == GLOBAL
        may_be_global &= worth > search.global_floor + search.slack
        alike = [abs(worth - other) <= search.slack for m, other in self._refused if m is member]
        may_be_global &= sum(alike) < MOST_ALIKE
        is_better = search.scope != GLOBAL and worth > search.floor + search.slack
        if not is_better and not may_be_global and not member.is_promised:
            return None
        began = time.perf_counter()
        is_global = search.is_every_best(policies)
        share = CERTIFY_SHARE if search.floor > -float("inf") else FIRST_SHARE
        if search.scope == GLOBAL and not is_global:
            verdict = search.verdict(policies, None, share)
            is_global = verdict is Verdict.CERTIFIED
            if verdict is Verdict.UNDECIDED:  # a refutation is quick: it is tried again
                self._refused.append((member, worth))
            if not is_global:
                return None
        elif member.prove_global_first and may_be_global and not is_global:
            is_global = search.certifies(policies, None, share)
        implied = is_global and search.allowed(search.radius) >= search.allowed(None)
        if not implied and not search.certifies(policies, search.radius, share):
            return None
        seconds = time.perf_counter() - began
        if may_be_global and not is_global:
            is_global = search.certifies(policies, None, CERTIFY_GLOBAL_SHARE)
            if not is_global:
                self._refused.append((member, worth))
        if is_global:
            search.global_floor = max(search.global_floor, worth)
        search.floor = max(search.floor, worth)
        return Candidate(policies, worth, member, is_global, seconds)


def _proposals(member: Member, search: Search) -> Proposals:
    """What the member proposes; a ValueError that names it if that is no generator."""
    proposals = member.propose(search)
    if not isinstance(proposals, Iterator):
        raise ValueError(
            f"propose of member {member.name!r} must return a generator, got {shown(proposals)}"
        )
    return proposals
