"""Names of states, actions, senders and signals: kept everywhere, and no part of the game."""

import dataclasses
import json
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from games import REGISTRY, PersuasionGame, prosecutor_game
from games.persuasion.labels import NAMES, Labels

TABLES: dict[str, Any] = {
    "prior": [0.25, 0.75],
    "receiver_utility": [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]],
    "sender_utility": [[[0.0, 1.0, 3.0], [0.0, -1.0, 0.0]], [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]],
    "n_signals": 2,
}
GIVEN: dict[str, Any] = {
    "state_names": ("boom", "bust"),
    "action_names": ("invest", "wait", "sell"),
    "sender_names": ("Ann", "Bob"),
    "signal_names": ("up", "down"),
}
PLAIN, NAMED = PersuasionGame(**TABLES), PersuasionGame(**TABLES, **GIVEN)


def given(game: PersuasionGame) -> dict[str, Any]:
    return {name: getattr(game, name) for name in NAMES}


def test_labels_are_the_names_or_numbers() -> None:
    assert NAMED.labels == Labels(*GIVEN.values())
    assert PLAIN.labels.states == ("state 0", "state 1")
    assert PLAIN.labels.actions == ("action 0", "action 1", "action 2")
    assert PLAIN.labels.senders == ("sender 0", "sender 1")
    assert PLAIN.labels.signals == ("signal 0", "signal 1")
    some = PersuasionGame(**TABLES, sender_names=["Ann", "Bob"])
    assert (some.sender_names, some.state_names) == (("Ann", "Bob"), None)
    assert (some.labels.senders, some.labels.states) == (("Ann", "Bob"), ("state 0", "state 1"))


def test_names_change_neither_identity_nor_numbers() -> None:
    assert PLAIN == NAMED
    assert hash(PLAIN) == hash(NAMED)
    assert PLAIN.identity == NAMED.identity == "9172b48ab5d8"  # as before there were names
    policies = PLAIN.sample_policies(3, torch.Generator().manual_seed(0))
    assert torch.equal(PLAIN.ex_ante_utility(policies), NAMED.ex_ante_utility(policies))


@pytest.mark.parametrize("names", [GIVEN, {}, {"sender_names": ("Ann", "Bob")}])
def test_names_are_saved_and_loaded(names: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "game.json"
    game = PersuasionGame(**TABLES, **names)
    game.save(path)
    written = json.loads(path.read_text())
    assert set(written) == {*TABLES, "tie_break", *names}
    loaded = PersuasionGame.load(path)
    assert given(loaded) == given(game) == dict.fromkeys(NAMES) | names
    assert written == game.arguments()
    assert given(PersuasionGame(**game.arguments())) == given(game)  # type: ignore[arg-type]


def test_names_are_kept_by_whatever_copies_a_game() -> None:
    single = NAMED.to(dtype=torch.float32)
    assert single.prior.dtype == torch.float32
    copies = (
        single,
        NAMED.to("cpu"),
        dataclasses.replace(NAMED, tie_break="senders"),
        pickle.loads(pickle.dumps(NAMED)),
        deepcopy(NAMED),
        NAMED.stacked().games[0],
    )
    assert [given(game) for game in copies] == [GIVEN] * len(copies)
    assert NAMED.no_information().tolist() == PLAIN.no_information().tolist()  # of one signal


def test_names_that_no_longer_fit_are_refused_or_dropped() -> None:
    with pytest.raises(ValueError, match="signal_names must be None or 3 different names, got 2: "):
        dataclasses.replace(NAMED, n_signals=3)
    wider = dataclasses.replace(NAMED, n_signals=3, signal_names=None)
    assert given(wider) == GIVEN | {"signal_names": None}


def test_names_may_come_in_arrays() -> None:
    arrays: tuple[Any, ...] = (
        np.array(["Ann", "Bob"]),
        pd.Index(["Ann", "Bob"]),
        pd.Series(["Ann", "Bob"]),
        [np.str_("Ann"), "Bob"],
    )
    for names in arrays:
        kept = PersuasionGame(**TABLES, sender_names=names).labels.senders
        assert kept == ("Ann", "Bob")
        assert type(kept[0]) is str


@pytest.mark.parametrize("argument", NAMES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names[1:], ", got [12]: "),
        (lambda names: (*names, "one more"), ", got [34]: "),
        (lambda names: (names[0], *names[:-1]), ", got '.*' twice in "),
        (lambda names: ("", *names[1:]), "each printable and not blank, got ''"),
        (lambda names: (" \t", *names[1:]), r"each printable and not blank, got ' \\t'"),
        (lambda names: ("a\nb", *names[1:]), r"each printable and not blank, got 'a\\nb'"),
        (lambda names: ("\ud800", *names[1:]), "each printable and not blank, got "),
        (lambda names: (3, *names[1:]), "each a string, got 3 in "),
        (lambda names: (b"a", *names[1:]), "each a string, got b'a' in "),
        (lambda names: "abc"[: len(names)], "in a list or tuple, got 'abc?'"),
        (dict.fromkeys, "in a list or tuple, got {"),
        (lambda names: 3, "in a list or tuple, got 3"),
        (lambda names: np.zeros(len(names)), "each a string, got 0.0 in "),
        (lambda names: np.array("abc"), r"in a list or tuple, got array\('abc'"),
    ],
)
def test_bad_names_are_refused(argument: str, change: Any, message: str) -> None:
    bad = change(GIVEN[argument])
    with pytest.raises(
        ValueError, match=f"^{argument} must be None or [23] different names.*{message}"
    ):
        PersuasionGame(**TABLES, **{argument: bad})


def test_a_sender_is_an_index_or_a_name() -> None:
    indices: list[Any] = [1, np.int64(1), np.uint8(1), "Bob", np.str_("Bob")]
    assert [NAMED.sender_index(sender) for sender in indices] == [1] * len(indices)
    assert type(NAMED.sender_index(indices[1])) is int
    policies = NAMED.sample_policies(1, torch.Generator().manual_seed(0))[0]
    tried = policies[:, :1].new_tensor([[[1.0, 0.0], [0.0, 1.0]]])
    for method in (NAMED.deviation_utility, NAMED.deviation_gain):
        expected = method(policies, 1, tried)
        assert all(torch.equal(method(policies, sender, tried), expected) for sender in indices)


@pytest.mark.parametrize("sender", [-1, 2, True, 0.0, None, "Eve", [0], np.bool_(True), 10**400])
def test_other_senders_are_refused(sender: Any) -> None:
    message = r"^sender must be an index in 0\.\.1 or one of 'Ann', 'Bob', got "
    with pytest.raises(ValueError, match=message):
        NAMED.sender_index(sender)
    with pytest.raises(ValueError, match=r"^sender must be an index in 0\.\.1, got "):
        PLAIN.sender_index(sender)


def test_a_misspelt_sender_is_recognised() -> None:
    with pytest.raises(ValueError, match="got 'Bobb': did you mean 'Bob'"):
        NAMED.sender_index("Bobb")


def test_repr_shows_names_but_not_all_of_many() -> None:
    assert "sender_names=('Ann', 'Bob')" in repr(NAMED)
    assert "state_names=('boom', 'bust')" in repr(NAMED)
    assert "names" not in repr(PLAIN)
    many = PersuasionGame(
        [1 / 64] * 64, [[0.0]] * 64, [[[0.0]] * 64], 1, state_names=[*map(str, range(64))]
    )
    assert "state_names=('0', '1', '2', ...)" in repr(many)


def test_named_families_have_names() -> None:
    game = prosecutor_game()
    assert game.labels.states == ("innocent", "guilty")
    assert game.labels.actions == ("acquit", "convict")
    assert game.labels.senders == ("prosecutor",)
    quality = REGISTRY["advertising-quality"].make(0)
    assert quality.labels.states[1] == "low low low low low low high"
    assert quality.labels.actions[-2:] == ("buy from firm 6", "buy nothing")
    products = REGISTRY["advertising-products"].make(0)
    assert products.labels.senders == ("firm 0", "firm 1")
    ride = REGISTRY["ride-hailing"].make(0)
    assert ride.labels.actions[3:5] == ("platform 0, order 3", "platform 1, order 0")
    assert ride.labels.senders == ("platform 0", "platform 1")
    assert REGISTRY["synthetic-paper-2x2x2x2"].make(0).state_names is None
