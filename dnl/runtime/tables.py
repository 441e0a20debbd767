"""Tables of results: CSV files whose finished rows survive an interruption."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dnl.runtime import interruption
from dnl.runtime.records import Row
from games.checks import shown
from games.files import write_text

Key = tuple[Any, ...]
TEXTS = ("commit", "game")  # columns of hexadecimal digits, which may look like numbers


class Table:
    """A table with one row per key, in a CSV file that is written whenever rows are added.

    Args:
        path: of the file.
        keys: the columns that hold the key.
        rows: rows that are finished already.
        order: the keys of all rows in the order of the table (default: sorted).

    Attributes:
        rows: the finished rows by key.
    """

    def __init__(
        self,
        path: Path,
        keys: Sequence[str],
        rows: Iterable[Row] = (),
        order: Sequence[Key] | None = None,
    ) -> None:
        self.file, self.keys, self.order = path, tuple(keys), order
        self.rows = {self.key(row): row for row in rows}

    def key(self, row: Row) -> Key:
        """The key of a row."""
        return tuple(row[name] for name in self.keys)

    def add(self, rows: Sequence[Row]) -> None:
        """Add finished rows and write the table."""
        with interruption.held_back():
            self.rows |= {self.key(row): row for row in rows}
            write_table(self.frame(), self.file)

    def frame(self) -> pd.DataFrame:
        """The finished rows."""
        if self.order is None:
            rows = pd.DataFrame(list(self.rows.values()))
            return rows.sort_values(list(self.keys), ignore_index=True)
        return pd.DataFrame([self.rows[key] for key in self.order if key in self.rows])


def read_rows(path: Path, names: Sequence[str], keys: Sequence[Key]) -> list[Row]:
    """Read the rows of a table that have values in the columns `names`.

    Args:
        path: of the table; a missing or empty file has no rows.
        names: the columns of a key, and possibly others.
        keys: some keys; columns that hold text in the first one are read as text.

    Raises:
        ValueError: if the file is not a table with these columns.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    key = dict(zip(names, keys[0], strict=False)) if keys else {}
    texts = {name for name, value in key.items() if isinstance(value, str)}
    frame = read_table(path, texts | set(TEXTS) - key.keys())
    check_columns(path, frame, names)
    found: list[Any] = frame.dropna(subset=list(names)).to_dict("records")
    return found


def read_table(path: Path, texts: Collection[str] = TEXTS) -> pd.DataFrame:
    """Read a table, with numbers exactly as they were written and without truncated rows.

    Args:
        path: of the table.
        texts: columns of text that may look like numbers.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not a table; the message names the file.
    """
    text = dict.fromkeys(texts, str)
    try:
        written = path.read_text()
        head = written.partition("\n")[0]
        if "," not in head and any(mark in head for mark in ";\t"):
            raise ValueError(f"its columns must be separated by commas, got {shown(head)}")
        whole = io.StringIO(_whole_rows(written))
        if _pandas() >= (3, 1):
            return pd.read_csv(whole, dtype=text)
        return pd.read_csv(whole, dtype=text, float_precision="round_trip")
    except ValueError as error:  # includes errors of pandas and of decoding
        raise ValueError(f"{path} holds no table: {error}") from error


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV file as a whole or not at all."""
    write_text(path, frame.to_csv(index=False))


def check_columns(path: Path, frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise a ValueError if a table lacks one of the columns `names`."""
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(
            f"{path} must have the columns {', '.join(names)}, got {shown(list(frame))} "
            f"without {', '.join(missing)}"
        )


def _whole_rows(text: str) -> str:
    """Remove rows with too few or too many fields, and a last row without the end of its line."""
    kept = io.StringIO()
    writer = csv.writer(kept, lineterminator="\n")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    width: int | None = None
    ends = text.endswith("\n")
    held: list[str] | None = None  # the last row read: it is complete only if more text follows
    try:
        for row in rows:
            if held is not None:
                writer.writerow(held)
            width = width or len(row)
            held = row if len(row) == width else None
    except csv.Error:  # the text ends inside quotes, in the row after the held one
        ends = True
    if held is not None and ends:
        writer.writerow(held)
    return kept.getvalue()


def _pandas() -> tuple[int, int]:
    """The version of pandas: since 3.1 exact reading is the default, and its option deprecated."""
    major, minor, *_ = pd.__version__.split(".")
    return int(major), int(minor)
