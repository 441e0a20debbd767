"""What the documentation shows works, and says what is true."""

import re
from pathlib import Path

import pytest
from cyclopts import App

from dnl import bench
from tests.cases.examples import Example, alike, examples

ROOT = Path(__file__).parents[2]
MACHINES = (ROOT / "docs/many_machines.md").read_text()
PAGE = (ROOT / "docs/use_the_layers.md").read_text()
GAME, LAYER = examples(PAGE)


@pytest.mark.whole_run
def test_a_game_of_one_s_own() -> None:
    output = printed_as_shown(GAME)
    assert len(GAME.code.strip().splitlines()) < 40
    (reached,) = re.findall(r"computed .* predicted, (\S+) true", output)
    (sampled,) = re.findall(r"best of 100,000: (\S+)", output)
    assert float(reached) > 0.95 * float(sampled)


@pytest.mark.whole_run
def test_the_layer_in_plain_pytorch() -> None:
    (unexplained,) = re.findall(r"unexplained: (\S+)", printed_as_shown(LAYER))
    assert float(unexplained) < 0.1


def printed_as_shown(example: Example) -> str:
    """What an example prints, which is what the page shows."""
    assert example.output is not None
    printed = example.printed()
    assert alike(example.output, printed), printed
    return printed


def test_the_readme_leads_there() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "(docs/use_the_layers.md)" in readme
    assert "(docs/many_machines.md)" in readme


def test_commands_for_many_machines_parse() -> None:
    commands = re.findall(r"^python -m dnl\.bench (.*)$", MACHINES, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        app = App()
        app.default(bench.main)
        app.parse_args(command.split(), exit_on_error=False, print_error=False)


def test_the_script_for_slurm_is_python() -> None:
    (script,) = re.findall(r"```python\n(.*?)```", MACHINES, flags=re.DOTALL)
    compile(script, "workers.py", "exec")
