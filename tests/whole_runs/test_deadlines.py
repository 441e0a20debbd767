"""The experiment on time limits runs in its small mode; what it counts as late is late."""

from pathlib import Path

import pandas as pd
import pytest

from experiments import deadlines


@pytest.mark.whole_run
def test_small_mode(tmp_path: Path) -> None:
    assert deadlines.main(out=tmp_path, small=True) == 0
    table = pd.read_csv(tmp_path / "games.csv")
    assert table["kept"].all()
    assert (
        table["seconds"] <= deadlines.LATE_SHARE * table["limit"] + deadlines.LATE_SECONDS
    ).all()
    assert (table["peak_gib"] > 0.05).all()
