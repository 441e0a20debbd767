"""Command lines: results, one line per error, and nothing touched by a wrong one."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest

import dnl
from dnl.bench import main
from dnl.runtime import cli, interruption
from dnl.runtime.interruption import CODES

TINY = ["--senders", "2", "--signals", "2", "--states", "2", "--actions", "2", "--instances", "1"]
TINY += ["--samples", "50", "--epochs", "1", "--starts", "2", "--deviations", "1"]
TINY += ["--surrogates", "relu", "--quiet"]


def example(*, count: int = 3, name: str = "x") -> int:
    """Do as an example does."""
    if name == "value":
        raise ValueError("name must be good,\n  got 'value'")
    if name == "system":
        raise OSError(13, "Permission denied", "somewhere")
    if name == "bug":
        raise RuntimeError("a bug")
    return count


@pytest.mark.parametrize(
    ("line", "code"), [("", 3), ("--count 0", 0), ("--count=7 --name y", 7), ("--count 130", 130)]
)
def test_the_result_is_the_exit_code(
    line: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(example, "dnl.example", line.split()) == code
    assert capsys.readouterr() == ("", "")


def test_the_command_line_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "--count", "5"])
    assert cli.run(example, "dnl.example") == 5
    assert cli.run(example, "dnl.example", []) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--name value", "name must be good, got 'value'"),
        ("--name system", "[Errno 13] Permission denied: 'somewhere'"),
        ("--conut 4", "Unknown option: --conut. Did you mean --count?"),
        ("--count 1.5", "--count"),
        ("--count 2.0x", "2.0x"),
        ("--count", "--count"),
        ("stray", "stray"),
        ("--no-count", "--no-count"),
    ],
)
def test_errors_are_one_line(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(example, "dnl.example", line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dnl.example: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert message in err


def test_a_bug_is_not_dressed_up() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        cli.run(example, "dnl.example", ["--name", "bug"])


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(main, "dnl.bench", ["--help"]) == 0
    out, err = capsys.readouterr()
    assert "python -m dnl.bench" in out
    assert "Radius of the local equilibria" in out
    assert err == ""
    names = "senders preset law signals states actions instances surrogates samples epochs starts"
    names += " deviations radius iterations seed device workers scheduler out resume quiet"
    for name in names.split():
        assert f"--{name}" in out


# ---------------------------------------------------------------------------- the benchmark's

WRONG = [
    ("--sender 2", "--sender. Did you mean --senders?"),
    ("--surrogate relu", "--surrogate. Did you mean --surrogates?"),
    ("--no-resume", "--no-resume"),
    ("stray", "stray"),
    ("--surrogates relu mlp", "surrogates must be one of 'relu', 'delu', 'dnl', 'posterior-dnl', "),
    ("--law dice", "law must be one of 'paper', 'contested', got 'dice'"),
    ("--law paper dice", "law must be one of 'paper', 'contested', got 'dice'"),
    ("--preset big", "preset must be one of 'quick', 'paper', got 'big'"),
    ("--senders 0", "senders must be an integer of at least 1, got 0"),
    ("--senders 2 -1", "senders must be an integer of at least 1, got -1"),
    ("--signals 2 0", "signals must be an integer of at least 1, got 0"),
    ("--actions 1 2", "actions must be at least 2 under law 'contested', got 1"),
    ("--instances 0", "instances must be an integer of at least 1, got 0"),
    ("--samples 1", "samples must be an integer of at least 2, got 1"),
    ("--seed -1", "seed must be an integer of at least 0, got -1"),
    ("--radius -1", "radius must be finite and above 0, got -1.0"),
    ("--radius 0", "radius must be finite and above 0, got 0.0"),
    ("--radius nan", "radius must be finite and above 0, got nan"),
    ("--radius wide", '--radius: unable to convert "wide"'),
    ("--senders two", "--senders must be a whole number, got 'two'"),
    ("--epochs 1.5", "1.5"),
    ("--senders 2 2.5", "2.5"),
    ("--seed 0.5", "0.5"),
    ("--device tpu", "device must be 'auto', 'cpu' or 'cuda[:index]', got 'tpu'"),
    ("--device cuda:99", "device 'cuda:99' does not exist"),
    ("--workers 0", "workers must be an integer of at least 1, got 0"),
    ("--workers 2 --scheduler x:1", "scheduler='x:1' and workers=2: leave one out"),
    ("--resume", "resume needs the folder to go on with, got no --out"),
    ("--out", "--out requires an argument"),
    ("--signals 2.7 --states 2.5", "--signals must be a whole number, got '2.7'"),
    ("--states 2 2.5", "--states must be a whole number, got '2.5'"),
    ("--instances 1e3", "--instances must be a whole number, got '1e3'"),
    ("--seed 9223372036854775808", "--seed must be below 2**63, got '9223372036854775808'"),
    ("--senders 99999999999999999999", "--senders must be below 2**63, got '9999999999"),
    (f"--senders {'9' * 400}", "--senders must be below 2**63, got '99999"),
    (f"--seed {'9' * 5000}", "--seed must be a whole number, got '99999"),
    ("--senders 9223372036854775807", "senders x states x signals must be at most 1,000,000, got "),
    ("--actions 1000000", "senders x states x actions must be at most 1,000,000, got 2 x 2 x 10"),
    ("--instances 99999999999", "instances must make at most 10,000,000 rows, got 99,999,999,999"),
    ("--out ~nobody-of-this-name/x", "--out must be a path, got '~nobody-of-this-name/x': Could"),
    ("--out file", "out must be a writable folder, got 'file'"),
    ("--out file/inner", "out must be a writable folder, got 'file/inner'"),
]


def without(tokens: list[str], line: str) -> list[str]:
    """`tokens` less the options that `line` names."""
    kept: list[str] = []
    skip = False
    for token in tokens:
        skip = token in line.split() if token.startswith("--") else skip
        if not skip:
            kept.append(token)
    return kept


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_wrong_arguments_of_the_benchmark_touch_nothing(
    line: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    assert cli.run(main, "dnl.bench", [*without(TINY, line), *line.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("dnl.bench: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "out holds 1 rows already, got 'run': add --resume"),
        ("--radius 0.01", "radius=0.005, got radius=0.01 and out='run'"),
        ("--radius 0.01 --resume", "radius=0.005, got radius=0.01 and out='run'"),
        ("--seed 1 --resume", "seed=0, got seed=1 and out='run'"),
        ("--law paper --resume", "laws=['contested'], got laws=['paper'] and out='run'"),
    ],
)
def test_a_run_that_is_there_is_left_as_it_is(
    more: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dnl.reporting.benchmark_figures.draw", lambda folder: [])
    assert cli.run(main, "dnl.bench", [*TINY, "--out", "run"]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert capfd.readouterr() == ("", "")
    assert cli.run(main, "dnl.bench", [*TINY, "--out", "run", *more.split()]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> int:
        raise KeyboardInterrupt

    assert cli.run(stopped, "dnl.example", []) == 130
    assert capsys.readouterr().err == (
        "dnl.example: interrupted. What is finished is kept: the same command goes on there.\n"
    )


@pytest.mark.parametrize("option", ["--workers", "--size", "--sizes", "--perhaps", "--many"])
@pytest.mark.parametrize("value", ["2.7", "2.0", "1e3", "two", "9" * 30])
def test_whole_numbers_are_checked_in_every_kind_of_option(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(
        *,
        workers: int = 1,
        size: int | None = None,
        sizes: Annotated[tuple[int, ...], cli.MANY] = (),
        perhaps: Annotated[tuple[int, ...] | None, cli.MANY] = None,
        many: list[int] | None = None,
    ) -> int:
        return 0

    assert cli.run(command, "dnl.example", [option, "3"]) == 0
    assert cli.run(command, "dnl.example", [option, value]) == 2
    err = capsys.readouterr().err
    assert f"{option} must be " in err
    assert f"got '{value}'" in err
    assert err.count("\n") == 1


def test_a_home_is_found_where_the_shell_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dnl.reporting.benchmark_figures.draw", lambda folder: [])
    assert cli.run(main, "dnl.bench", [*TINY, "--out=~/run"]) == 0
    assert (tmp_path / "home" / "run" / "results.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


# ---------------------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_is_one_line(
    kind: signal.Signals, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def command() -> int:
        with interruption.held_back():
            os.kill(os.getpid(), kind)
            done.append("what was begun")
        done.append("too much")
        return 0

    before = [signal.getsignal(number) for number in CODES]
    assert cli.run(command, "dnl.example", []) == code
    assert done == ["what was begun"]
    assert capsys.readouterr().err == (
        f"dnl.example: {word}. What is finished is kept: the same command goes on there.\n"
    )
    assert [signal.getsignal(number) for number in CODES] == before


@pytest.mark.parametrize(("patient", "done"), [(True, 2), (False, 1)])
def test_a_second_signal_is_held_back_only_where_that_is_short(patient: bool, done: int) -> None:
    struck: list[int] = []

    def command() -> int:
        with interruption.held_back(patient):
            for count in (1, 2):
                os.kill(os.getpid(), signal.SIGINT)
                struck.append(count)
        return 0

    assert cli.run(command, "dnl.example", []) == 130
    assert len(struck) == done
    assert cli.run(lambda: 0, "dnl.example", []) == 0


@pytest.mark.parametrize("kind", [ImportError, ValueError])
def test_an_error_that_ctrl_c_brought_about_is_an_interruption(
    kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    """A compiled module that is loading turns KeyboardInterrupt into its own ImportError."""

    def command() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise kind("initialization failed") from error
        return 0

    assert cli.run(command, "dnl.example", []) == 130
    assert capsys.readouterr().err.startswith("dnl.example: interrupted. ")


def test_an_error_that_ctrl_c_brought_about_is_no_failed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def game_of(key: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr("dnl.bench.game_of", game_of)
    assert cli.run(main, "dnl.bench", [*TINY, "--out", str(tmp_path)]) == 130
    assert not (tmp_path / "results.csv").exists()
    assert "Interrupted: 0 of 1 rows are finished" in capsys.readouterr().err


def loaded(module: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A command that finds a module in `folder` first."""
    path = os.pathsep.join([str(folder), str(Path(dnl.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-m", module, "--out", "x"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("kind", "line"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated")])
@pytest.mark.parametrize("module", ["dnl.bench", "experiments.growth"])
def test_a_signal_while_a_command_loads_is_one_line(
    kind: str, line: str, module: str, tmp_path: Path
) -> None:
    # In the place of torch, which takes a second to load and is loaded first.
    (tmp_path / "torch.py").write_text(
        f"import os, signal\nos.kill(os.getpid(), signal.{kind})\nraise SystemExit(7)\n"
    )
    done = loaded(module, tmp_path)
    code = {"SIGINT": 130, "SIGTERM": 143}[kind]
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{module}: {line}.\n")


STRUCK = """
import os, signal
from dnl.runtime import cli

def main(*, out: str) -> int:
    exec("os.kill(os.getpid(), signal.SIGTERM)\\nfor _ in range(1000): pass")
    return 0

raise SystemExit(cli.run(main, "struck"))
"""


def test_a_signal_in_code_from_a_string_leaves_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "struck.py").write_text(STRUCK)
    done = loaded("struck", tmp_path)
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr.startswith("struck: terminated. ")


def test_a_signal_when_all_is_done_changes_nothing(tmp_path: Path) -> None:
    # Python takes its handlers back before the libraries of a process are unloaded.
    (tmp_path / "torch.py").write_text(
        "import atexit, os, signal\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid(), kind=signal.SIGINT):\n"
        "        kill(pid, kind)\n"
        "late = Late()\n"
        "raise SystemExit(7)\n"
    )
    assert loaded("dnl.bench", tmp_path).returncode == 7


def test_a_backend_that_is_not_here_stops_nothing() -> None:
    program = "import dnl, dnl.plot, dnl.training, matplotlib.pyplot, os\n"
    program += "print(os.environ.get('MPLBACKEND'))"
    inherited = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | inherited | {"PYTHONPATH": str(Path(dnl.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
