"""The benchmark from end to end: table, figures, summary; interrupted, killed, resumed, failing."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dnl
from dnl import bench
from dnl.bench import PAPER_COMMAND, main
from dnl.benchmark import evaluation, runner, tasks
from dnl.benchmark.plan import game_of
from dnl.benchmark.rows import KEYS, columns
from dnl.reporting import benchmark_figures
from dnl.runtime import cli, records
from dnl.runtime.interruption import CODES, WORDS
from dnl.runtime.tables import Key, read_table
from games import PersuasionGame, synthetic_game

BUDGET = ["--states", "2", "--actions", "2", "--samples", "200", "--epochs", "1"]
BUDGET += ["--starts", "3", "--deviations", "2"]
SMALL = ["--senders", "2", "--signals", "2", "--instances", "2", *BUDGET]
# Four groups of two rows each, so that a run can be interrupted between groups.
GROUPS = ["--senders", "2", "--signals", "2", "3", "--instances", "2", *BUDGET]
GROUPS += ["--surrogates", "relu", "delu"]
TIMES = ["fit_seconds", "solve_seconds"]
FIGURES = 5


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark_figures, "draw", lambda folder: [])
        assert cli.run(main, "dnl.bench", [*GROUPS, "--quiet", "--out", str(folder)]) == 0
    return table(folder)


def table(folder: Path) -> pd.DataFrame:
    """The rows of a run, less what may differ between two runs of the same code."""
    return read_table(folder / "results.csv").drop(columns=[*TIMES, "commit"])


# The main job whose second fit, and all later ones, never end: it can be stopped in their middle.
ENDLESS = """
from dataclasses import replace
from dnl import bench
from dnl.benchmark import evaluation, runner
from dnl.runtime import cli, records
calls = []

def evaluate(baselines, surrogate, stages, *rest):
    calls.append(surrogate)
    if len(calls) > 1:
        stages = replace(stages, fit=replace(stages.fit, epochs=10**7))
    return evaluation.evaluate(baselines, surrogate, stages, *rest)

runner.evaluate = evaluate
raise SystemExit(cli.run(bench.main, "dnl.bench"))
"""


def launch(
    arguments: Sequence[str], program: Sequence[str] = ("-m", "dnl.bench"), **options: Any
) -> "subprocess.Popen[str]":
    """`python -m dnl.bench`, with this library whatever the working directory."""
    path = [str(Path(dnl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "OMP_NUM_THREADS": "1",
    }
    # A shell may start the tests with SIGINT ignored, and the child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
    finally:
        signal.signal(signal.SIGINT, before)


# ---------------------------------------------------------------------------- from end to end


def test_a_run_as_users_start_it(tmp_path: Path) -> None:
    process = launch([*SMALL, "--out", "run"], cwd=tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "6/6 rows" in err  # progress
    assert "left" in err
    assert "Traceback" not in err
    assert "Warning" not in err
    assert "contested law, 2 senders, 2 games" in out
    assert f"Table:   {Path('run/results.csv')}" in out
    assert PAPER_COMMAND in out

    rows = read_table(tmp_path / "run" / "results.csv")
    assert rows.columns.tolist() == columns(2)
    keys = [("contested", 2, 2, 2, 2, i, s) for i in range(2) for s in ("relu", "delu", "dnl")]
    assert list(rows[list(KEYS)].itertuples(index=False, name=None)) == keys
    assert set(rows["status"]) == {"ok"}
    assert rows["game"].tolist() == [game_of(key).identity for key in keys]
    assert rows["parameter_count"].tolist() == [8961, 16225, 280417] * 2
    assert set(rows["recipe"]) == {"paper"}
    assert rows[["mse", "fr_welfare", "ni_welfare", "start_welfare"]].notna().all(axis=None)

    figures = list((tmp_path / "run" / "figures").iterdir())
    assert f"Figures: {Path('run/figures')}/" in out
    assert len(figures) == FIGURES
    for figure in figures:
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert figure.name in out


def test_default_folders_are_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [*SMALL, "--surrogates", "relu"]
    monkeypatch.setattr(benchmark_figures, "draw", lambda folder: [folder / "figures" / "one.png"])
    for count in (1, 2):
        assert cli.run(main, "dnl.bench", arguments) == 0
        folders = sorted((tmp_path / "results").iterdir())
        assert len(folders) == count
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    first, second = map(table, folders)
    pd.testing.assert_frame_equal(first, second)
    out = capfd.readouterr().out
    for folder in folders:
        assert re.fullmatch(r"bench-\d{8}-\d{6}(-2)?", folder.name)
        assert f"{Path('results') / folder.name / 'results.csv'}" in out
    assert out.count("one.png") == 2


def test_the_recipe_decides_how_networks_are_trained(tmp_path: Path, no_figures: None) -> None:
    both = {}
    for recipe in ("paper", "tuned"):
        arguments = " ".join(SMALL).replace("--epochs 1", "--epochs 3").split()
        arguments += ["--surrogates", "relu", "--recipe", recipe]
        assert cli.run(main, "dnl.bench", [*arguments, "--out", str(tmp_path / recipe)]) == 0
        both[recipe] = table(tmp_path / recipe)
        assert set(both[recipe]["recipe"]) == {recipe}
    assert (both["paper"]["mse"] != both["tuned"]["mse"]).all()


def test_folder_names_of_the_same_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2024, 3, 1, 7, 5, 9)

    monkeypatch.setattr(records, "datetime", Clock)
    for name in ("bench-20240301-070509", "bench-20240301-070509-2", "bench-20240301-070509-3"):
        assert records.fresh_folder(tmp_path / "results", "bench") == tmp_path / "results" / name
        assert (tmp_path / "results" / name).is_dir()  # nobody else can have it


@pytest.mark.usefixtures("no_figures")
def test_quiet_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--surrogates", "relu", "--out", str(tmp_path)]
    assert cli.run(main, "dnl.bench", [*arguments, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert cli.run(main, "dnl.bench", [*arguments, "--resume"]) == 0  # nothing is left to do
    assert "contested law" in capfd.readouterr().out


def test_instances_are_seeds() -> None:
    assert game_of(("paper", 2, 3, 4, 5, 6, "relu")) == synthetic_game(2, 3, 4, 5, 6, "paper")


# ---------------------------------------------------------------------------- interruption


def on_call(number: int, function: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """`function`, but its `number`-th call raises."""
    calls = iter(range(1, 1000))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            raise error
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.whole_run
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("given_out", [True, False])
@pytest.mark.parametrize(
    ("module", "name", "number", "finished"),
    [
        (runner, "evaluate", 3, 4),
        (evaluation, "fit_many", 2, 2),
        (runner, "_advance", 11, 6),  # while a network is trained
        (runner, "baselines", 1, 0),
    ],
    ids=["evaluate", "fit", "epoch", "first"],
)
def test_interrupted_and_resumed(
    module: Any,
    name: str,
    number: int,
    finished: int,
    given_out: bool,
    uninterrupted: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*GROUPS, *(["--out", "my results"] if given_out else [])]
    monkeypatch.setattr(sys, "argv", ["bench.py", *line])
    with monkeypatch.context() as patch:
        patch.setattr(module, name, on_call(number, getattr(module, name), KeyboardInterrupt()))
        assert cli.run(main, "dnl.bench") == 130
    out, err = capfd.readouterr()
    assert out == ""
    (folder,) = (tmp_path / "results").iterdir() if not given_out else [tmp_path / "my results"]
    place = folder.relative_to(tmp_path)
    assert f"Interrupted: {finished} of 8 rows are finished in {place}." in err
    if finished:
        keys = list(KEYS)
        pd.testing.assert_frame_equal(
            table(folder).merge(uninterrupted[keys], on=keys).reset_index(drop=True),
            uninterrupted.merge(table(folder)[keys], on=keys).reset_index(drop=True),
            check_dtype=False,  # a column that is empty so far has no type
        )
        assert len(table(folder)) == finished

    (command,) = re.findall("Go on with: (.*)", err)
    program, *tokens = shlex.split(command)
    assert [program, *tokens[:2]] == ["python", "-m", "dnl.bench"]
    evaluated: list[str] = []

    def counted(baselines: Sequence[evaluation.Baseline], *rest: Any) -> list[dict[str, Any]]:
        evaluated.append(rest[0])
        return evaluation.evaluate(baselines, *rest)

    monkeypatch.setattr(runner, "evaluate", counted)
    assert cli.run(main, "dnl.bench", tokens[2:]) == 0
    assert len(evaluated) == 4 - finished // 2  # finished groups are not computed again
    pd.testing.assert_frame_equal(table(folder), uninterrupted)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "kind",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.whole_run),
        pytest.param(signal.SIGTERM, marks=pytest.mark.whole_run),
    ],
)
def test_a_process_that_is_stopped_can_be_resumed(
    kind: signal.Signals, uninterrupted: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = launch([*GROUPS, "--out", str(folder)], ["-c", ENDLESS])
    try:
        limit = time.monotonic() + 120
        while not (folder / "results.csv").exists():
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.005)
        time.sleep(0.5)  # so that it is, most likely, in the middle of the second fit
        process.send_signal(kind)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert len(table(folder)) == 2
    if kind in CODES:
        assert process.returncode == CODES[kind]
        assert f"{WORDS[kind].capitalize()}: {len(table(folder))} of 8 rows are finished" in err
        assert "Go on with: python -m dnl.bench" in err
        assert "Traceback" not in err
        assert out == ""
    else:
        assert process.returncode == -signal.SIGKILL
    line = [*GROUPS, "--out", str(folder), "--resume", "--quiet"]
    assert cli.run(main, "dnl.bench", line) == 0
    pd.testing.assert_frame_equal(table(folder), uninterrupted)


@pytest.mark.usefixtures("no_figures")
def test_a_group_of_which_a_row_is_missing_is_computed_whole(
    uninterrupted: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, the row would have other last digits than in its company."""
    line = [*GROUPS, "--out", str(tmp_path), "--quiet"]
    assert cli.run(main, "dnl.bench", line) == 0
    lines = (tmp_path / "results.csv").read_text().splitlines(keepends=True)
    (tmp_path / "results.csv").write_text("".join([*lines[:2], *lines[3:]]))
    evaluated: list[tuple[int, str]] = []

    def counted(baselines: Sequence[evaluation.Baseline], *rest: Any) -> list[dict[str, Any]]:
        evaluated.append((len(baselines), rest[0]))
        return evaluation.evaluate(baselines, *rest)

    monkeypatch.setattr(runner, "evaluate", counted)
    assert cli.run(main, "dnl.bench", [*line, "--resume"]) == 0
    assert evaluated == [(2, "delu")]
    pd.testing.assert_frame_equal(table(tmp_path), uninterrupted)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "--out 'a b' --resume"),
        ("--seed 3", "--seed 3 --out 'a b' --resume"),
        ("--out x", "--out x --resume"),
        ("--out=x --resume", "--out=x --resume"),
        ("--resume --out x", "--resume --out x"),
    ],
)
def test_resume_command(given: str, expected: str) -> None:
    command = cli.resume_command("dnl.bench", given.split(), Path("a b"))
    assert command == f"python -m dnl.bench {expected}"


# ---------------------------------------------------------------------------- failures


def broken_game(key: Key) -> PersuasionGame:
    if key[5] == 1 and key[2] == 2:
        raise ValueError("no such\n  game, 'sorry'")
    return game_of(key)


def broken_evaluate(baselines: Sequence[evaluation.Baseline], *rest: Any) -> list[dict[str, Any]]:
    bad = game_of(("contested", 2, 2, 2, 2, 1, "")).identity
    if any(b.game.identity == bad for b in baselines):
        raise ValueError("no such\n  game, 'sorry'")
    return evaluation.evaluate(baselines, *rest)


LOG = r"""law=contested, n_senders=2, n_signals=2, n_states=2, n_actions=2, instance=1, \
surrogate=(relu|delu)
Traceback .most recent call last.:
(?s:.*), in broken_(game|evaluate)
    raise ValueError.*
ValueError: no such
  game, 'sorry'

""".replace("\\\n", "")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("where", ["game", "evaluate"])
def test_a_failing_game_is_a_row_and_the_run_goes_on(
    where: str,
    uninterrupted: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = [*GROUPS, "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        if where == "game":
            patch.setattr(bench, "game_of", broken_game)
        else:
            patch.setattr(runner, "evaluate", broken_evaluate)
        assert cli.run(main, "dnl.bench", line) == 1
    rows = table(tmp_path)
    bad = (rows["instance"] == 1) & (rows["n_signals"] == 2)
    assert rows["status"].tolist() == ["ok", "ok", "error", "error", "ok", "ok", "ok", "ok"]
    assert (rows["status"] == "error").equals(bad)
    assert set(rows["error"][bad]) == {"ValueError: no such game, 'sorry'"}
    assert rows["error"][~bad].isna().all()
    assert rows["game"][~bad].tolist() == uninterrupted["game"][~bad].tolist()
    # Other companions, other rounding in single precision.
    for name in ("mse", "fr_welfare", "start_welfare"):
        assert rows[name][~bad].tolist() == pytest.approx(uninterrupted[name][~bad], rel=0.02)
    out, log = capfd.readouterr().out, (tmp_path / "errors.log").read_text()
    assert "2 rows failed: ValueError: no such game, 'sorry'" in out
    assert f"Errors:  {tmp_path / 'errors.log'} (tracebacks of the 2 failed rows)\n" in out
    assert re.fullmatch(2 * LOG, log)
    assert cli.run(main, "dnl.bench", [*line, "--resume", "--quiet"]) == 0
    assert set(table(tmp_path)["status"]) == {"ok"}
    assert (tmp_path / "errors.log").read_text() == log


def test_nothing_but_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(key: Key) -> PersuasionGame:
        raise ValueError(f"no game\nof instance {key[5] // 10}")

    monkeypatch.setattr(bench, "game_of", broken)
    line = ["--actions", "2", "--senders", "2", "--signals", "2", "--states", "2"]
    assert cli.run(main, "dnl.bench", [*line, "--out", str(tmp_path)]) == 1
    rows = read_table(tmp_path / "results.csv")
    assert set(rows["status"]) == {"error"}
    assert set(rows["error"]) == {"ValueError: no game of instance 0"}
    assert rows["seed"].tolist() == [0] * 6
    out = capfd.readouterr().out
    assert "6 rows failed: ValueError: no game of instance 0" in out
    assert "Figures" not in out
    assert not (tmp_path / "figures").exists()


@pytest.mark.usefixtures("no_figures")
def test_games_fitted_apart_for_want_of_memory_give_the_same_rows(
    uninterrupted: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SAMPLE_BYTES", 1)
    evaluated: list[int] = []

    def counted(baselines: Sequence[evaluation.Baseline], *rest: Any) -> list[dict[str, Any]]:
        evaluated.append(len(baselines))
        return evaluation.evaluate(baselines, *rest)

    monkeypatch.setattr(runner, "evaluate", counted)
    assert cli.run(main, "dnl.bench", [*GROUPS, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert evaluated == [1] * 8
    exact = [*KEYS, "status", "fr_welfare", "ni_welfare", "start_welfare", "starts_not_refuted"]
    pd.testing.assert_frame_equal(table(tmp_path / "run")[exact], uninterrupted[exact])
    mse = table(tmp_path / "run")["mse"]
    pd.testing.assert_series_equal(mse, uninterrupted["mse"], rtol=0.05)
