"""A real run, interrupted, terminated and killed at random moments: nothing is lost or left behind.

Three times by default; `python -m pytest tests/whole_runs/test_killed.py --kills 10` for more.
"""

import random
from pathlib import Path

import pandas as pd
import pytest

from dnl.runtime import cli
from experiments.kills import main


@pytest.mark.whole_run
def test_killed_at_random_moments(
    tmp_path: Path, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--small", "--kills", str(kills), "--seed", str(random.randrange(10**6))]
    code = cli.run(main, "experiments.kills", [*line, "--out", str(tmp_path)])
    told = capsys.readouterr()
    assert code == 0, f"{line}\n{told.out}{told.err}"
    rows = pd.read_csv(tmp_path / "kills.csv", keep_default_na=False)
    assert len(rows) == kills + 1
    assert set(rows["verdict"]) == {"as promised"}
    ends = {"SIGINT": {130, 0}, "SIGTERM": {143, 0}, "SIGKILL": {-9, 0}, "none": {0}}
    assert all(c in ends[s] for s, c in zip(rows["signal"], rows["code"], strict=True))
    assert rows["finished"].iloc[-1] == 12
