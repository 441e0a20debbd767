"""Command lines made from typed functions: one line per error, exit code 2 before any work."""

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
INTERRUPTED = 130  # what a command returns that kept what it had; after SIGTERM 143 is made of it
LONGEST = 2000  # characters of an error's line

_names: list[str] = []  # of the commands that are working; one, but where a test nests them


def run(function: Callable[..., int], name: str, tokens: Sequence[str] | None = None) -> int:
    """Parse a command line into the parameters of `function` and call it.

    Args:
        function: its annotated parameters are the options, its docstring the help text.
        name: of the command, e.g. `"dnl.bench"`; shown in help and errors.
        tokens: the command line; None for that of the process.

    Returns:
        What the function returned; 2 after printing an error (a malformed command line, or a
        ValueError, OSError or ImportError of the function) as one line that begins with the name;
        130 after Ctrl-C and 143 after SIGTERM.
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
        if interruption.received() is not None:  # an import that Ctrl-C ended may say so
            return _interrupted(name)
        print(f"{name}: error: {_one_line(error)}", file=sys.stderr)
        return 2
    if result is None:  # --help
        return 0
    return interruption.exit_code() if int(result) == INTERRUPTED else int(result)


def called() -> str | None:
    """The name of the command that is working; None where no command is."""
    return _names[-1] if _names else None


def resume_command(name: str, arguments: Sequence[str], path: Path) -> str:
    """The command line that goes on with the run of the command `name` in the folder `path`."""
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
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def _strictly(type_: Any, tokens: Sequence[Token]) -> Any:
    """What cyclopts makes of the tokens; but whole numbers are not rounded, and "~" is a home."""
    kinds = set(_kinds(type_))
    if int in kinds:
        for token in tokens:
            _check_whole(token)
    if Path in kinds:
        tokens = [token.evolve(value=_expanded(token)) for token in tokens]
    return convert(type_, tokens)


def _kinds(type_: Any) -> Iterator[Any]:
    """The types that an annotation is made of: int and None of `tuple[int, ...] | None`."""
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
    """A shell does not expand the "~" of `--out=~/x`."""
    try:
        return str(Path(token.value).expanduser())
    except RuntimeError as error:  # "~nobody"
        raise ValueError(f"{token.keyword} must be a path, got {token.value!r}: {error}") from error
