"""Tables of results: one row per game and surrogate, safe against interruption, with provenance."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from dnl.runtime import cli, interruption
from dnl.runtime.devices import describe_hardware
from games.checks import shown
from games.files import write_text

KEYS = ("law", "n_senders", "n_signals", "n_states", "n_actions", "instance", "surrogate")
RESULTS = "results.csv"
RUN = "run.json"
LOCK = ".lock"
LOCK_SECONDS = 3.0  # of waiting for a folder: workers of a killed process end within one
Key = tuple[Any, ...]
Row = dict[str, Any]

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
VERDICTS = ("certified", "undecided", "starts_certified", "starts_undecided")
COUNTS = ("seed", "parameter_count", "starts", "not_refuted", "starts_not_refuted", *VERDICTS)


class ResultFolder:
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

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], order: Sequence[Key], resume: bool
    ) -> None:
        self.path = path
        self.order = list(order)
        self.n_senders = max(key[1] for key in self.order)
        self.rows: dict[Key, Row] = {}
        make_writable(path)
        weakref.finalize(self, lock(path).release)
        run_file, table = path / RUN, path / RESULTS
        if run_file.exists():
            self._check_configuration(configuration)
        finished = read_rows(table) if table.exists() else []
        if finished:
            if not run_file.exists():
                raise ValueError(f"out holds rows of an unknown run, got {str(path)!r}: no {RUN}")
            if not resume:
                raise ValueError(
                    f"out holds {len(finished)} rows already, got {str(path)!r}: add --resume to "
                    "go on, or choose another folder"
                )
            self.rows = {_key(row): row for row in finished if row.get("status") == "ok"}
            try:
                self.frame()
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"out holds a broken {RESULTS}, got {str(path)!r}: {error}"
                ) from error
        if not run_file.exists():
            write_record(path, configuration)

    def _check_configuration(self, configuration: Mapping[str, Any]) -> None:
        there = read_record(self.path)["configuration"]
        here = json.loads(json.dumps(configuration))
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise ValueError(
                    f"out holds a run with {name}={shown(there.get(name))}, got {name}="
                    f"{shown(here.get(name))} and out={str(self.path)!r}: choose another folder"
                )

    @property
    def missing(self) -> list[Key]:
        """Keys whose rows are not finished, in order; failed rows count as missing on resume."""
        return [key for key in self.order if key not in self.rows]

    def add(self, rows: Sequence[Row]) -> None:
        """Add finished rows and write the table: complete at every moment, whatever happens."""
        with interruption.held_back():
            for row in rows:
                self.rows[_key(row)] = row
            write_table(self.frame(), self.path / RESULTS)

    def frame(self) -> pd.DataFrame:
        """The finished rows in the run's order, with all columns."""
        rows = [self.rows[key] for key in self.order if key in self.rows]
        frame = pd.DataFrame(rows, columns=columns(self.n_senders))
        # Types that keep whole numbers whole where others are missing.
        types = dict.fromkeys(COUNTS, "Int64")
        types |= {str(name): "boolean" for name in frame if str(name).startswith("constant")}
        return frame.astype(types)


def make_writable(path: Path) -> None:
    """Create the folder `path` where there is none; an OSError, now, if it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"out must be a writable folder, got {str(path)!r}: {error}") from error


def lock(path: Path) -> FileLock:
    """Keep other processes out of the folder `path`, until `release` or the end of this one.

    Raises:
        OSError: if another process works in the folder.
    """
    # One for the whole process, which may open a folder twice.
    held = FileLock(path / LOCK, is_singleton=True, thread_local=False)
    try:
        held.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise OSError(
            f"out must be a folder of its own, got {str(path)!r}: another process works in it"
        ) from None
    return held


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV that is complete at every moment, whatever happens."""
    write_text(path, frame.to_csv(index=False))


def columns(n_senders: int) -> list[str]:
    """Names of all columns of a table with up to `n_senders` senders."""
    names = [*KEYS, "status"]
    for name in COLUMNS:
        senders = range(n_senders) if "{n}" in name else range(1)
        names += [name.format(n=n) for n in senders]
    return names


def read_table(path: Path) -> pd.DataFrame:
    """A table with every number exactly as it was written; rows that were cut are left out.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no table; the message names the file.
    """
    text = {"commit": str, "game": str}  # hexadecimal digits can look like numbers
    try:
        whole = io.StringIO(_whole_rows(path.read_text()))
        if _pandas() >= (3, 1):
            return pd.read_csv(whole, dtype=text)
        return pd.read_csv(whole, dtype=text, float_precision="round_trip")
    except ValueError as error:  # those of pandas and of the decoder are ValueErrors, too
        raise ValueError(f"{path} holds no table: {error}") from error


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


def read_rows(path: Path) -> list[Row]:
    """The rows of a `results.csv` as dictionaries, without the columns that are empty in them.

    Raises:
        ValueError: if a column of `KEYS` or the status is not there.
    """
    frame = read_table(path)
    check_columns(path, frame, [*KEYS, "status"])
    return [
        {str(name): value for name, value in record.items() if pd.notna(value)}
        for record in frame.dropna(subset=list(KEYS)).to_dict("records")
    ]


def check_columns(path: Path, frame: pd.DataFrame, names: Sequence[str]) -> None:
    """A ValueError where a table lacks one of the columns `names`."""
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(
            f"{path} must have the columns {', '.join(names)}, got {shown(list(frame))} "
            f"without {', '.join(missing)}"
        )


def per_sender(name: str, values: torch.Tensor) -> Row:
    """One entry per sender: `{name_0: values[0], ...}`."""
    return {f"{name}_{n}": value for n, value in enumerate(values.tolist())}


def provenance(device: torch.device | None = None) -> dict[str, str | None]:
    """Version, commit and hardware of this process.

    The commit is that of the repository of this library, with "+" where files differ from it; None
    for an installed copy, wherever it is used.
    """
    from dnl import __version__

    return {
        "version": __version__,
        "commit": _commit(),
        "hardware": describe_hardware(device or torch.device("cpu")),
    }


def write_record(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Write `run.json`: the command, date, version, commit, hardware and `configuration`."""
    _write_run(folder, _this_run() | {"configuration": configuration})


def claim(folder: Path, configuration: Mapping[str, Any]) -> FileLock:
    """Make `folder` that of a run which is computed anew, and keep others out of it.

    Raises:
        OSError: if it cannot be written, or another process works in it.
        ValueError: if it holds another command's run, which could not be resumed any more.
    """
    make_writable(folder)
    held = lock(folder)
    try:
        check_own(folder)
        write_record(folder, configuration)
    except BaseException:
        held.release()
        raise
    return held


def check_own(folder: Path) -> None:
    """A ValueError where the `run.json` in `folder` is another command's."""
    if not (folder / RUN).exists():
        return
    there, here = _program(read_record(folder)), cli.called()
    if None not in (there, here) and there != here:
        raise ValueError(
            f"out holds a run of {there}, got {here} and out={str(folder)!r}: choose another folder"
        )


def _program(record: Row) -> str | None:
    """The command that wrote a record; None where it does not say."""
    if isinstance(record.get("program"), str):
        return str(record["program"])
    words = str(record.get("command", "")).split()  # older records
    named = words[2] if words[:2] == ["python", "-m"] and len(words) > 2 else None
    return named if named is not None and named.startswith(("dnl.", "experiments.")) else None


def read_record(folder: Path) -> Row:
    """The `run.json` of a folder, whose "configuration" is a dictionary.

    Raises:
        ValueError: if it is broken.
    """
    try:
        record = json.loads((folder / RUN).read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"out holds a broken {RUN}, got {str(folder)!r}: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("configuration"), dict):
        raise ValueError(
            f"out holds a broken {RUN}, got {str(folder)!r}: it must hold a configuration"
        )
    return record


def record_continuation(folder: Path) -> None:
    """Add this process to `run.json`: it computes rows that the first one left out."""
    record = read_record(folder)
    record["continued"] = [*(record.get("continued") or []), _this_run()]
    _write_run(folder, record)


def _this_run() -> Row:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command_line(), "program": cli.called(), "date": date, **provenance()}


def _write_run(folder: Path, record: Row) -> None:
    write_text(folder / RUN, json.dumps(record, indent=1) + "\n")


def command_line() -> str:
    """The command of this process, as one would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name] if spec else [Path(sys.argv[0]).name]
    return shlex.join(["python", *program, *sys.argv[1:]])


def _pandas() -> tuple[int, int]:
    """Version of pandas: reading is exact by default from 3.1 on, and asking for it deprecated."""
    major, minor, *_ = pd.__version__.split(".")
    return int(major), int(minor)


def _commit() -> str | None:
    source = Path(__file__).resolve()
    # A hook of git, say, tells its children of another repository than the one that they are in.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    described = ["describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    # A copy that is installed below somebody's repository is no part of it.
    for arguments in (["ls-files", "--error-unmatch", source.name], described):
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=source.parent,
                env=environment,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None  # an installed copy, or no git
    return done.stdout.strip()


def _key(row: Mapping[str, Any]) -> Key:
    return tuple(row[name] for name in KEYS)
