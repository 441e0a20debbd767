"""A new member is one file and one registration; tests of every member are run on it too."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from dnl import solve
from dnl.equilibria import MEMBERS, Member, find_equilibria, register
from dnl.equilibria.member import default_members
from dnl.equilibria.search import Proposals, Search
from dnl.runtime import cli
from dnl.surrogates.registry import SURROGATES
from games import PersuasionGame, prosecutor_game, synthetic_game
from tests.cases.finding import contested, searching, tensors


def shouting(search: Search) -> Proposals:
    """Everybody names the state, in as many words as there are signals."""
    game = search.game
    labels = torch.arange(game.n_states) % game.n_signals
    policies = torch.nn.functional.one_hot(labels, game.n_signals).double()
    yield None
    yield policies.repeat(game.n_senders, 1, 1)


@pytest.fixture
def shouter() -> Iterator[Member]:
    member = Member(name="shouter", propose=shouting, may_be_global=True)
    register(member)
    yield member
    del MEMBERS._entries["shouter"]


def test_a_registered_member_is_found_by_name(shouter: Member, tmp_path: Path) -> None:
    assert MEMBERS["shouter"] is shouter
    assert "shouter" in default_members()
    game = contested((2, 2, 2, 2), 0)
    (found,) = find_equilibria(game, time_limit=20.0, members=["shouter"])
    assert (found.source, found.status, found.is_global) == ("shouter", "complete", True)
    game.save(tmp_path / "game.json")
    options = ["--members", "shouter", "--quiet", "--time-limit", "20"]
    tokens = [str(tmp_path / "game.json"), *options, "--out", str(tmp_path / "out")]
    assert cli.run(solve.main, "dnl.solve", tokens) == 0
    assert dnl.Equilibrium.load(tmp_path / "out" / "equilibria" / "1.json").source == "shouter"


def propositions(name: str, game: PersuasionGame) -> list[Tensor]:
    return tensors(MEMBERS[name].propose(searching(game)))[:20]


@pytest.mark.usefixtures("few_starts")
def test_what_every_member_proposes_is_a_profile_and_comes_again(shouter: Member) -> None:
    for name in default_members():
        for game in (contested((2, 2, 3, 2), 1), synthetic_game(1, 2, 2, 2, seed=0)):
            proposed = propositions(name, game)
            for policies in proposed:
                game.check_policies(policies / policies.sum(-1, keepdim=True))
                assert policies.ndim == 3
            again = propositions(name, game)
            assert len(again) == len(proposed), name
            assert all(map(torch.equal, proposed, again)), name


def test_early_members_run_first_and_promised_ones_are_returned() -> None:
    seen: list[str] = []

    def named(name: str) -> Any:
        def propose(search: Search) -> Proposals:
            seen.append(name)
            yield from MEMBERS["no-information"].propose(search)

        return propose

    game = prosecutor_game()  # silence is worth 0 and the optimum 0.6
    early = Member(name="early", propose=named("early"), early=True, is_promised=True)
    late = Member(name="late", propose=named("late"))
    for member in (late, early):
        register(member)
    try:
        find_equilibria(game, time_limit=20.0, members=["late", "early"])
        found = find_equilibria(game, time_limit=20.0, members=["one-speaker", "early", "late"])
    finally:
        del MEMBERS._entries["early"], MEMBERS._entries["late"]
    assert seen == ["early", "late", "early"]  # at last there was nothing better to find
    assert "early" in {one.source for one in found}


def test_every_surrogate_has_a_member_that_runs_only_when_named() -> None:
    named = [name for name in MEMBERS if name.startswith("surrogate-")]
    assert named == [f"surrogate-{name}" for name in SURROGATES]
    assert not set(named) & set(default_members())
    assert len(MEMBERS) == len(list(MEMBERS))
    with pytest.raises(KeyError):
        MEMBERS["surrogate-none"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "x"}, "propose must be callable, got None"),
        ({"propose": shouting}, "name must be a string that is not empty, got None"),
        ({"name": "", "propose": shouting}, "name must be a string that is not empty, got ''"),
        ({"name": "x", "propose": 3}, "propose must be callable, got 3"),
        ({"name": "x", "propose": shouting, "early": 1}, "early must be a bool"),
        ({"name": "x", "propose": shouting, "is_default": None}, "is_default must be a bool"),
        ({"name": "blocks", "propose": shouting}, "name 'blocks' is taken"),
        ({"name": "surrogate-relu", "propose": shouting}, "name must not begin with 'surrogate-'"),
    ],
)
def test_bad_members_are_refused(fields: dict[str, Any], message: str) -> None:
    before = list(MEMBERS)
    with pytest.raises(ValueError, match=message):
        register(Member(**fields))
    assert list(MEMBERS) == before


def test_only_members_are_registered() -> None:
    with pytest.raises(ValueError, match="entry must be a Member"):
        register(shouting)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name 'blocks' is taken"):
        register(replace(MEMBERS["blocks"]))


@pytest.mark.parametrize(
    ("propose", "message"),
    [
        (lambda search: None, "propose of member 'bad' must return a generator, got None"),
        (
            lambda search: iter(["x"]),
            r"member 'bad' must propose profiles .* = \(1, 2, 2\), got 'x'",
        ),
        (lambda search: iter([torch.ones(2, 2)]), "member 'bad' must propose profiles"),
        (lambda search: iter([torch.full((1, 2, 2), torch.nan)]), "member 'bad' must propose"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_what_is_no_proposal_is_refused_by_the_member_s_name(
    propose: Any, message: str, early: bool
) -> None:
    register(Member(name="bad", propose=propose, early=early))
    try:
        with pytest.raises(ValueError, match=message):
            find_equilibria(prosecutor_game(), time_limit=5.0, members=["bad"])
    finally:
        del MEMBERS._entries["bad"]
