"""A function that is interrupted once, as Ctrl-C would."""

from typing import Any

import pytest


def interrupted_on(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int
) -> list[tuple[Any, ...]]:
    """Make that call of `module.name` raise KeyboardInterrupt; the first argument of each call."""
    function, asked = getattr(module, name), []

    def wrapped(first: tuple[Any, ...], *rest: Any) -> Any:
        asked.append(first)
        if len(asked) == call:
            raise KeyboardInterrupt
        return function(first, *rest)

    monkeypatch.setattr(module, name, wrapped)
    return asked
