"""A real run, killed again and again at random moments: its table is that of a run left alone.

Three times by default; `python -m pytest tests/test_killed.py --kills 10` for more.
"""

import importlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

import dnl
from dnl import cli, plot
from dnl.bench import main
from dnl.results import read_table

# Four tasks of three games each.
ROWS = 12
RUN = ["--senders", "2", "--signals", "2", "3", "--states", "2", "--actions", "2"]
RUN += ["--instances", "3", "--surrogates", "relu", "delu", "--samples", "1000", "--epochs", "5"]
RUN += ["--starts", "3", "--deviations", "2"]
MAY_DIFFER = ["fit_seconds", "solve_seconds", "commit"]


def table(folder: Path) -> pd.DataFrame:
    return read_table(folder / "results.csv").drop(columns=MAY_DIFFER)


def kill_after(seconds: float, folder: Path, log: Path) -> int:
    """Start or resume the run; SIGKILL it so long after it has opened its folder.

    Returns:
        How many rows are finished then.
    """
    held = folder / ".lock"
    held.unlink(missing_ok=True)
    root = str(Path(dnl.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dnl.bench", *RUN, "--out", str(folder), "--resume"],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
        )
    try:
        limit = time.monotonic() + 300
        while process.poll() is None and not held.exists():
            assert time.monotonic() < limit
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
    finally:
        process.kill()
        code = process.wait()
    assert code in (0, -signal.SIGKILL), log.read_text()
    return len(table(folder)) if (folder / "results.csv").exists() else 0


def test_killed_at_random_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.setattr(plot, "draw", lambda folder: [])
    importlib.import_module("dnl.training")  # loading Lightning is not part of the run's time
    began = time.monotonic()
    assert cli.run(main, "dnl.bench", [*RUN, "--quiet", "--out", str(tmp_path / "whole")]) == 0
    two_tasks = (time.monotonic() - began) / 2

    seed = random.randrange(10**6)
    rows: list[int] = []  # that were finished, at each kill
    moments, folder = random.Random(seed), tmp_path / "killed-0"
    while len(rows) < kills:
        finished = kill_after(moments.uniform(0, two_tasks), folder, tmp_path / "log")
        assert finished % 3 == 0, "a task is written whole or not at all"
        if finished < ROWS:
            rows.append(finished)
        else:  # it came to its end: a fresh one
            pd.testing.assert_frame_equal(table(folder), table(tmp_path / "whole"))
            folder = tmp_path / f"killed-{len(rows)}"
    print(f"{kills} kills (seed {seed}), rows then: {rows}")
    line = [*RUN, "--quiet", "--out", str(folder), "--resume"]
    assert cli.run(main, "dnl.bench", line) == 0
    pd.testing.assert_frame_equal(table(folder), table(tmp_path / "whole"))
