"""Tables of results: CSVs that are complete at every moment, and rows that outlive a run."""

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
TEXTS = ("commit", "game")  # columns of hexadecimal digits, which can look like numbers


class Table:
    """Rows that a key tells apart, in a CSV that is written whenever rows are added.

    Args:
        path: the file.
        keys: the columns that hold the key.
        rows: those that are finished already.
        order: the keys of all rows, as the table orders them; by default it is sorted by key.

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
    """The rows of the table at `path` that fill the columns `names`.

    Args:
        path: of the table; none, or an empty file, has no rows.
        names: columns; those of a key come first.
        keys: some keys: what is text in them is text in the table, too.

    Raises:
        ValueError: if it is no table, or lacks one of these columns.
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
    """A table with every number exactly as it was written; rows that were cut are left out.

    Args:
        path: of the table.
        texts: columns of text that can look like numbers.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no table; the message names the file.
    """
    text = dict.fromkeys(texts, str)
    try:
        whole = io.StringIO(_whole_rows(path.read_text()))
        if _pandas() >= (3, 1):
            return pd.read_csv(whole, dtype=text)
        return pd.read_csv(whole, dtype=text, float_precision="round_trip")
    except ValueError as error:  # those of pandas and of the decoder are ValueErrors, too
        raise ValueError(f"{path} holds no table: {error}") from error


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV that is complete at every moment, whatever happens."""
    write_text(path, frame.to_csv(index=False))


def check_columns(path: Path, frame: pd.DataFrame, names: Sequence[str]) -> None:
    """A ValueError where a table lacks one of the columns `names`."""
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(
            f"{path} must have the columns {', '.join(names)}, got {shown(list(frame))} "
            f"without {', '.join(missing)}"
        )


def _whole_rows(text: str) -> str:
    """`text` less the rows that end before their line does, or have too few or too many fields."""
    kept = io.StringIO()
    writer = csv.writer(kept, lineterminator="\n")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    width: int | None = None
    ends = text.endswith("\n")
    held: list[str] | None = None  # the last row read: whole only if the text goes on after it
    try:
        for row in rows:
            if held is not None:
                writer.writerow(held)
            width = width or len(row)
            held = row if len(row) == width else None
    except csv.Error:  # the text ends within the quotes of a row after the one held
        ends = True
    if held is not None and ends:
        writer.writerow(held)
    return kept.getvalue()


def _pandas() -> tuple[int, int]:
    """Version of pandas: reading is exact by default from 3.1 on, and asking for it deprecated."""
    major, minor, *_ = pd.__version__.split(".")
    return int(major), int(minor)
