"""Command lines made from typed functions: one line per error, exit code 2 before any work."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, get_args

from cyclopts import App, CycloptsError, Parameter, Token, convert

FLAG = Parameter(negative=())  # no --no-flag
MANY = Parameter(consume_multiple=True, negative=())  # --names a b c


def run(function: Callable[..., int], name: str, tokens: Sequence[str] | None = None) -> int:
    """Parse a command line into the parameters of `function` and call it.

    Args:
        function: its annotated parameters are the options, its docstring the help text.
        name: of the command, e.g. `"dnl.bench"`; shown in help and errors.
        tokens: the command line; None for that of the process.

    Returns:
        What the function returned, or 2 after printing an error (a malformed command line, or a
        ValueError, OSError or ImportError of the function) as one line that begins with the name,
        or 130 after an interruption.
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
        result = app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        text = " ".join(str(error).split())
        print(f"{name}: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"{name}: interrupted. What is finished is kept: the same command goes on there.",
            file=sys.stderr,
        )
        return 130
    return 0 if result is None else int(result)  # --help returns None


def _strictly(type_: Any, tokens: Sequence[Token]) -> Any:
    """What cyclopts makes of the tokens, but 1.5 is not rounded where a whole number is due."""
    if int in (get_args(type_) or (type_,)):
        for token in tokens:
            try:
                int(token.value)
            except ValueError:
                raise ValueError(
                    f"{token.keyword} must be a whole number, got {token.value!r}"
                ) from None
    return convert(type_, tokens)
