"""Tables, wrapped paragraphs and numbers of the text reports."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context

from torch import Tensor

WIDTH = 100  # columns of a line
ROUNDING = 1e-12  # of a sum of probabilities
MOST_DECIMALS_ADDED = 3  # to a row of utilities, so that all rows have equally many


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: Sequence[str] = (),
    kept: int = 1,
) -> str:
    """Columns aligned to the right; the first, and those whose titles are in `words`, to the left.

    A table wider than `WIDTH` is cut into several, each with the first `kept` columns.
    """
    lines = [titles, *rows]
    columns = []
    for k, cells in enumerate(zip(*lines, strict=True)):
        width = max(map(len, cells))
        is_left = k == 0 or titles[k] in words
        columns.append([cell.ljust(width) if is_left else cell.rjust(width) for cell in cells])
    parts: list[list[list[str]]] = [columns[:kept]]
    for column in columns[kept:]:
        used = sum(len(other[0]) + 3 for other in parts[-1])
        if len(parts[-1]) > kept and used + len(column[0]) + 2 > WIDTH:
            parts.append(columns[:kept])
        parts[-1] = [*parts[-1], column]
    return "\n\n".join(
        "\n".join(("  " + "   ".join(line)).rstrip() for line in zip(*part, strict=True))
        for part in parts
    )


def paragraph(text: str, indent: int = 0, hanging: int | None = None) -> str:
    """`text` in lines of at most `WIDTH` columns."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if hanging is None else hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )


def entries(lines: Sequence[tuple[str, str]], indent: int = 2) -> str:
    """Words, each with its explanation beside it."""
    width = max(len(word) for word, _ in lines) + 2
    return "\n".join(
        paragraph(f"{word:<{width}}{text}", indent, indent + width) for word, text in lines
    )


def aligned(rows: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Rows of utilities with the decimals that give the largest number of each row six digits.

    All rows have the decimals of the finest, unless their sizes differ by a factor of thousands.
    """
    decimals = {
        name: max(0, 5 - math.floor(math.log10(largest)))
        for name, values in rows.items()
        if (largest := max(map(abs, values))) > 0
    }
    finest = max(decimals.values(), default=0)
    if finest - min(decimals.values(), default=0) <= MOST_DECIMALS_ADDED:
        decimals = dict.fromkeys(rows, finest)
    return [
        [name, *(f"{value:.{decimals.get(name, 0)}f}" for value in values)]
        for name, values in rows.items()
    ]


def number(value: float, digits: int = 6) -> str:
    """`value` rounded to nearest."""
    return f"{value:.{digits}g}"


def bound(value: float, digits: int = 3) -> str:
    """`value` rounded up, so that a proven bound holds as printed."""
    if not math.isfinite(value):
        return "no bound"
    rounded = Context(prec=digits, rounding=ROUND_CEILING).create_decimal(value)
    return f"{float(rounded):.{digits}g}"


def probability(value: float | Tensor) -> str:
    """Four decimals; exactly 0 is ".", 1 is "1" up to rounding, tiny numbers show their size."""
    value = float(value)
    if value == 0 or abs(value - 1) <= ROUNDING:
        return "." if value == 0 else "1"
    return f"{value:.0e}" if value < 5e-5 else f"{value:.4f}"
