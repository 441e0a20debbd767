"""A member of the portfolio, and the registry of members.

A new member is a file with a generator of proposals and one line in `members`, or one call of
`register` from outside. `find_equilibria` and `dnl.solve` then know its name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dnl.equilibria.gradient_ascent import surrogate_ascent
from dnl.equilibria.search import Proposals, Search
from dnl.surrogates.registry import SURROGATES
from games import checks

REQUIRED: Any = None  # of a field that has no default: checked when the value is made
SURROGATE = "surrogate-"  # what the members that ascend a surrogate are called before its name


@dataclass(frozen=True, eq=False, kw_only=True)
class Member:
    """A way to propose profiles that may be equilibria.

    Attributes:
        name: what users call it, and the `source` of the equilibria that it proposes.
        propose: the generator of proposals. It yields None, too, so that others have their turn.
        early: it runs to its end, in order of registration, before the others take turns.
        may_be_global: its proposals may be equilibria for any deviation. So it runs until the best
            of those is found, and its proposals are tested for it.
        prove_global_first: the proof for any deviation is tried before that within the radius.
        is_promised: its certified proposals are returned whatever their welfare.
        is_default: it takes part where a caller names no members.

    Raises:
        ValueError: naming the field that is missing or malformed.
    """

    name: str = REQUIRED
    propose: Callable[[Search], Proposals] = REQUIRED
    early: bool = False
    may_be_global: bool = False
    prove_global_first: bool = False
    is_promised: bool = False
    is_default: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be a string that is not empty, got {self.name!r}")
        if not callable(self.propose):
            raise ValueError(f"propose must be a function, got {checks.shown(self.propose)}")
        for flag in ("early", "may_be_global", "prove_global_first", "is_promised", "is_default"):
            checks.instance(flag, getattr(self, flag), bool)


class _Members(Mapping[str, Member]):
    """Registered members by name; then, for each registered surrogate, one that ascends it."""

    def __init__(self, registered: Mapping[str, Member]) -> None:
        self._registered = registered

    def __getitem__(self, name: str) -> Member:
        if name in self._registered:
            return self._registered[name]
        surrogate = name.removeprefix(SURROGATE)
        if surrogate == name or surrogate not in SURROGATES:
            raise KeyError(name)
        return Member(name=name, propose=partial(surrogate_ascent, surrogate), is_default=False)

    def __iter__(self) -> Iterator[str]:
        yield from self._registered
        yield from (SURROGATE + name for name in SURROGATES)

    def __len__(self) -> int:
        return len(self._registered) + len(SURROGATES)


_registered: dict[str, Member] = {}
MEMBERS: Mapping[str, Member] = _Members(_registered)


def register(member: Member) -> None:
    """Make a member known by its name, in this process.

    Raises:
        ValueError: if it is no `Member`, or the name is taken.
    """
    checks.instance("member", member, Member)
    if member.name in MEMBERS:
        raise ValueError(f"name must be a new one, got {member.name!r}, which is registered")
    _registered[member.name] = member


def default_members() -> tuple[str, ...]:
    """The members that run where none are named: those that know the game."""
    return tuple(name for name, member in MEMBERS.items() if member.is_default)
