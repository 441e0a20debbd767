"""The progress of a command: a bar on a terminal, elsewhere one line per finished task."""

import sys
from typing import Any, NoReturn

from tqdm import tqdm


def bar(quiet: bool, **options: Any) -> "tqdm[NoReturn]":
    """A bar of tqdm's on standard error, which shows nothing where `line` does."""
    return tqdm(disable=quiet or not on_terminal(), **options)


def line(text: str, quiet: bool) -> None:
    """Print `text` where standard error is a file or a pipe, which a bar would fill."""
    if not quiet and not on_terminal():
        print(text, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether somebody watches standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds."""
    return tqdm.format_interval(seconds)
