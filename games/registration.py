"""Registries: named entries that can be added, but neither replaced nor removed."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

from games import checks

REQUIRED: Any = None  # default of an entry's field that must be given; its check refuses None


class Named(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


class Registry(Mapping[str, Entry]):
    """Entries of one class by name, in the order of registration.

    Args:
        kind: their class; it checks its fields.
        *entries: to begin with.
    """

    def __init__(self, kind: type[Entry], *entries: Entry) -> None:
        self._kind = kind
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            self.register(entry)

    def register(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            ValueError: if it is of another class, or its name is taken.
        """
        name = checks.instance("entry", entry, self._kind).name
        if name in self:
            raise ValueError(f"name {name!r} is taken, by {checks.shown(self[name])}")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"{name!r} is not registered{checks.meant(name, self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
