"""Whatever a caller or a file gives in place of a game, the answer is a ValueError."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from games import PersuasionGame

GOOD: dict[str, Any] = {
    "prior": [0.25, 0.75],
    "receiver_utility": [[1.0, 0.0], [0.0, 1.0]],
    "sender_utility": [[[0.0, 1.0], [0.0, 1.0]]],
    "n_signals": 2,
    "tie_break": "first",
    "sender_names": ["Ann"],
}


def nested(depth: int) -> Any:
    value: Any = [1.0]
    for _ in range(depth):
        value = [value]
    return value


# What JSON can hold and no argument of a game may be.
WRONG: list[Any] = [
    None,
    "",
    "0.5",
    ["0.5", "0.5"],
    {},
    {"a": [1]},
    [],
    [[]],
    [[[]]],
    [None, None],
    [[1.0], [1.0, 2.0]],
    [{}, []],
    float("nan"),
    float("inf"),
    [float("nan"), 1.0],
    -1,
    0,
    10**400,
    [10**400, 1],
    1e308,
    nested(60),
    nested(70),
    nested(500),
    [[[[1.0]]]],
    [True, "yes"],
]
OTHERS: list[Any] = [  # what only a program can give
    object(),
    object,
    len,
    b"0.5",
    bytearray(b"ab"),
    {0.5},
    1j,
    np.array("x"),
    np.array([1j, 0]),
    np.array([None, 1.0]),
    np.zeros((2, 0)),
    np.array(["2020-01-01"], dtype="M8[D]"),
    np.zeros(2, dtype=[("a", float)]),
    torch.tensor([1j, 0]),
    torch.zeros(2, 0),
    torch.tensor(float("nan")),
    torch.empty(2, device="meta"),
    torch.eye(2).to_sparse(),
    nested(100_000),
    (x for x in (0.25, 0.75)),
    np.datetime64("2020"),
]


@pytest.mark.parametrize("name", GOOD)
def test_malformed_arguments_are_value_errors_that_name_the_argument(name: str) -> None:
    for wrong in (*WRONG, *OTHERS):
        if name == "sender_names" and wrong is None:
            continue  # no names
        with pytest.raises(ValueError, match=name) as error:
            PersuasionGame(**(GOOD | {name: wrong}))
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", GOOD)
def test_malformed_values_in_files_are_value_errors_that_name_file_and_key(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "game.json"
    for wrong in WRONG:
        if name == "sender_names" and wrong is None:
            continue
        path.write_text(json.dumps(GOOD | {name: wrong}))
        with pytest.raises(ValueError, match=rf"game\.json.*{name}"):
            PersuasionGame.load(path)


def cut(text: str, generator: np.random.Generator) -> str:
    return text[: generator.integers(len(text))]


def doubled(text: str, generator: np.random.Generator) -> str:
    at = generator.integers(len(text))
    return text[:at] + text[at] * 2 + text[at:]


def replaced(text: str, generator: np.random.Generator) -> str:
    at, new = generator.integers(len(text)), '{}[]",:0-e.x\\\x00é\ud800'[generator.integers(16)]
    return text[:at] + new + text[at + 1 :]


@pytest.mark.parametrize("spoil", [cut, doubled, replaced])
def test_spoilt_files_are_games_or_value_errors(
    spoil: Callable[[str, np.random.Generator], str], tmp_path: Path
) -> None:
    generator, path, text = np.random.default_rng(0), tmp_path / "game.json", json.dumps(GOOD)
    answers = []
    for _ in range(150):
        path.write_bytes(spoil(text, generator).encode("utf-8", "surrogatepass"))
        try:
            PersuasionGame.load(path)
        except ValueError as error:
            answers.append(str(error))
    assert len(answers) > 75
    assert all("game.json" in answer for answer in answers)


def test_what_is_no_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        PersuasionGame.load(tmp_path)
