"""Games as values: construction, malformed input, equality, storage."""

import dataclasses
import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from games import PersuasionGame, didactic_game, stack
from tests.games.persuasion.test_persuasion import METHODS, SIZES, Sizes, random_case, tables

GOOD: dict[str, Any] = {
    "prior": [0.25, 0.75],
    "receiver_utility": [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]],
    "sender_utility": [[[0.0, 1.0, 3.0], [0.0, -1.0, 0.0]]],
    "n_signals": 2,
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prior": [1.5, -0.5]}, "prior must not be negative"),
        ({"prior": [math.nan, 1.0]}, "prior must be finite"),
        ({"prior": [0.25, 0.75 + 2e-6]}, "prior must sum to 1"),
        ({"prior": [0.25, 0.75 - 2e-6]}, "prior must sum to 1"),
        ({"prior": [[0.25, 0.75]]}, r"prior must have shape \(S,\)"),
        ({"prior": []}, r"prior must have shape \(S,\)"),
        ({"prior": "often"}, "prior must be an array of numbers"),
        ({"prior": "0.25"}, "prior must be an array of numbers, got '0.25'"),
        ({"prior": ["0.25", "0.75"]}, r"prior must be an array of numbers, got \['0.25', '0.75'\]"),
        ({"prior": [0.25, b"1"]}, "prior must be an array of numbers"),
        ({"prior": np.array(["0.25", "0.75"])}, "prior must be an array of numbers"),
        ({"prior": np.array([0.25, "0.75"], dtype=object)}, "prior must be an array of numbers"),
        ({"prior": [np.datetime64("2020"), 1]}, "prior must be an array of numbers"),
        (
            {"prior": np.ma.array([0.25, 0.75], mask=[False, True])},
            "prior must be an array of numbers",
        ),
        ({"prior": [torch.tensor(0.25, requires_grad=True), 0.75]}, "prior must be an array of n"),
        (
            {"prior": [0.2, 0.3, 0.5]},
            "^prior must have as many states as the other tables, got 3 in prior, "
            "2 in receiver_utility, 2 in sender_utility$",
        ),
        ({"receiver_utility": [[0.0, 1, 2]]}, "^receiver_utility must have as many states as"),
        ({"sender_utility": [[[0.0, 1, 2]]]}, "^sender_utility must have as many states as"),
        (
            {"prior": [0.2, 0.3, 0.5], "sender_utility": [[[0.0, 1, 2]]]},
            "^prior, receiver_utility, sender_utility must have equally many states, got 3 in pri",
        ),
        ({"receiver_utility": [1.0, 0.0]}, r"receiver_utility must have shape \(S, A\)"),
        ({"receiver_utility": [[], []]}, r"receiver_utility must have shape \(S, A\)"),
        ({"receiver_utility": [[1.0, 0.0], [1.0]]}, "receiver_utility must be an array of num"),
        ({"receiver_utility": [[math.inf, 0, 0], [0, 1, 0]]}, "receiver_utility must be finite"),
        ({"sender_utility": [[0.0, 1.0, 3.0]] * 2}, r"sender_utility must have shape \(N, S, A\)"),
        ({"sender_utility": [[[0.0, 1.0]] * 2]}, r"= \(N >= 1, 2, 3\), got \(1, 2, 2\)"),
        ({"sender_utility": np.zeros((0, 2, 3))}, r"sender_utility must .* got \(0, 2, 3\)"),
        ({"sender_utility": [[[math.nan] * 3] * 2]}, "sender_utility must be finite"),
        *(({"n_signals": bad}, "n_signals must be an integer") for bad in (0, -1, 2.0, True, "2")),
        ({"tie_break": "last"}, "tie_break must be one of 'first', 'senders', got 'last'"),
        ({"tie_break": None}, "tie_break must be one of"),
        ({"tie_break": "sender"}, "got 'sender': did you mean 'senders'"),
        ({"tie_break": np.zeros(2)}, "tie_break must be one of"),
    ],
)
def test_malformed_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PersuasionGame(**(GOOD | wrong))


HALF = torch.full((4, 2, 2, 2), 0.5, dtype=torch.float64)


def spoilt(index: tuple[int, ...], row: list[float]) -> Tensor:
    policies = HALF.clone()
    policies[index] = torch.tensor(row, dtype=torch.float64)
    return policies


@pytest.mark.parametrize("method", [*METHODS, "deviation_utility"])
@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (spoilt((1, 0, 1), [1.5, -0.5]), r"policies must hold dist.* row \(1, 0, 1\)"),
        (spoilt((3, 1, 0), [math.nan, 1.0]), r"policies must hold dist.* row \(3, 1, 0\)"),
        (spoilt((0, 0, 0), [0.5, 0.5 + 2e-6]), r"policies must hold dist.* row \(0, 0, 0\)"),
        (HALF[:, :1], r"policies must .* \(B, N, S, M\) = \(B, 2, 2, 2\), got \(4, 1, 2, 2\)"),
        (HALF[0, 0], r"policies must have shape \(B, N, S, M\)"),
        (HALF.expand(1, -1, -1, -1, -1), r"policies must have shape \(B, N, S, M\)"),
        (HALF.half(), "policies must be float32 or float64, got torch.float16"),
        (spoilt((0, 0), [1, 0]).long(), "policies must be float32 or float64, got torch.int64"),
        (HALF[:, :1].tolist(), r"policies must .* \(B, 2, 2, 2\), got \(4, 1, 2, 2\)"),
        ([["1", "0"]], r"policies must be an array of numbers, got \[\['1', '0'\]\]"),
        (None, "policies must be an array of numbers, got None"),
    ],
)
def test_malformed_policies_are_refused(method: str, policies: Any, message: str) -> None:
    rest = (0, HALF) if method == "deviation_utility" else ()
    with pytest.raises(ValueError, match=message):
        getattr(didactic_game(), method)(policies, *rest)


@pytest.mark.parametrize(
    ("sender", "deviations", "message"),
    [
        *((sender, HALF, r"sender must .*0\.\.1") for sender in (-1, 2, 0.5, True)),
        (0, HALF[:3], r"deviations must have shape \(B, D, S, M\)"),
        (0, HALF[0], r"deviations must have shape \(B, D, S, M\)"),
        (0, HALF[..., :1], r"deviations must have shape \(B, D, S, M\)"),
        (0, spoilt((0, 1, 0), [0.4, 0.5]), r"deviations must hold dist.* row \(0, 1, 0\)"),
        (0, HALF.float(), "deviations must have the dtype of policies, torch.float64"),
        (0, "none", "deviations must be an array of numbers, got 'none'"),
    ],
)
def test_malformed_deviations_are_refused(sender: Any, deviations: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        didactic_game().deviation_utility(HALF, sender, deviations)


def test_malformed_stacks_are_refused() -> None:
    game, other = random_case((2, 2, 2, 2))[0], random_case((2, 2, 2, 3))[0]
    for games in ([], [game, other], [game, dataclasses.replace(game, tie_break="senders")]):
        with pytest.raises(ValueError, match="games must"):
            stack(games)
    with pytest.raises(ValueError, match=r"policies must have shape \(G, B, N, S, M\)"):
        stack([game]).ex_ante_utility(HALF)
    with pytest.raises(ValueError, match="policies must hold distributions"):
        stack([game]).ex_ante_utility(2 * HALF.unsqueeze(0))


def test_prior_within_a_millionth_is_normalised() -> None:
    game = PersuasionGame(**(GOOD | {"prior": [0.25, 0.75 + 5e-7]}))
    assert game.prior.sum().item() == pytest.approx(1.0, abs=1e-15)
    assert game.prior[0].item() == pytest.approx(0.25 / (1 + 5e-7), abs=1e-15)


def test_sizes_and_payoff_range() -> None:
    game = PersuasionGame(**GOOD)
    assert (game.n_senders, game.n_signals, game.n_states, game.n_actions) == (1, 2, 2, 3)
    assert game.shape == (1, 2, 2, 3)
    assert game.tie_break == "first"
    assert game.payoff_range.tolist() == [1.5]  # 0.25 * 3 + 0.75 * 1
    assert "n_states=2" in repr(game)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_games_are_values(make: Any) -> None:
    arrays = {name: make(value) for name, value in GOOD.items() if name != "n_signals"}
    game, same = PersuasionGame(**arrays, n_signals=2), PersuasionGame(**arrays, n_signals=2)
    for array in arrays.values():
        array[...] = 9.0
    assert game == same
    assert game.prior.tolist() == [0.25, 0.75]
    for name in ("prior", "n_signals", "tie_break"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(game, name, getattr(game, name))


def copy_of(game: PersuasionGame) -> PersuasionGame:
    """What another process receives."""
    copy: PersuasionGame = pickle.loads(pickle.dumps(game))
    return copy


CHANGES: list[dict[str, Any]] = [
    {"prior": [0.5, 0.5]},
    {"receiver_utility": [[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]]},
    {"sender_utility": [[[0.0, 1.0, 3.0], [0.0, -1.0, 1e-9]]]},
    {"sender_utility": GOOD["sender_utility"] * 2},
    {"n_signals": 3},
    {"tie_break": "senders"},
]


def test_equal_arguments_make_equal_games() -> None:
    game, same = PersuasionGame(**GOOD), PersuasionGame(**GOOD)
    assert game == same
    assert game.identity == same.identity
    assert re.fullmatch("[0-9a-f]{12}", game.identity)
    others = [PersuasionGame(**(GOOD | change)) for change in CHANGES]
    assert all(game != other for other in others)
    assert len({game, same, *others}) == 1 + len(others)
    assert len({g.identity for g in (game, *others)}) == 1 + len(others)
    assert game != GOOD
    signed = PersuasionGame(**(GOOD | {"receiver_utility": [[1, -0.0, 0.5], [-0.0, 1, 0.5]]}))
    assert game != signed or hash(game) == hash(signed)


@pytest.mark.parametrize("sizes", SIZES)
def test_storage_is_exact(sizes: Sizes, tmp_path: Path) -> None:
    for seed in range(5):
        game, policies = random_case(sizes, "senders", seed=seed)
        game.save(tmp_path / "game.json")
        for copy in (PersuasionGame.load(str(tmp_path / "game.json")), copy_of(game)):
            assert copy == game
            assert (copy.identity, hash(copy)) == (game.identity, hash(game))
            assert torch.equal(copy.ex_ante_utility(policies), game.ex_ante_utility(policies))


def test_float32_games_load_in_double_precision(tmp_path: Path) -> None:
    game = random_case((2, 3, 6, 4))[0].to(dtype=torch.float32)
    game.save(tmp_path / "game.json")
    loaded = PersuasionGame.load(tmp_path / "game.json")
    # the numbers of the file are exact; a prior rounded to float32 is then normalised again
    assert torch.equal(loaded.receiver_utility, game.receiver_utility.double())
    assert torch.equal(loaded.sender_utility, game.sender_utility.double())
    torch.testing.assert_close(loaded.prior, game.prior.double(), rtol=1e-6, atol=0)
    assert loaded.prior.sum().item() == pytest.approx(1.0, abs=1e-15)


def test_file_keys_are_the_arguments_and_the_tie_rule_is_optional(tmp_path: Path) -> None:
    path = tmp_path / "game.json"
    path.write_text(json.dumps(GOOD))
    game = PersuasionGame.load(path)
    assert game == PersuasionGame(**GOOD)
    game.save(path)
    assert json.loads(path.read_text()) == GOOD | {"tie_break": "first"}


def changed(**values: str) -> str:
    """The file of `GOOD` with other values, which are JSON."""
    rest = {name: json.dumps(value) for name, value in GOOD.items()} | values
    return "{" + ", ".join(f'"{name}": {value}' for name, value in rest.items()) + "}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ('{"prior": [1.0', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (changed(prior=f"[{'9' * 400}, 1]"), "prior must be an array of numbers, got "),
        (changed(prior="9" * 5000), "is not JSON"),
        (changed(receiver_utility="[" * 500 + "]" * 500), "receiver_utility must "),
        (changed(n_signals="1e30"), "n_signals must be an integer of at least 1, got 1e"),
        (changed(n_signals="1" + "0" * 30), "n_signals must be below 2"),
        (changed(n_signals="9" * 4000), "n_signals must be below 2"),
        (changed(prior=str([0.5] * 10**5)), r"prior must sum to 1, got \[0.5, 0.5, .*\.\.\."),
        (changed(prior=f"[1e999{', 0' * 10**5}]"), r"prior must be finite, got \[inf, 0.0, "),
        (changed(tie_break=json.dumps("x" * 10**5)), "tie_break must be one of "),
        (json.dumps({str(i): 0 for i in range(10**5)}), "unknown key '0': the keys are 'prior', "),
        ("[1, 2]", "must hold the keys 'prior', 'receiver_utility', .* got list"),
        ('{"prior": [1.0], "n_signals": 2}', "missing key 'receiver_utility'$"),
        (json.dumps({n: v for n, v in GOOD.items() if n != "prior"}), "missing key 'prior'$"),
        (changed(prior="1").replace("prior", "piror"), "unknown key 'piror': did you mean 'prior'"),
        (json.dumps(GOOD | {"colour": 1}), "unknown key 'colour': the keys are 'prior', "),
        (json.dumps(GOOD | {"sender_name": 1}), "'sender_name': did you mean 'sender_names'"),
        (
            json.dumps(GOOD | {"sender_names": ["A", "B"]}),
            "sender_names must be None or 1 different ",
        ),
        (json.dumps(GOOD | {"n_signals": 0}), "n_signals must be an integer"),
        (json.dumps(GOOD | {"prior": None}), "prior must be"),
    ],
)
def test_malformed_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"broken\.json.*{message}") as error:
        PersuasionGame.load(path)
    assert len(str(error.value)) < 1000


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        PersuasionGame.load(tmp_path / "absent.json")


def test_to_changes_dtype_and_nothing_else() -> None:
    game, _ = random_case((2, 3, 4, 5), "senders")
    single = game.to("cpu", torch.float32)
    for got, expected in zip(tables(single), tables(game), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected.float(), rtol=3e-7, atol=0)
    assert (single.shape, single.tie_break) == (game.shape, "senders")
    assert game.to() == game
    assert game.to(dtype=torch.float64) == game
    with pytest.raises(ValueError, match=r"dtype must be .* got torch\.float16"):
        game.to(dtype=torch.float16)


@pytest.mark.parametrize("device", ["nonsense", "cuda:77", "meta", "", "cpu:x", 3.5, [1], "xpu"])
def test_devices_that_are_not_there_are_named(device: Any) -> None:
    with pytest.raises(ValueError, match=r"^device must ") as error:
        didactic_game().to(device)
    assert repr(device) in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none() -> None:
    for device in ("cuda", torch.device("cuda", 0)):
        with pytest.raises(
            ValueError, match="device must be a device of this machine, such as 'cpu'"
        ):
            didactic_game().to(device)
