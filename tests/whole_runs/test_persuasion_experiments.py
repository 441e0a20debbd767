"""The figures of "Learning to Persuade": small modes, resuming, errors, cells that hold curves."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from dnl.learning_to_persuade import WarmUpConfig
from dnl.runtime import cli
from experiments import persuasion_known, persuasion_messages

MAINS: dict[str, Callable[..., int]] = {
    "known": persuasion_known.main,
    "messages": persuasion_messages.main,
}
NAMES = sorted(MAINS)
ROUNDING = 1e-9


def texts(folder: Path) -> dict[str, str]:
    """All tables in a folder."""
    return {path.name: path.read_text() for path in folder.glob("*.csv")}


@pytest.mark.whole_run
@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_computes_nothing_anew(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAINS[name](out=tmp_path, small=True) == 0
    first, printed = texts(tmp_path), capsys.readouterr().out
    assert set(first) == {"games.csv", "summary.csv", "curves.csv"}
    assert imread(tmp_path / f"{name}.png").std() > 0
    assert MAINS[name](out=tmp_path, small=True) == 0
    # The seconds, too, are the first run's.
    assert (texts(tmp_path), capsys.readouterr().out) == (first, printed)


@pytest.mark.whole_run
def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    assert persuasion_known.main(out=tmp_path, small=True) == 0
    path = tmp_path / "games.csv"
    games = pd.read_csv(path)
    games.drop(index=2).to_csv(path, index=False)  # the first 8 x 8 game
    curves = (tmp_path / "curves.csv").read_text()
    assert persuasion_known.main(out=tmp_path, small=True) == 0
    reached = ["size", "instance", "optimum", "paper", "ours", "paper_curve"]
    pd.testing.assert_frame_equal(pd.read_csv(path)[reached], games[reached], rtol=1e-12)
    assert (tmp_path / "curves.csv").read_text() == curves


@pytest.mark.whole_run
def test_known_receivers(tmp_path: Path) -> None:
    assert persuasion_known.main(out=tmp_path, small=True) == 0
    games = pd.read_csv(tmp_path / "games.csv")
    assert games[["size", "instance"]].to_numpy().tolist() == [[4, 0], [4, 1], [8, 0], [8, 1]]
    shares = games[["paper_share", "ours_share"]]
    assert ((shares > 0.3) & (shares <= 1 + ROUNDING)).all(axis=None)
    assert (games[["lp_seconds", "paper_seconds", "ours_seconds"]] > 0).all(axis=None)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("size")
    assert summary["games"].to_dict() == {4: 2, 8: 2}
    assert summary["published_optimum"].to_dict() == {4: 0.7049, 8: 0.7576}
    assert summary.loc[8, "ours"] == pytest.approx(games["ours"][2:].mean(), abs=1e-5)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert set(curves["size"]) == {8}
    assert (curves["share"] <= 1 + 1e-5).all()  # rounded
    (paper, ours) = (curves[curves["way"] == way] for way in ("paper", "ours"))
    assert paper["iteration"].tolist() == 2 * list(range(21))
    assert ours["iteration"].tolist() == 2 * [0, 10, 20]
    # A game's utility is its best restart's best one on the way.
    best = curves.groupby(["way", "instance"])["utility"].max()
    assert best["paper"].tolist() == pytest.approx(games["paper"][2:].tolist(), abs=1e-5)


@pytest.mark.whole_run
def test_few_messages(tmp_path: Path) -> None:
    assert persuasion_messages.main(out=tmp_path, small=True) == 0
    games = pd.read_csv(tmp_path / "games.csv").set_index("messages")
    assert games.index.tolist() == [2, 16, 18]
    ways = ["exact_share", "gradients_share", "alternating_share"]
    assert (games["bound_share"] <= 1 + ROUNDING).all()
    for way in ways:
        assert (games[way] > 0).all()
        assert (games[way] <= games["bound_share"] + ROUNDING).all()
    # With a message for every action the linear program tells all.
    assert games.loc[18, "exact_share"] == pytest.approx(1, abs=1e-6)
    assert games.loc[18, "status"] == "optimal"
    assert (games["queries"] > 16).all()
    assert games["optimum"].nunique() == 1
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("messages")
    assert summary["games"].to_dict() == {2: 1, 16: 1, 18: 1}
    for way in [*ways, "bound_share"]:
        assert summary[way].tolist() == pytest.approx(games[way].tolist(), abs=1e-5)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert set(curves["messages"]) == {16}
    assert curves["iteration"].tolist() == [0, 10, 20]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--instances 0", "instances must be an integer of at least 1, got 0"),
        ("--workers 0", "workers must be an integer of at least 1, got 0"),
        ("--instances 1.5", "must be a whole number, got '1.5'"),
        ("--instnaces 2", "Did you mean --instances?"),
    ],
)
def test_errors_are_one_line(
    name: str, line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(MAINS[name], line, message, tmp_path, capsys)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("known", "--sizes 4 0", "sizes must be an integer of at least 1, got 0"),
        ("messages", "--messages 0", "messages must be an integer of at least 1, got 0"),
        ("messages", "--time-limit 0", "time_limit must be finite and above 0, got 0.0"),
    ],
)
def test_errors_of_one_experiment_are_one_line(
    name: str, line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(MAINS[name], line, message, tmp_path, capsys)


def refused(
    main: Callable[..., int],
    line: str,
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Check that a command line ends with code 2, one line and nothing written."""
    out = folder / "out"
    assert cli.run(main, "experiments.x", [*line.split(), "--out", str(out)]) == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.whole_run
def test_rows_of_another_configuration_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert persuasion_known.main(out=tmp_path, small=True) == 0
    capsys.readouterr()
    assert cli.run(persuasion_known.main, "experiments.x", ["--out", str(tmp_path)]) == 2
    assert "out holds a run with ours='WarmUpConfig(iterations=20" in capsys.readouterr().err


def test_cells_hold_curves() -> None:
    config = WarmUpConfig(iterations=25)
    cell = persuasion_known.in_words((0.2, 0.4, 0.3, 0.5))
    rows = pd.DataFrame([{"instance": 7, "optimum": 0.5, "a_curve": cell}])
    points = persuasion_known.curves(rows, ["instance"], "a", config)
    assert points["iteration"].tolist() == [0, 10, 20, 25]
    assert points["share"].tolist() == [0.4, 0.8, 0.6, 1.0]


def test_more_than_a_proven_bound_is_an_error() -> None:
    persuasion_known.within(0.5, 0.5, "here")
    with pytest.raises(RuntimeError, match=r"here: a utility of 0\.6 is above .* bound 0\.5"):
        persuasion_known.within(0.5, 0.6, "here")
