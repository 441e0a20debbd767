"""`python -m dnl.plot`: what it writes, and how it answers what it cannot draw."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from dnl.plot import main
from dnl.reporting import benchmark_figures as plot
from dnl.runtime import cli
from tests.cases.benchmark import QUICK, made_up_table, written


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = made_up_table(QUICK[:1]).query("law == 'paper' and n_senders == 2")
    written(scenario.assign(law="ride hailing/1"), tmp_path)
    out = tmp_path / "deep" / "figures"
    assert cli.run(main, "dnl.plot", [str(tmp_path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(out / f"{name}_ride-hailing-1.png") for name in plot.FIGURES]
    for path in printed:
        image = imread(path)
        assert image.shape[1] == 1500  # ten inches
        assert image[..., :3].std() > 0.05  # something is drawn


def test_help_says_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(main, "dnl.plot", ["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for words in (*plot.FIGURES, "python -m dnl.plot results/paper", "results.csv", "Nothing is"):
        assert words in told


def test_a_wrong_folder_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(made_up_table(QUICK[:1]), tmp_path / "paper")
    other = tmp_path / "other"
    other.mkdir()
    growth = tmp_path / "growth"
    growth.mkdir()
    record = {"command": "python -m experiments.growth", "program": "experiments.growth"}
    (growth / "run.json").write_text(json.dumps({**record, "configuration": {}}))
    for given, answer in {
        tmp_path / "papr": f"'{tmp_path}/papr': there is no such folder; did you mean '{folder}'?",
        tmp_path / "zzzzz": f"got '{tmp_path}/zzzzz': there is no such folder",
        tmp_path: f"got '{tmp_path}' without it; did you mean one of {folder}?",
        other: f"got '{other}' without it",
        folder / "results.csv": f"that is the file itself; its folder is '{folder}'",
        growth: f"got '{growth}' of experiments.growth; "
        f"python -m experiments.redraw {growth} draws its figures again",
    }.items():
        assert cli.run(main, "dnl.plot", [str(given)]) == 2
        told = capsys.readouterr().err
        assert told.startswith("dnl.plot: error: folder must hold the results.csv of a benchmark, ")
        assert told.endswith(f"{answer}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["radius", "mse"]), "lacks the columns mse, radius"),
        (lambda t: t.drop(columns="surrogate"), "lacks the columns surrogate"),
        (lambda t: t.drop(columns="fr_utility_3"), "lacks the columns fr_utility_3"),
        (lambda t: t[t["status"] == "error"], "none of its 4 rows has status 'ok'"),
        (lambda t: t.assign(mse="much"), "holds something other than numbers in mse"),
        (lambda t: t.iloc[:0], "results.csv holds no rows"),
        (lambda t: t.iloc[:, :0], "results.csv holds no table: it is empty"),
    ],
)
def test_unusable_tables_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    written(change(made_up_table()), tmp_path)
    if "empty" in message:
        (tmp_path / "results.csv").write_text("")
    with pytest.raises(ValueError, match=message) as caught:
        plot.draw(tmp_path)
    assert str(tmp_path / "results.csv") in str(caught.value)
    assert not (tmp_path / "figures").exists()


def test_a_table_that_is_not_separated_by_commas_is_named(tmp_path: Path) -> None:
    table = made_up_table(QUICK[:1])
    for mark in (";", "\t"):
        table.to_csv(tmp_path / "results.csv", index=False, sep=mark)
        with pytest.raises(ValueError, match="must be separated by commas") as caught:
            plot.draw(tmp_path)
        assert str(caught.value).startswith(f"{tmp_path / 'results.csv'} holds no table: ")


def test_an_unwritable_folder_is_an_os_error(tmp_path: Path) -> None:
    folder = written(made_up_table(QUICK[:1]), tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        plot.draw(folder, tmp_path / "file")
