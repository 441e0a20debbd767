"""A member of the portfolio, and the registry of members.

A new member is a file with a generator of proposals and one line in `members`, or one call of
`register` from outside. `find_equilibria` and `dnl.solve` then know its name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from dnl.equilibria.gradient_ascent import surrogate_ascent
from dnl.equilibria.search import GLOBAL, LOCAL, Proposals, Search
from dnl.surrogates.registry import SURROGATES
from games import checks
from games.registration import REQUIRED, Registry

SURROGATE = "surrogate-"  # what the members that ascend a surrogate are called before its name
FLAGS = ("early", "may_be_global", "prove_global_first", "is_promised", "is_default", "is_local")


@dataclass(frozen=True, eq=False, kw_only=True)
class Member:
    """A way to propose profiles that may be equilibria.

    Attributes:
        name: what users call it, and the `source` of the equilibria that it proposes.
        propose: the generator of proposals. It yields None, too, so that others have their turn.
        early: it runs to its end, in order of registration, before the others take turns.
        may_be_global: its proposals may be equilibria for any deviation. So it runs until the best
            of those is found, and its proposals are tested for it. In a search of scope `"global"`
            this holds for every member.
        prove_global_first: the proof for any deviation is tried before that within the radius.
        is_promised: its certified proposals are returned whatever they are worth.
        is_default: it takes part where a caller names no members.
        is_local: it looks for local equilibria. In a search of scope `"global"`, where it looks for
            others, it takes part only if it is named: members that do so anyway have the time.
        describes: its proposals in a short phrase, for reports.

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
    is_local: bool = False
    describes: str = ""

    def __post_init__(self) -> None:
        checks.filled("name", self.name)
        checks.instance("describes", self.describes, str)
        checks.function("propose", self.propose)
        for flag in FLAGS:
            checks.instance(flag, getattr(self, flag), bool)


class _Members(Registry[Member]):
    """Registered members by name; then, for each registered surrogate, one that ascends it."""

    def register(self, entry: Member) -> None:
        if isinstance(entry, Member) and entry.name.startswith(SURROGATE):
            raise ValueError(f"name must not begin with {SURROGATE!r}, got {entry.name!r}")
        super().register(entry)

    def __getitem__(self, name: str) -> Member:
        surrogate = name.removeprefix(SURROGATE)
        if surrogate == name or surrogate not in SURROGATES:
            return super().__getitem__(name)
        return Member(
            name=name,
            propose=partial(surrogate_ascent, surrogate),
            is_default=False,
            describes=f"ascent on the surrogate {surrogate!r}, then best responses",
        )

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        yield from (SURROGATE + name for name in SURROGATES)

    def __len__(self) -> int:
        return super().__len__() + len(SURROGATES)


MEMBERS = _Members(Member)
register = MEMBERS.register


def default_members(scope: str = LOCAL) -> tuple[str, ...]:
    """The members that run where none are named: those that know the game and suit the scope."""
    return tuple(
        name
        for name, member in MEMBERS.items()
        if member.is_default and not (scope == GLOBAL and member.is_local)
    )
