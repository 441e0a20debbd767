"""Tables of results: one row per game and surrogate, safe against interruption, with provenance."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dnl.devices import describe_hardware

KEYS = ("law", "n_senders", "n_signals", "n_states", "n_actions", "instance", "surrogate")
RESULTS = "results.csv"
RUN = "run.json"
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

    Args:
        path: created where it does not exist.
        configuration: everything that decides the rows; JSON values.
        order: the keys of all rows of the run, in the order of the table.
        resume: take up a run that is in the folder already.

    Raises:
        OSError: if the folder cannot be written.
        ValueError: if it holds rows and `resume` is not set, or another configuration.
    """

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], order: Sequence[Key], resume: bool
    ) -> None:
        self.path = path
        self.order = list(order)
        self.n_senders = max(key[1] for key in self.order)
        self.rows: dict[Key, Row] = {}
        make_writable(path)
        run_file, table = path / RUN, path / RESULTS
        if run_file.exists():
            self._check_configuration(run_file, configuration)
        finished = read_rows(table) if table.exists() else []
        if finished:
            if not run_file.exists():
                raise ValueError(f"out holds rows of an unknown run, got {str(path)!r}: no {RUN}")
            if not resume:
                raise ValueError(
                    f"out holds {len(finished)} rows already, got {str(path)!r}: add --resume to "
                    "go on, or choose another folder"
                )
            self.rows = {_key(row): row for row in finished if row["status"] == "ok"}
        if not run_file.exists():
            write_record(path, configuration)

    def _check_configuration(self, run_file: Path, configuration: Mapping[str, Any]) -> None:
        try:
            there = json.loads(run_file.read_text())["configuration"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"out holds a broken {RUN}, got {str(self.path)!r}") from error
        here = json.loads(json.dumps(configuration))
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise ValueError(
                    f"out holds a run with {name}={there.get(name)!r}, got {name}="
                    f"{here.get(name)!r} and out={str(self.path)!r}: choose another folder"
                )

    @property
    def missing(self) -> list[Key]:
        """Keys whose rows are not finished, in order; failed rows count as missing on resume."""
        return [key for key in self.order if key not in self.rows]

    def add(self, rows: Sequence[Row]) -> None:
        """Add finished rows and write the table: complete at every moment, whatever happens."""
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


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV that is complete at every moment, whatever happens."""
    part = path.with_name(f"{path.name}.part")
    frame.to_csv(part, index=False)
    os.replace(part, path)


def columns(n_senders: int) -> list[str]:
    """Names of all columns of a table with up to `n_senders` senders."""
    names = [*KEYS, "status"]
    for name in COLUMNS:
        senders = range(n_senders) if "{n}" in name else range(1)
        names += [name.format(n=n) for n in senders]
    return names


def read_table(path: Path) -> pd.DataFrame:
    """A `results.csv` with every number exactly as it was written."""
    text = {"commit": str, "game": str}  # hexadecimal digits can look like numbers
    if _pandas() >= (3, 1):
        return pd.read_csv(path, dtype=text)
    return pd.read_csv(path, dtype=text, float_precision="round_trip")


def read_rows(path: Path) -> list[Row]:
    """The rows of a `results.csv` as dictionaries, without the columns that are empty in them."""
    frame = read_table(path)
    return [
        {str(name): value for name, value in record.items() if pd.notna(value)}
        for record in frame.to_dict("records")
    ]


def per_sender(name: str, values: torch.Tensor) -> Row:
    """One entry per sender: `{name_0: values[0], ...}`."""
    return {f"{name}_{n}": value for n, value in enumerate(values.tolist())}


def provenance(device: torch.device | None = None) -> dict[str, str]:
    """Version, commit (with "+" where files differ from it) and hardware of this process."""
    from dnl import __version__

    return {
        "version": __version__,
        "commit": _commit(),
        "hardware": describe_hardware(device or torch.device("cpu")),
    }


def write_record(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Write `run.json`: the command, date, version, commit, hardware and `configuration`."""
    _write_run(folder, _this_run() | {"configuration": configuration})


def record_continuation(folder: Path) -> None:
    """Add this process to `run.json`: it computes rows that the first one left out."""
    record = json.loads((folder / RUN).read_text())
    record.setdefault("continued", []).append(_this_run())
    _write_run(folder, record)


def _this_run() -> Row:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command_line(), "date": date, **provenance()}


def _write_run(folder: Path, record: Row) -> None:
    part = folder / f"{RUN}.part"
    part.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(part, folder / RUN)


def command_line() -> str:
    """The command of this process, as one would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name] if spec else [Path(sys.argv[0]).name]
    return shlex.join(["python", *program, *sys.argv[1:]])


def _pandas() -> tuple[int, int]:
    """Version of pandas: reading is exact by default from 3.1 on, and asking for it deprecated."""
    major, minor, *_ = pd.__version__.split(".")
    return int(major), int(minor)


def _commit() -> str:
    source = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"  # an installed copy, or no git
    return described.stdout.strip()


def _key(row: Mapping[str, Any]) -> Key:
    return tuple(row[name] for name in KEYS)
