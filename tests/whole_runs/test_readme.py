"""The README is true: its Python prints what it shows, its commands parse, its targets exist."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclopts import App

from dnl import bench, plot, solve
from games import PersuasionGame, prosecutor_game
from tests.cases.examples import Example, alike, examples

README = (Path(__file__).parents[2] / "README.md").read_text()
MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text()
COMMANDS: dict[str, Callable[..., int]] = {
    "dnl.bench": bench.main,
    "dnl.plot": plot.main,
    "dnl.solve": solve.main,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.whole_run
@pytest.mark.parametrize("example", examples(README), ids=lambda example: example.code[:40])
def test_python_of_the_readme_prints_what_it_shows(example: Example) -> None:
    assert example.output is not None
    printed = example.printed()
    assert alike(example.output, printed), printed


def test_every_python_block_is_an_example_with_its_output() -> None:
    found = examples(README)
    assert len(found) == len(blocks("python")) > 4
    assert all(example.output for example in found)


def test_json_of_the_readme_is_a_game(tmp_path: Path) -> None:
    (text,) = blocks("json")
    (tmp_path / "game.json").write_text(text)
    game = PersuasionGame.load(tmp_path / "game.json")
    assert game == prosecutor_game()
    assert game.labels == prosecutor_game().labels


def test_commands_of_the_readme_parse() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    assert ["make", "bench"] in commands
    assert ["make", "test"] in commands
    for command in commands:
        if command[0] == "make":
            assert re.search(rf"^{command[1]}:", MAKEFILE, flags=re.MULTILINE), command
            continue
        assert command[:2] == ["python", "-m"], command
        if "--help" in command:
            continue
        module, arguments = command[2], command[3:]
        if module in COMMANDS:
            app = App()
            app.default(COMMANDS[module])
            app.parse_args(arguments, exit_on_error=False, print_error=False)
        else:  # an experiment
            assert (Path(__file__).parents[2] / (module.replace(".", "/") + ".py")).exists()


def test_make_bench_runs_the_main_job() -> None:
    assert "-m dnl.bench --senders 2 4\n" in MAKEFILE
