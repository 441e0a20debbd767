"""The results folder of a benchmark: a table with one row per game and surrogate, and a log."""

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
TRACEBACK = "traceback"  # entry of a failed row that goes to the log, not to the table

# Columns after the keys and the status. "{n}" stands for one column per sender.
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
    """The folder of one run: its configuration and its finished rows.

    The folder is locked against other processes for the lifetime of this object.

    Args:
        path: of the folder, which is created if necessary.
        configuration: all settings that affect the rows, as JSON values.
        order: the keys of all rows of the run, in the order of the table.
        resume: continue a run whose rows are in the folder.

    Raises:
        OSError: if the folder is not writable, or another process works in it.
        ValueError: if it has rows and `resume` is not set, or if its configuration is another one,
            or if its table is not one of a benchmark.
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
        """Keys without a finished row, in order; a resumed run computes failed rows again."""
        return [key for key in self.order if key not in self.rows]

    def add(self, rows: Sequence[Row]) -> None:
        """Add finished rows, write the table, and append tracebacks of failed rows to the log."""
        failed = [row for row in rows if TRACEBACK in row]
        with interruption.held_back():
            if failed:
                with (self.path / ERRORS).open("a") as log:
                    log.writelines(_block(row) for row in failed)
            super().add(rows)

    def frame(self) -> pd.DataFrame:
        """The finished rows in the order of the run, with all columns."""
        frame = super().frame().reindex(columns=columns(self.n_senders))
        # These types keep integers and booleans where other rows have no value.
        types = dict.fromkeys(WHOLE_NUMBERS + VERDICTS, "Int64")
        types |= {str(name): "boolean" for name in frame if str(name).startswith("constant")}
        return frame.astype(types)


def columns(n_senders: int) -> list[str]:
    """The names of all columns of a table with up to `n_senders` senders."""
    names = [*KEYS, "status"]
    for name in COLUMNS:
        senders = range(n_senders) if "{n}" in name else range(1)
        names += [name.format(n=n) for n in senders]
    return names


def per_sender(name: str, values: torch.Tensor) -> Row:
    """One entry per sender: `{name_0: values[0], ...}`."""
    return {f"{name}_{n}": value for n, value in enumerate(values.tolist())}


def _block(row: Row) -> str:
    """The log's entry for a failed row."""
    return f"{', '.join(f'{name}={row[name]}' for name in KEYS)}\n{row[TRACEBACK]}\n"
