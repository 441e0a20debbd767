"""Command lines from typed functions: an error is one line and exit code 2, before any work."""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from cyclopts import App, CycloptsError, Parameter, Token, convert

from dnl.runtime import interruption
from games.checks import LARGEST, shown

FLAG = Parameter(negative=())  # no --no-flag
MANY = Parameter(consume_multiple=True, negative=())  # --names a b c
INTERRUPTED = 130  # returned by a command that saved its results; `run` makes it 143 on SIGTERM
MOST_CHARACTERS = 2000  # of an error's line

_names: list[str] = []  # of the running commands: one, except in tests that nest them


def run(function: Callable[..., int], name: str, tokens: Sequence[str] | None = None) -> int:
    """Parse a command line into the parameters of `function` and call it.

    Args:
        function: its annotated parameters are the options, its docstring is the help text.
        name: of the command, e.g. `"dnl.bench"`, for help and errors.
        tokens: the command line (default: that of the process).

    Returns:
        The function's result; 2 after an error (a malformed command line, or a ValueError, OSError
        or ImportError of the function), which is printed as one line that begins with the name; 130
        after Ctrl-C; 143 after SIGTERM.
    """
    app = App(
        name=f"python -m {name}",
        version_flags=(),
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # handled below
        default_parameter=Parameter(converter=_strictly),
    )
    app.default(function)
    arguments = list(sys.argv[1:] if tokens is None else tokens)
    try:
        with interruption.interruptible(), _called(name):
            result = app(arguments, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        return _interrupted(name)
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        if interruption.received() is not None:  # which may look like a failed import
            return _interrupted(name)
        print(f"{name}: error: {_one_line(error)}", file=sys.stderr)
        return 2
    if result is None:  # --help
        return 0
    return interruption.exit_code() if int(result) == INTERRUPTED else int(result)


def called() -> str | None:
    """The name of the running command, if any."""
    return _names[-1] if _names else None


def resume_command(name: str, arguments: Sequence[str], path: Path) -> str:
    """The command line that resumes the run of the command `name` in the folder `path`."""
    kept = list(arguments)
    if "--out" not in kept and not any(a.startswith("--out=") for a in kept):
        kept += ["--out", str(path)]
    if "--resume" not in kept:
        kept.append("--resume")
    return shlex.join(["python", "-m", name, *kept])


@contextmanager
def _called(name: str) -> Iterator[None]:
    _names.append(name)
    try:
        yield
    finally:
        _names.pop()


def _interrupted(name: str) -> int:
    print(
        f"{name}: {interruption.word()}. What is finished is kept: the same command goes on there.",
        file=sys.stderr,
    )
    return interruption.exit_code()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 4]} ..."


def _strictly(type_: Any, tokens: Sequence[Token]) -> Any:
    """Convert as cyclopts does, but refuse to round integers and expand "~" in paths."""
    kinds = set(_kinds(type_))
    if int in kinds:
        for token in tokens:
            _check_whole(token)
    if Path in kinds:
        tokens = [token.evolve(value=_expanded(token)) for token in tokens]
    return convert(type_, tokens)


def _kinds(type_: Any) -> Iterator[Any]:
    """The types in an annotation, e.g. int and None in `tuple[int, ...] | None`."""
    parts = get_args(type_)
    if not parts:
        yield type_
    for part in parts:
        yield from _kinds(part)


def _check_whole(token: Token) -> None:
    try:
        value = int(token.value)
    except ValueError:
        raise ValueError(
            f"{token.keyword} must be a whole number, got {shown(token.value)}"
        ) from None
    if abs(value) > LARGEST:
        raise ValueError(f"{token.keyword} must be below 2**63, got {shown(token.value)}")


def _expanded(token: Token) -> str:
    """Expand "~", which a shell does not do in `--out=~/x`."""
    try:
        return str(Path(token.value).expanduser())
    except RuntimeError as error:  # "~nobody"
        raise ValueError(f"{token.keyword} must be a path, got {token.value!r}: {error}") from error
