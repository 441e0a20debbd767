"""Examples in a Markdown page: the Python that it shows, and what the page says it prints."""

import contextlib
import io
import re
from dataclasses import dataclass

EXAMPLE = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Example:
    """A block of Python, and the block of text right below it; None where there is none."""

    code: str
    output: str | None

    def printed(self) -> str:
        """What the code prints."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(self.code, "example", "exec"), {})
        return out.getvalue()


def examples(page: str) -> list[Example]:
    """All examples of a page, in order."""
    return [Example(code, output or None) for code, output in EXAMPLE.findall(page)]


def alike(shown: str, printed: str) -> bool:
    """Whether a program printed what a page shows.

    Words and whole numbers must be equal. Other numbers may differ by one in the last digit that is
    shown: networks are trained in single precision, which processors round differently.
    """
    words, other_words = (NUMBER.split(text.rstrip()) for text in (shown, printed))
    numbers, others = (NUMBER.findall(text) for text in (shown, printed))
    return words == other_words and all(map(_close, numbers, others))


def _close(shown: str, printed: str) -> bool:
    digits, _, power = shown.lower().partition("e")
    decimals = len(digits.partition(".")[2])
    if not decimals and not power:
        return shown == printed
    unit = 10.0 ** (int(power or 0) - decimals)
    return abs(float(shown) - float(printed)) <= 1.001 * unit
