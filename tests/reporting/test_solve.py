"""The command that solves one game: what it writes, what it refuses, how it ends."""

import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from dnl import Equilibrium
from dnl.equilibria import MEMBERS, find_equilibria
from dnl.equilibria.equilibrium import Equilibria
from dnl.reporting.equilibrium_text import report
from dnl.runtime import cli
from dnl.solve import SolveConfig, load_game, main
from games import (
    REGISTRY,
    Family,
    PersuasionGame,
    didactic_game,
    prosecutor_game,
    synthetic_game,
)
from games.persuasion.matrix import random_matrix_game

SIZES = ["--senders", "2", "--signals", "2", "--states", "3", "--actions", "2"]
SHORT = ["--time-limit", "2", "--quiet"]
FILES = {".lock", "report.txt", "game.json", "run.json", "equilibria", "figures"}


def run(*tokens: str) -> int:
    return cli.run(main, "dnl.solve", [*tokens])


def nothing(*args: Any, **options: Any) -> Equilibria:
    """In place of `find_equilibria`."""
    return Equilibria((), "complete")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a short run."""
    monkeypatch.setattr("dnl.solve._draw", lambda *arguments: None)


# ---------------------------------------------------------------------------------- what it does


def test_the_prosecutor_is_solved(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prosecutor", "--time-limit", "2", "--members", "responses", "--out", "new/run") == 0
    folder = here / "new" / "run"
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "1_policies.png",
        "1_utilities.png",
        "1_beliefs.png",
    }
    assert PersuasionGame.load(folder / "game.json") == prosecutor_game()
    best = Equilibrium.load(folder / "equilibria" / "1.json")
    # Kamenica and Gentzkow: the optimum convicts 0.6, and the judge is right about 0.7.
    assert best.welfare == pytest.approx(0.6, abs=1e-5)
    assert best.is_global
    text = (folder / "report.txt").read_text()
    assert re.search(r"prosecutor +0\.(600000|59999\d) +0\.300000 +0\.000000\n", text)
    assert re.search(r"receiver +0\.7000\d+ +1\.000000 +0\.700000\n", text)
    record = json.loads((folder / "run.json").read_text())
    assert record["configuration"] == {
        "game": "prosecutor",
        "identity": prosecutor_game().identity,
        "senders": None,
        "signals": None,
        "states": None,
        "actions": None,
        "instance": None,
        "radius": 0.005,
        "time_limit": 2.0,
        "seed": 0,
        "members": ["responses"],
        "show": 1,
        "scope": "local",
        "rank_by": "welfare",
    }
    out, err = capsys.readouterr()
    assert out.startswith(text)
    for name in ("report.txt", "equilibria/", "figures/"):
        assert f"new/run/{name}" in out
    assert re.fullmatch(r"search: \d certified, \d of them Nash, \d\d:\d\d elapsed\n", err)


def test_progress_says_how_long_at_most(
    here: Path, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # No member finds what the ceiling would allow in this game, so the time is used up.
    sizes = [f"--{name}=3" for name in ("signals", "states", "actions")]
    options = ["--senders=2", "--instance=1", "--time-limit=1"]
    members = ["--members", "no-information", "responses"]
    assert run("contested", *sizes, *options, *members, "--out=run") == 0
    assert "at most 1 s left" in capsys.readouterr().err


def test_a_random_game_is_solved(here: Path) -> None:
    """Silence is worth 19.0 in it, but is only a local equilibrium; the truth is worth 10.5."""
    options = ["--members", "no-information", "full-revelation", "--show", "5", "--out", "run"]
    assert run("contested", *SIZES, "--instance", "1", *SHORT, *options) == 0
    game = synthetic_game(2, 2, 3, 2, seed=1, law="contested")
    assert PersuasionGame.load("run/game.json") == game
    saved = [Equilibrium.load(f"run/equilibria/{i}.json") for i in (1, 2)]
    assert len(list(Path("run/equilibria").iterdir())) == 2
    assert [one.nash for one in saved] == ["certified", "refuted"]
    assert [one.source for one in saved] == ["full-revelation", "no-information"]
    assert saved[0].welfare < saved[1].welfare
    text = Path("run/report.txt").read_text()
    assert text.count("\nEquilibrium\n") == 2  # fewer than were asked for
    assert len(list(Path("run/figures").iterdir())) == 6


def test_global_shows_nash_equilibria_only(here: Path, no_figures: None) -> None:
    game = ["contested", *SIZES, "--instance", "1", *SHORT, "--global"]
    options = ["--members", "no-information", "full-revelation", "--out", "run"]
    assert run(*game, *options) == 0
    assert len(list(Path("run/equilibria").iterdir())) == 1
    assert Equilibrium.load("run/equilibria/1.json").source == "full-revelation"
    assert json.loads(Path("run/run.json").read_text())["configuration"]["scope"] == "global"
    assert run(*game, "--members", "no-information", "--out", "none") == 1  # nothing certified
    text = " ".join(Path("none/report.txt").read_text().split())
    assert "full revelation is a Nash equilibrium of this game" in text
    assert "--members full-revelation" in text
    local = game[:-1]
    assert run(*local, "--members", "no-information", "--out", "local") == 0  # a local one


def test_the_ranking_is_asked_for(here: Path, no_figures: None) -> None:
    """The planner's profile gives the senders 0.8 and 1.2, the truth 0 and 0.8; the receiver is
    right with probability 0.6 or 1.
    """
    for text, source in (
        ("receiver", "full-revelation"),
        ("1", "planner"),
        ("-1,0", "full-revelation"),
        ("1,0,4", "full-revelation"),
    ):
        members = ["--members", "full-revelation", "planner", f"--out={text}", "--global"]
        assert run("didactic", *SHORT, *members, f"--rank-by={text}") == 0
        assert Equilibrium.load(f"{text}/equilibria/1.json").source == source


def test_a_sender_is_ranked_by_name(
    here: Path, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(didactic_game(), sender_names=("wolf", "lamb, the meek")).save("mine.json")
    options = ["--members", "full-revelation", "--out"]
    assert run("mine.json", *SHORT, *options, "run", "--rank-by", "lamb, the meek") == 0
    assert run("mine.json", *SHORT, *options, "other", "--rank-by", "wolff") == 2
    assert "got 'wolff': did you mean 'wolf'?" in capsys.readouterr().err


def test_a_game_of_ones_own(here: Path) -> None:
    game = PersuasionGame([0.5, 0.5], [[1, 0], [0, 1]], [[[1, 0], [0, 1]]] * 2, n_signals=2)
    game.save("mine.json")
    assert run("mine.json", *SHORT, "--members", "full-revelation", "--out", "run") == 0
    # All want what the receiver wants: full revelation gives everybody 1.
    assert Equilibrium.load("run/equilibria/1.json").utilities.tolist() == [1.0, 1.0]
    assert json.loads(Path("run/run.json").read_text())["configuration"]["game"] == "mine.json"


def test_the_report_written_is_that_of_the_best(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def spy(game: PersuasionGame, **options: Any) -> tuple[Equilibrium, ...]:
        asked.update(options)
        asked["found"] = find_equilibria(game, **options)
        return asked["found"]

    monkeypatch.setattr("dnl.solve.find_equilibria", spy)
    options = ["--radius", "0.01", "--seed", "4", "--members", "no-information", "--out", "run"]
    assert run("didactic", *SHORT, *options) == 0
    names = ("radius", "time_limit", "seed", "members", "scope", "rank_by")
    expected = [0.01, 2.0, 4, ("no-information",), "local", "welfare"]
    assert [asked[name] for name in names] == expected
    assert Path("run/report.txt").read_text().endswith("\n" + report(asked["found"][0]))


def test_quiet_prints_nothing_and_the_folder_is_fresh(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("didactic", *SHORT, "--members", "no-information") == 0
    (folder,) = (here / "results").iterdir()
    assert {path.name for path in folder.iterdir()} == FILES
    monkeypatch.setattr("dnl.solve.find_equilibria", nothing)
    assert run("didactic", *SHORT) == 1
    assert len(list((here / "results").iterdir())) == 2
    assert capsys.readouterr() == ("", "")


def test_nothing_certified(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dnl.solve.find_equilibria", nothing)
    assert run("didactic", "--time-limit", "2", "--out", "run") == 1
    text = (here / "run" / "report.txt").read_text()
    assert "No equilibrium was certified within 2 s at radius 0.005" in text
    assert "--members full-revelation" in text
    assert "--time-limit" not in text  # the search was complete: more time changes nothing
    assert {path.name for path in (here / "run").iterdir()} == FILES - {"equilibria", "figures"}
    assert capsys.readouterr().out.startswith(text)


@pytest.mark.parametrize("options", [[], ["--out", "run"]])
def test_interruption(
    options: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*args: Any, on_progress: Callable[[float, str], None], **options: Any) -> None:
        on_progress(1.0, "blocks")
        raise KeyboardInterrupt

    monkeypatch.setattr("dnl.solve.find_equilibria", stopped)
    assert run("didactic", *options) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "\nInterrupted: nothing was certified so far, nothing is written.\n" in err
    assert [path for path in here.rglob("*") if path.is_file()] == []
    monkeypatch.setattr("dnl.solve.find_equilibria", nothing)
    assert run("didactic", *options) == 1  # the same command again is not refused


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_certified_is_kept_by_an_interruption(
    kind: signal.Signals,
    code: int,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*args: Any, on_certified: Callable[..., None], **options: Any) -> Any:
        def once(policies: Tensor, source: str) -> None:
            on_certified(policies, source)
            if source == "full-revelation":
                os.kill(os.getpid(), kind)

        return find_equilibria(*args, on_certified=once, **options)

    monkeypatch.setattr("dnl.solve.find_equilibria", stopped)
    assert run("contested", *SIZES, "--instance", "1", "--out", "run") == code
    out, err = capsys.readouterr()
    word = {130: "Interrupted", 143: "Terminated"}[code]
    assert f"\n{word}: what was certified so far is written.\n" in err
    assert {path.name for path in (here / "run").iterdir()} == FILES
    saved = [Equilibrium.load(f"run/equilibria/{i}.json") for i in (1, 2)]
    assert {one.source for one in saved} == {"no-information", "full-revelation"}
    # What was certified first is worth more, but it is no Nash equilibrium.
    assert [one.source for one in saved] == ["full-revelation", "no-information"]
    assert [one.nash for one in saved] == ["certified", "refuted"]
    assert saved[0].welfare < saved[1].welfare
    assert len(list(Path("run/equilibria").iterdir())) == 2
    assert {one.status for one in saved} == {"interruption"}
    assert "The search was interrupted" in " ".join(out.split())
    assert out.startswith(Path("run/report.txt").read_text())
    assert len(list(Path("run/figures").iterdir())) == 3


def test_an_interruption_while_files_are_written_leaves_them_whole(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = PersuasionGame.save

    def struck(game: PersuasionGame, path: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        save(game, path)

    monkeypatch.setattr(PersuasionGame, "save", struck)
    assert run("didactic", *SHORT, "--members", "no-information", "--out", "run") == 143
    assert {path.name for path in (here / "run").iterdir()} == FILES - {"figures"}
    assert Equilibrium.load("run/equilibria/1.json").source == "no-information"
    assert "what was certified so far is written but for figures" in capsys.readouterr().err


def test_progress_may_pass_the_limit(
    here: Path, terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late(*args: Any, on_progress: Callable[[float, str], None], **options: Any) -> Equilibria:
        for seconds in (0.5, 0.5, 7.0):
            on_progress(seconds, "global gap")
        return nothing()

    monkeypatch.setattr("dnl.solve.find_equilibria", late)
    monkeypatch.setattr("tqdm.std.time", iter(range(1000)).__next__)
    assert run("didactic", "--time-limit", "2", "--out", "run") == 1
    err = capsys.readouterr().err
    assert "global gap, at most 2 s left  25%" in err
    assert "global gap, at most 0 s left 100%" in err


@pytest.mark.parametrize(
    ("source", "config", "expected"),
    [
        ("didactic", SolveConfig(), didactic_game()),
        ("prosecutor", SolveConfig(), prosecutor_game()),
        (
            "paper",
            SolveConfig(senders=1, signals=2, states=3, actions=4, instance=5),
            synthetic_game(1, 2, 3, 4, seed=5, law="paper"),
        ),
        (
            "contested",
            SolveConfig(senders=2, signals=2, states=2, actions=2),
            synthetic_game(2, 2, 2, 2, seed=0, law="contested"),
        ),
    ],
)
def test_named_games(source: str, config: SolveConfig, expected: PersuasionGame) -> None:
    assert load_game(source, config) == expected


def test_every_family_is_known_by_name() -> None:
    for name, family in REGISTRY.items():
        assert load_game(name, SolveConfig()) == family.make(0)
        if family.n_instances > 1:
            assert load_game(name, SolveConfig(instance=1)) == family.make(1)
        else:
            with pytest.raises(ValueError, match="instance is for random games and families"):
                load_game(name, SolveConfig(instance=0))


def test_a_family_from_outside_is_solved(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REGISTRY, "_entries", dict(REGISTRY))
    REGISTRY.register(Family("mine", partial(random_matrix_game, 2, 2), 2))
    options = ["--instance", "1", "--members", "full-revelation", "--out", "run"]
    assert run("mine", *SHORT, *options) in (0, 1)
    assert PersuasionGame.load("run/game.json") == random_matrix_game(2, 2, 1)
    with pytest.raises(ValueError, match=r"got 'mind': did you mean 'mine'\? \(names: .*'mine'\)"):
        load_game("mind", SolveConfig())


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "python -m dnl.solve" in out
    assert "GAME" in out
    for name in set(SolveConfig.__dataclass_fields__) - {"nash_only"}:
        assert f"--{name.replace('_', '-')}" in out
    assert "--global" in out
    told = " ".join(re.sub(r"[│\n]", " ", out).split())
    assert "those that know the game; the surrogate-... ones" in told
    assert "run only if they are named" in told


# ------------------------------------------------------------------------------ what it refuses

WRONG = [
    ("", "GAME requires an argument"),
    ("didactic prosecutor", "prosecutor"),
    (
        "didactics",
        "game must be a JSON file or the name of a game, got 'didactics': did you mean 'didactic'? "
        f"(names: 'paper', 'contested', {', '.join(map(repr, REGISTRY))})",
    ),
    (
        "contestd --senders 2",
        "error: game must be a JSON file or the name of a game, got 'contestd': did you mean "
        "'contested'?",
    ),
    ("missing.json", "got 'missing.json': there is no such file"),
    ("folder", "got 'folder': that is a folder"),
    ("broken.json", "got 'broken.json': broken.json is not JSON"),
    ("binary.json", "got 'binary.json'"),
    ("keys.json", "got 'keys.json': keys.json: missing key 'receiver_utility'"),
    ("prior.json", "got 'prior.json': prior.json: prior must sum to 1"),
    ("mine.json --senders 2", "senders is for the random games 'paper', 'contested' only, got 2"),
    (
        "mine.json --instance 0",
        "instance is for random games and families of several games only, got 0",
    ),
    ("didactic --states 2", "states is for the random games"),
    (
        "contested",
        "error: senders, signals, states and actions must be given for the random game "
        "'contested', got none",
    ),
    ("paper --senders 2 --states 2", "error: signals and actions must be given for the random"),
    (
        "paper --senders 2 --signals 2 --states 2",
        "error: actions must be given for the random game",
    ),
    ("paper --senders 0 --signals 2 --states 2 --actions 2", "senders must be an integer of at"),
    (
        "contested --senders 2 --signals 1 --states 2 --actions 2",
        "error: signals must be at least 2",
    ),
    ("paper --senders two", "--senders must be a whole number, got 'two'"),
    ("paper --instance -1", "instance must be an integer of at least 0, got -1"),
    ("didactic --radius -1", "radius must be finite and above 0, got -1.0"),
    ("didactic --radius 0", "radius must be finite and above 0, got 0.0"),
    (
        "didactic --radius 2",
        "radius must be at most 1, the largest change of a probability, got 2.0",
    ),
    ("didactic --rank-by receivr", "got 'receivr': did you mean 'receiver'?"),
    ("didactic --rank-by 2", "a sender (an index in 0..1 or a name) or weights, got 2"),
    ("didactic --rank-by 0,0", "rank_by must hold a weight that is not 0, got [0.0, 0.0]"),
    ("didactic --rank-by 1,2,3,4", "rank_by must hold 2 weights (of the senders) or 3"),
    ("didactic --no-global", "--no-global"),
    ("didactic --radius wide", '--radius: unable to convert "wide"'),
    ("didactic --time-limit 0", "time-limit must be finite and above 0, got 0.0"),
    ("didactic --time-limit inf", "time-limit must be finite and above 0, got inf"),
    ("didactic --seed -1", "seed must be an integer of at least 0, got -1"),
    ("didactic --seed 0.5", "0.5"),
    ("didactic --members", "members must hold at least one value, got none"),
    (
        "didactic --members luck",
        f"members must be one of {', '.join(map(repr, MEMBERS))}, got 'luck'",
    ),
    ("didactic --show 0", "show must be an integer of at least 1, got 0"),
    ("didactic --shows 2", "--shows. Did you mean --show?"),
    ("didactic --no-quiet", "--no-quiet"),
    ("didactic --out", "--out requires an argument"),
    ("didactic --out file", "out must be a writable folder, got 'file'"),
    ("didactic --out file/inner", "out must be a writable folder, got 'file/inner'"),
    ("didactic --out done", "out holds a run.json already, got 'done': choose another folder"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_wrong_arguments_touch_nothing(
    line: str,
    message: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def forbidden(*args: Any, **options: Any) -> None:
        raise AssertionError("the search began")

    monkeypatch.setattr("dnl.solve.find_equilibria", forbidden)
    prosecutor_game().save("mine.json")
    good = json.loads(Path("mine.json").read_text())
    Path("keys.json").write_text(json.dumps({"prior": [1]}))
    Path("prior.json").write_text(json.dumps(good | {"prior": [0.7, 0.7]}))
    Path("broken.json").write_text("{")
    Path("binary.json").write_bytes(b"\xff\xfe\x00")
    Path("file").write_text("mine")
    Path("folder").mkdir()
    Path("done").mkdir()
    Path("done/run.json").write_text("{}")
    before = sorted(here.rglob("*"))
    assert run(*line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("dnl.solve: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(here.rglob("*")) == before
