"""The benchmark's table: one row per game and surrogate, in a folder that holds one run."""

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dnl.runtime import interruption
from dnl.runtime.records import RUN, Row, check_configuration, lock, make_writable, write_record
from dnl.runtime.tables import Key, Table, read_rows

KEYS = ("law", "n_senders", "n_signals", "n_states", "n_actions", "instance", "surrogate")
RESULTS = "results.csv"
ERRORS = "errors.log"
TRACEBACK = "traceback"  # of a failed row: for the log, not for the table

# After the keys and the status. A name with "{n}" stands for one column per sender.
COLUMNS = (
    "seed",
    "recipe",
    "parameter_count",
    "mse",
    "unexplained",
    "constant",
    "mse_{n}",
    "unexplained_{n}",
    "constant_{n}",
    "payoff_range_{n}",
    "fit_seconds",
    "solve_seconds",
    "radius",
    "starts",
    "not_refuted",
    "starts_not_refuted",
    "certified",
    "undecided",
    "starts_certified",
    "starts_undecided",
    "best_utility_{n}",
    "best_welfare",
    "certified_welfare",
    "finished_welfare",
    "fr_utility_{n}",
    "fr_welfare",
    "ni_utility_{n}",
    "ni_welfare",
    "start_utility_{n}",
    "start_welfare",
    "best_start_welfare",
    "certified_start_welfare",
    "finished_start_welfare",
    "game",
    "version",
    "commit",
    "hardware",
    "error",
)
WHOLE_NUMBERS = ("seed", "parameter_count", "starts", "not_refuted", "starts_not_refuted")
VERDICTS = ("certified", "undecided", "starts_certified", "starts_undecided")


class ResultFolder(Table):
    """A folder that holds one run: its configuration and the rows that are finished.

    While the object is there, other processes are refused the folder.

    Args:
        path: created where it does not exist.
        configuration: everything that decides the rows; JSON values.
        order: the keys of all rows of the run, in the order of the table.
        resume: take up a run that is in the folder already.

    Raises:
        OSError: if the folder cannot be written, or another process works in it.
        ValueError: if it holds rows and `resume` is not set, or another configuration, or a table
            that is none of a run's.
    """

    order: Sequence[Key]

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], order: Sequence[Key], resume: bool
    ) -> None:
        self.path = path
        self.n_senders = max(key[1] for key in order)
        make_writable(path)
        weakref.finalize(self, lock(path).release)
        if (path / RUN).exists():
            check_configuration(path, configuration)
        finished = read_rows(path / RESULTS, [*KEYS, "status"], order)
        if finished:
            check_configuration(path, configuration)
            if not resume:
                raise ValueError(
                    f"out holds {len(finished)} rows already, got {str(path)!r}: add --resume to "
                    "go on, or choose another folder"
                )
        kept = [row for row in finished if row["status"] == "ok"]
        super().__init__(path / RESULTS, KEYS, kept, list(order))
        try:
            self.frame()
        except (TypeError, ValueError) as error:
            raise ValueError(f"out holds a broken {RESULTS}, got {str(path)!r}: {error}") from error
        if not (path / RUN).exists():
            write_record(path, configuration)

    @property
    def missing(self) -> list[Key]:
        """Keys whose rows are not finished, in order; failed rows count as missing on resume."""
        return [key for key in self.order if key not in self.rows]

    def add(self, rows: Sequence[Row]) -> None:
        """Add finished rows and write the table; tracebacks of failed ones go to the log."""
        failed = [row for row in rows if TRACEBACK in row]
        with interruption.held_back():
            if failed:
                with (self.path / ERRORS).open("a") as log:
                    log.writelines(_block(row) for row in failed)
            super().add(rows)

    def frame(self) -> pd.DataFrame:
        """The finished rows in the run's order, with all columns."""
        frame = super().frame().reindex(columns=columns(self.n_senders))
        # Types that keep whole numbers whole where others are missing.
        types = dict.fromkeys(WHOLE_NUMBERS + VERDICTS, "Int64")
        types |= {str(name): "boolean" for name in frame if str(name).startswith("constant")}
        return frame.astype(types)


def columns(n_senders: int) -> list[str]:
    """Names of all columns of a table with up to `n_senders` senders."""
    names = [*KEYS, "status"]
    for name in COLUMNS:
        senders = range(n_senders) if "{n}" in name else range(1)
        names += [name.format(n=n) for n in senders]
    return names


def per_sender(name: str, values: torch.Tensor) -> Row:
    """One entry per sender: `{name_0: values[0], ...}`."""
    return {f"{name}_{n}": value for n, value in enumerate(values.tolist())}


def _block(row: Row) -> str:
    """What the log says of a failed row."""
    return f"{', '.join(f'{name}={row[name]}' for name in KEYS)}\n{row[TRACEBACK]}\n"
