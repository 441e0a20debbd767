"""Command lines: results, one line per error, and nothing touched by a wrong one."""

import sys
from pathlib import Path

import pytest

from dnl import cli
from dnl.bench import main

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
    monkeypatch.setattr("dnl.plot.draw", lambda folder: [])
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
