"""The progress of a command: a bar on a terminal, or else one line per finished task."""

import sys
from typing import Any, NoReturn

from tqdm import tqdm


def bar(quiet: bool, **options: Any) -> "tqdm[NoReturn]":
    """A progress bar of tqdm on standard error; hidden unless that is a terminal."""
    return tqdm(disable=quiet or not on_terminal(), **options)


def line(text: str, quiet: bool) -> None:
    """Print `text` if standard error is a file or a pipe, where a bar would fill many lines."""
    if not quiet and not on_terminal():
        print(text, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Format as minutes and seconds, or hours, minutes and seconds."""
    return tqdm.format_interval(seconds)
