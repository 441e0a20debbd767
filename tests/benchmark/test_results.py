"""The folder of a run: fresh, growing, resumed, refused; its table exact to the last digit."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dnl
from dnl.benchmark.rows import KEYS, ResultFolder, columns
from dnl.runtime import cli, records
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_rows, read_table

CONFIGURATION: dict[str, Any] = {"seed": 0, "radius": 0.005, "sizes": ((2, 2, 2),), "fit.lr": 0.01}
ORDER: list[Key] = [("paper", 2, 2, 2, 2, i, s) for i in range(2) for s in ("relu", "dnl")]


def row(key: Key, **values: object) -> Row:
    filled: Row = dict(zip(KEYS, key, strict=True)) | {"status": "ok", "seed": 0, "starts": 30}
    return filled | {"constant": False, "constant_0": True, "mse": 0.1, "game": "a1"} | values


def failed(key: Key, **values: object) -> Row:
    named: Row = dict(zip(KEYS, key, strict=True)) | {"status": "error", "seed": 0}
    return named | {"error": "ValueError: no such game"} | values


def opened(path: Path, resume: bool = False, **changes: object) -> ResultFolder:
    return ResultFolder(path, CONFIGURATION | changes, ORDER, resume)


# ---------------------------------------------------------------------------- life of a folder


@pytest.mark.parametrize("resume", [False, True])
def test_a_fresh_folder_is_made_with_its_record(resume: bool, tmp_path: Path) -> None:
    folder = opened(tmp_path / "a" / "b", resume)
    assert folder.missing == ORDER
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "run.json"]
    record = json.loads((folder.path / "run.json").read_text())
    assert record["configuration"] == json.loads(json.dumps(CONFIGURATION))
    assert {"command", "program", "version", "commit", "hardware", "date"} < set(record)


def test_rows_are_there_as_soon_as_they_are_added_in_the_order_of_the_run(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for count, key in enumerate(reversed(ORDER), 1):
        folder.add([row(key)])
        assert folder.missing == ORDER[:-count]
        table = read_table(tmp_path / "results.csv")
        assert list(table[list(KEYS)].itertuples(index=False, name=None)) == ORDER[-count:]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "results.csv", "run.json"]


def test_the_table_is_whole_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path)
    folder.add([row(ORDER[0])])
    before = (tmp_path / "results.csv").read_text()

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            folder.add([row(ORDER[1])])
    assert (tmp_path / "results.csv").read_text() == before
    del folder
    assert opened(tmp_path, resume=True).missing == ORDER[1:]  # what is left of it does no harm


def test_leftover_parts_do_no_harm(tmp_path: Path) -> None:
    for name in ("results.csv.part", "run.json.part", ".probe-1"):
        (tmp_path / name).write_text("half a li")
    folder = opened(tmp_path)
    folder.add([row(key) for key in ORDER])
    assert opened(tmp_path, resume=True).missing == []
    assert len(read_table(tmp_path / "results.csv")) == 4


def test_resume_keeps_what_is_finished(tmp_path: Path) -> None:
    opened(tmp_path).add([row(ORDER[0], mse=0.25), row(ORDER[2])])
    record, table = (tmp_path / "run.json").read_text(), (tmp_path / "results.csv").read_text()
    folder = opened(tmp_path, resume=True)
    assert folder.missing == [ORDER[1], ORDER[3]]
    assert (tmp_path / "run.json").read_text() == record
    assert (tmp_path / "results.csv").read_text() == table
    folder.add([row(ORDER[1]), row(ORDER[3])])
    again = read_rows(tmp_path / "results.csv", KEYS, ORDER)
    assert [r["mse"] for r in again] == [0.25, 0.1, 0.1, 0.1]
    assert (tmp_path / "results.csv").read_text().startswith(table.splitlines()[0])


def test_a_run_without_rows_needs_no_resume(tmp_path: Path) -> None:
    opened(tmp_path)
    assert opened(tmp_path).missing == ORDER


def test_failed_rows_are_tried_again(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.add([row(ORDER[0]), failed(ORDER[1])])
    assert folder.missing == ORDER[2:]  # in this run a failure is final
    folder = opened(tmp_path, resume=True)
    assert folder.missing == ORDER[1:]
    folder.add([row(ORDER[1])])
    table = read_table(tmp_path / "results.csv")
    assert table["status"].tolist() == ["ok", "ok"]
    assert table["error"].isna().all()


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0.01}, "out holds a run with radius=0.005, got radius=0.01 and out='.*taken'"),
        ({"sizes": ((2, 2, 4),)}, r"sizes=\[\[2, 2, 2\]\], got sizes=\[\[2, 2, 4\]\]"),
        ({"fit.lr": 0.1}, "fit.lr=0.01, got fit.lr=0.1"),
        ({"new": 3}, "new=None, got new=3"),
    ],
)
def test_another_configuration_is_refused(
    change: dict[str, Any], message: str, with_rows: bool, resume: bool, tmp_path: Path
) -> None:
    folder = opened(tmp_path / "taken")
    if with_rows:
        folder.add([row(ORDER[0])])
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "taken", resume, **change)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_a_run_that_names_a_retired_option_is_resumed(tmp_path: Path) -> None:
    sizes = {"hidden": [64], "upper": []}  # hidden layers of follower networks: none any more
    opened(tmp_path, architecture=sizes).add([row(ORDER[0])])
    before = (tmp_path / "run.json").read_text()
    assert len(opened(tmp_path, True, architecture={"hidden": [64]}).rows) == 1
    assert (tmp_path / "run.json").read_text() == before
    opened(tmp_path / "of some", architecture=sizes | {"upper": [8]}).add([row(ORDER[0])])
    with pytest.raises(ValueError, match="out holds a run with architecture"):
        opened(tmp_path / "of some", True, architecture={"hidden": [64]})


def test_rows_without_resume_are_refused(tmp_path: Path) -> None:
    opened(tmp_path / "taken").add([row(ORDER[0]), row(ORDER[1])])
    before = (tmp_path / "taken" / "results.csv").read_bytes()
    with pytest.raises(ValueError, match=r"out holds 2 rows already, got '.*taken': add --resume"):
        opened(tmp_path / "taken")
    assert (tmp_path / "taken" / "results.csv").read_bytes() == before


@pytest.mark.parametrize("resume", [False, True])
def test_rows_of_an_unknown_run_are_refused(resume: bool, tmp_path: Path) -> None:
    opened(tmp_path).add([row(ORDER[0])])
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match="out holds"):
        opened(tmp_path, resume)
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize("below", ["", "inner", "inner/most"])
def test_a_file_in_the_way_is_an_os_error(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"out must be a writable folder, got '.*file"):
        opened(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


# ---------------------------------------------------------------------------- the table


def test_first_columns_and_columns_per_sender() -> None:
    first = "law n_senders n_signals n_states n_actions instance surrogate status"
    for n_senders in (1, 2, 4):
        names = columns(n_senders)
        assert names[:8] == first.split()
        assert len(set(names)) == len(names)
        for name in ("mse", "unexplained", "constant", "payoff_range", "best_utility"):
            numbered = [other for other in names if other.startswith(f"{name}_")]
            assert numbered == [f"{name}_{n}" for n in range(n_senders)]


def test_columns_are_those_of_the_most_senders(tmp_path: Path) -> None:
    order: list[Key] = [("paper", n, 2, 2, 2, 0, "relu") for n in (4, 2)]
    folder = ResultFolder(tmp_path, CONFIGURATION, order, resume=False)
    folder.add([row(order[1])])
    assert read_table(tmp_path / "results.csv").columns.tolist() == columns(4)


def test_whole_numbers_stay_whole_where_others_are_missing(tmp_path: Path) -> None:
    counts = {"parameter_count": 280417, "not_refuted": 3, "starts_not_refuted": 12}
    folder = opened(tmp_path)
    folder.add([row(ORDER[0], **counts), failed(ORDER[1])])
    folder = opened(tmp_path, resume=True)
    folder.add([row(ORDER[2], **counts), failed(ORDER[3])])
    header, *lines = (tmp_path / "results.csv").read_text().splitlines()
    cells = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    assert [cell["status"] for cell in cells] == ["ok", "ok", "error"]
    for name, count in counts.items():
        assert [cell[name] for cell in cells] == [str(count), str(count), ""]
    assert [cell["seed"] for cell in cells] == ["0", "0", "0"]
    assert [cell["instance"] for cell in cells] == ["0", "1", "1"]
    assert [cell["constant_0"] for cell in cells] == ["True", "True", ""]
    assert [cell["constant"] for cell in cells] == ["False", "False", ""]


def test_numbers_are_exact(tmp_path: Path) -> None:
    draw = random.Random(0)
    values = [draw.gauss(0, 10) * 10.0 ** draw.randint(-12, 12) for _ in range(400)]
    values += [0.1 + 0.2, 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3]
    order: list[Key] = [("paper", 2, 2, 2, 2, i, "relu") for i in range(len(values))]
    folder = ResultFolder(tmp_path, CONFIGURATION, order, resume=False)
    folder.add([row(key, mse=value) for key, value in zip(order, values, strict=True)])
    again = ResultFolder(tmp_path, CONFIGURATION, order, resume=True)
    again.add([])
    for source in (again.frame(), read_table(tmp_path / "results.csv")):
        assert [value.hex() for value in source["mse"]] == [value.hex() for value in values]


def test_missing_numbers_stay_missing(tmp_path: Path) -> None:
    opened(tmp_path).add([row(ORDER[0], unexplained=math.nan), failed(ORDER[1])])
    read = read_rows(tmp_path / "results.csv", KEYS, ORDER)
    assert math.isnan(read[0]["unexplained"])
    assert math.isnan(read[1]["mse"])


@pytest.mark.parametrize("text", ["123e4567", "000000000012", "1e5", "0123456789ab"])
def test_identities_stay_text(text: str, tmp_path: Path) -> None:
    opened(tmp_path).add([row(ORDER[0], game=text, commit=text), failed(ORDER[1], commit=text)])
    folder = opened(tmp_path, resume=True)
    folder.add([row(ORDER[1], game=text, commit=text)])
    read = read_rows(tmp_path / "results.csv", KEYS, ORDER)
    assert [(r["game"], r["commit"]) for r in read] == [(text, text)] * 2
    assert read_table(tmp_path / "results.csv")["commit"].tolist() == [text, text]


@pytest.mark.parametrize("text", ["ValueError: prior, must be 'x'", 'say "no"', "a\nb", "x: 7"])
def test_error_texts_are_kept(text: str, tmp_path: Path) -> None:
    opened(tmp_path).add([failed(ORDER[0], error=text)])
    assert read_rows(tmp_path / "results.csv", KEYS, ORDER)[0].get("error") == text


def test_provenance_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert records.provenance()["commit"] is None


def repository(path: Path) -> str:
    """Make a repository with one commit at `path`, and return its commit."""
    path.mkdir(exist_ok=True)
    (path / "file").write_text(str(path))
    named = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for line in (["init", "-q"], ["add", "file"], [*named, "commit", "-qm", "x"]):
        subprocess.run(["git", *line], cwd=path, check=True)
    line = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(line, cwd=path, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_not_that_of_a_repository_around_an_installed_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository(tmp_path)
    copy = tmp_path / ".venv" / "results.py"
    copy.parent.mkdir()
    copy.write_text("")
    monkeypatch.setattr(records, "__file__", str(copy))
    assert records.provenance()["commit"] is None


def test_the_commit_is_not_that_of_a_repository_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    foreign = repository(tmp_path)
    library = repository(tmp_path / "library")
    (tmp_path / "library" / "file").write_text("changed")
    monkeypatch.setattr(records, "__file__", str(tmp_path / "library" / "file"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.chdir(tmp_path)
    assert foreign != library
    assert records.provenance()["commit"] == f"{library}+"


# ---------------------------------------------------------------------------- what was cut


CUTS: dict[str, Callable[[str], str]] = {
    "in a number": lambda text: text[:-1].rsplit(",", 1)[0] + ",0",
    "after the status": lambda text: text[: text.rindex(",ok,") + 4],
    "in quotes": lambda text: text[: text.rindex(" c")],
    "with a newline": lambda text: text[: text.rindex(",ok,") + 4] + "\n",
    "too many fields": lambda text: text[:-1] + ",7\n",
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_row_that_was_cut_is_computed_again(cut: str, tmp_path: Path) -> None:
    opened(tmp_path).add([row(ORDER[0]), row(ORDER[1], hardware="a, b\n c")])
    table = tmp_path / "results.csv"
    whole = table.read_text()
    table.write_text(CUTS[cut](whole))
    folder = opened(tmp_path, resume=True)
    assert folder.missing == ORDER[1:]
    assert folder.rows[ORDER[0]]["starts"] == 30
    folder.add([row(ORDER[1], hardware="a, b\n c")])
    assert table.read_text() == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "law;n_senders;status\npaper;2;ok\n",
            r"results.csv holds no table: its columns must be separated by commas, got",
        ),
        ("law,status\npaper,ok\n", "without n_senders, n_signals, "),
        (" ", "results.csv holds no table"),
        ('"', "results.csv holds no table"),
        ("\xff", "results.csv holds no table"),
    ],
)
def test_a_file_that_is_no_table_is_named(text: str, message: str, tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "results.csv").write_text(text, encoding="latin1")
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, resume=True)


def test_a_table_with_words_for_counts_is_refused_at_once(tmp_path: Path) -> None:
    opened(tmp_path).add([row(ORDER[0])])
    table = tmp_path / "results.csv"
    table.write_text(table.read_text().replace(",30,", ",many,"))
    with pytest.raises(ValueError, match=r"out holds a broken results\.csv"):
        opened(tmp_path, resume=True)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", "7", '{"configuration": []}', "{", "", "[" * 100_000, '{"a": ' * 100_000),
        '{"configuration": {"seed": ' + "9" * 5_000 + "}}",
    ],
    ids=range(9),
)
def test_a_broken_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"out holds a broken run\.json"):
        opened(tmp_path)


def test_a_record_with_a_long_number_is_another_run_s(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"configuration": {"seed": ' + "9" * 400 + "}}")
    with pytest.raises(ValueError, match=r"out holds a run with .*choose another folder") as caught:
        opened(tmp_path)
    assert len(str(caught.value)) < 500


def test_a_folder_in_place_of_a_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OSError, match=r"out must hold a readable run\.json, got "):
        opened(tmp_path)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_was_killed_before_its_header_is_begun_anew(
    resume: bool, tmp_path: Path
) -> None:
    opened(tmp_path)
    (tmp_path / "results.csv").touch()
    assert opened(tmp_path, resume).missing == ORDER


# ---------------------------------------------------------------------------- two processes


HOLD = """
import sys
from pathlib import Path
from dnl.runtime.records import lock
held = lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_one_process_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LOCK_SECONDS", 0.0)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(dnl.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for attempt in (opened, lambda path: records.claim(path, {})):
            with pytest.raises(OSError, match=f"got '{tmp_path}': another process works in it"):
                attempt(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
    finally:
        other.communicate()
    assert opened(tmp_path).missing == ORDER


def test_a_record_of_another_command_is_left_as_it_is(tmp_path: Path) -> None:
    def main() -> int:
        records.claim(tmp_path, {"seed": 0}).release()
        return 0

    def command(name: str) -> int:
        return cli.run(main, name, [])

    assert command("experiments.one") == 0
    before = (tmp_path / "run.json").read_text()
    assert json.loads(before)["program"] == "experiments.one"
    assert command("experiments.other") == 2
    assert (tmp_path / "run.json").read_text() == before
    assert command("experiments.one") == 0
    # As older versions wrote it.
    old = {"command": "python -m dnl.bench --senders 2", "configuration": {}}
    (tmp_path / "run.json").write_text(json.dumps(old))
    assert command("experiments.one") == 2
