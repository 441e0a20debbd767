"""Kill commands at random moments and check their exit codes, output and files.

Each kill starts a command, or resumes the run of the previous kill, and sends SIGINT, SIGTERM or
SIGKILL at a random time after its start. A kill is "as promised" if the exit code is 130, 143 or
-9, no traceback was printed, all rows finished before are still there, every file is complete, and
no process of the command is left. If a command ends before the signal (exit code 0), its table must
equal that of an undisturbed run, except for the columns that say when and where it was computed. So
must the last table of each command, which is resumed once more without a kill.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import dnl
from dnl import Equilibrium
from dnl.runtime import cli, progress
from dnl.runtime.interruption import CODES
from dnl.runtime.records import claim
from dnl.runtime.tables import read_table, write_table
from games import PersuasionGame, checks

BENCH = ["-m", "dnl.bench", "--senders", "2", "--signals", "2", "3", "--states", "2", "--actions"]
BENCH += ["2", "--instances", "3", "--surrogates", "relu", "delu", "--samples", "1000"]
BENCH += ["--epochs", "4", "--starts", "3", "--deviations", "2", "--resume"]
KNOWN = ["-m", "experiments.persuasion_known", "--sizes", "2", "3", "--instances", "5"]
SOLVE = ["-m", "dnl.solve", "contested", "--senders", "2", "--signals", "3", "--states", "3"]
SOLVE += ["--actions", "3", "--time-limit", "6"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LOADING_SECONDS = 0.3  # no signal before this: Python itself is starting
WHOLE_SECONDS = 600.0  # longest time of an undisturbed command
END_SECONDS = 60.0  # longest time from a signal to the end of the command
LAST_SECONDS = 5.0  # longest time from the end of the work to the end of the process
GONE_SECONDS = 60.0  # until its processes must be gone: a starting one has to load first
# Endings of the columns that say when and where a row was computed.
RUN_DEPENDENT = ("seconds", "version", "commit", "hardware")


@dataclass(frozen=True)
class Killed:
    """A command that is killed.

    Attributes:
        arguments: arguments of Python, without `--out` and the folder.
        table: the file of its rows in the folder; None if it saves equilibria instead.
        together: number of rows that are written at once or not at all.
    """

    arguments: Sequence[str]
    table: str | None
    together: int = 1


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code.
        second: time of the signal, or of the end if that came first.
        left: processes of the command that are still running.
        deaf: whether it continued its work after the signal.
    """

    code: int
    second: float
    left: Sequence[int]
    deaf: bool


COMMANDS = {
    "bench": Killed(BENCH, "results.csv", together=3),
    "bench --workers 2": Killed([*BENCH, "--workers", "2"], "results.csv", together=3),
    "persuasion_known": Killed([*KNOWN, "--workers", "2"], "games.csv"),
    "solve": Killed(SOLVE, None),
}


def main(
    *,
    kills: int | None = None,
    seed: int = 0,
    out: Path = Path("results/kills"),
    small: bool = False,
) -> int:
    """Kill commands at random moments; exit code 1 if one did not end as promised.

    Args:
        kills: Number of kills over all commands (default: 50, or 3 in a small run).
        seed: Seed of the moments and signals.
        out: Folder of kills.csv.
        small: Kill the benchmark only.
    """
    kills = checks.positive_integer("kills", (3 if small else 50) if kills is None else kills)
    checks.positive_integer("seed", seed, least=0)
    commands = dict(COMMANDS)
    if small:
        commands = {"bench": COMMANDS["bench"]}
    held = claim(out, {"kills": kills, "seed": seed, "small": small})
    draw = random.Random(seed)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        for count, (name, command) in enumerate(commands.items()):
            wanted = kills // len(commands) + (count < kills % len(commands))
            # Every signal occurs, in the small run too.
            kinds = [SIGNALS[i % len(SIGNALS)] for i in range(wanted)]
            for row in _killed(name, command, draw.sample(kinds, wanted), draw, Path(place)):
                rows.append(row)
                write_table(pd.DataFrame(rows), out / "kills.csv")
                shown = ", ".join(f"{value}" for value in row.values())
                progress.line(f"{len(rows)}: {shown}", small)
    held.release()
    frame = pd.DataFrame(rows)
    print(frame.groupby(["command", "signal", "code", "verdict"], sort=False).size().to_string())
    failed = frame[frame["verdict"] != "as promised"]
    print(f"{len(frame)} runs, {len(failed)} of them not as promised")
    return 1 if len(failed) else 0


def _killed(
    name: str, command: Killed, kinds: Sequence[signal.Signals], draw: random.Random, place: Path
) -> list[dict[str, object]]:
    """One row per kill, and one for the last run, which is resumed and not killed."""
    folder = place / name.replace(" ", "")
    whole, log = folder / "whole", folder / "log"
    folder.mkdir()
    alone = _run(command, whole, None, WHOLE_SECONDS, log)
    if alone.code != 0:
        raise OSError(f"{name} ends with {alone.code}: {log.read_text()}")
    rows, attempt = [], 0
    current = folder / "0"
    for kind in kinds:
        before = _finished(command, current)
        ended = _run(command, current, kind, draw.uniform(LOADING_SECONDS, alone.second), log)
        after = _finished(command, current)
        verdict = _verdict(kind, ended, log.read_text())
        if command.table is not None and not before <= after:
            verdict = f"lost {len(before - after)} rows"
        if len(after) % command.together:
            verdict = "part of a task is written"
        if ended.code == 0 and not _same(command, current, whole):
            verdict = "another table"
        rows.append(_row(name, kind.name, ended, len(after), verdict))
        if ended.code == 0 or command.table is None:
            attempt += 1
            current = folder / str(attempt)
    if command.table is not None:
        ended = _run(command, current, None, WHOLE_SECONDS, log)
        same = ended.code == 0 and not ended.left and _same(command, current, whole)
        verdict = "as promised" if same else "another table"
        rows.append(_row(name, "none", ended, len(_finished(command, current)), verdict))
    return rows


def _row(name: str, kind: str, ended: Ended, finished: int, verdict: str) -> dict[str, object]:
    return {
        "command": name,
        "signal": kind,
        "second": round(ended.second, 2),
        "code": ended.code,
        "finished": finished,
        "verdict": verdict,
    }


def _run(
    command: Killed, folder: Path, kind: signal.Signals | None, moment: float, log: Path
) -> Ended:
    """Start the command, send the signal at that moment unless it has ended, and wait."""
    mark = f"kills-{os.getpid()}-{time.monotonic_ns()}"
    root = str(Path(dnl.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "DNL_MARK": mark}
    began = time.monotonic()
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a child would inherit SIG_IGN
    try:
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command.arguments, "--out", str(folder)],
                env=environment,
                stdout=output,
                stderr=output,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment)
        sent = time.monotonic()
        struck = kind is not None and process.poll() is None
        if kind is not None and struck:
            process.send_signal(kind)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=END_SECONDS)
    finally:
        process.kill()
        code = process.wait()
    # A process whose work is done is no longer interrupted.
    deaf = struck and code == 0 and time.monotonic() - sent > LAST_SECONDS
    return Ended(code, sent - began, _left(mark), deaf)


def _left(mark: str) -> list[int]:
    """The processes of a run that outlive it, identified by a mark in their environment."""
    limit = time.monotonic() + GONE_SECONDS
    while True:
        left = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark.encode() in (folder / "environ").read_bytes():
                    left.append(int(folder.name))
        if not left or time.monotonic() > limit:
            for number in left:
                with suppress(OSError):
                    os.kill(number, signal.SIGKILL)
            return left
        time.sleep(0.1)


def _verdict(kind: signal.Signals, ended: Ended, log: str) -> str:
    last = " ".join(log.split())[-200:]
    if ended.code not in (CODES.get(kind, -kind), 0):
        return f"exit code {ended.code}: {last}"
    if ended.deaf:
        return "went on after the signal"
    if "Traceback" in log and kind != signal.SIGKILL:  # orphaned processes may print errors
        return f"traceback: {last}"
    if ended.left:
        return f"{len(ended.left)} processes left"
    return "as promised"


def _finished(command: Killed, folder: Path) -> set[str]:
    """Finished rows or files in the folder, read as a user would; an incomplete file raises."""
    if command.table is None:
        saved = sorted(folder.glob("equilibria/*.json"))
        for path in saved:
            Equilibrium.load(path, time_limit=1.0)
        if (folder / "game.json").exists():
            PersuasionGame.load(folder / "game.json")
        return {path.name for path in saved}
    if (folder / "run.json").exists():
        json.loads((folder / "run.json").read_text())
    path = folder / command.table
    if not path.exists():
        return set()
    rows = _comparable(path).to_dict("records")
    return {repr({name: _number(v) for name, v in row.items() if pd.notna(v)}) for row in rows}


def _number(value: object) -> object:
    """A whole number as a float, because a column's type depends on its other rows."""
    return float(value) if isinstance(value, int) else value


def _same(command: Killed, folder: Path, whole: Path) -> bool:
    if command.table is None:
        return bool(_finished(command, folder))
    return _comparable(folder / command.table).equals(_comparable(whole / command.table))


def _comparable(path: Path) -> pd.DataFrame:
    """A table without those columns, and without empty ones, which have no type."""
    frame = read_table(path)
    kept = [name for name in frame if not str(name).endswith(RUN_DEPENDENT)]
    return frame[kept].dropna(axis=1, how="all")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.kills"))
