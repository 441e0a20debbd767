"""The contract of every registered game family."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from games import FOLLOWER_REGISTRY, REGISTRY, Family, PersuasionGame, random_matrix_game
from games.registration import Registry
from tests.references import simulation as reference

NAMES = sorted(REGISTRY)
KNOWN = [(name, i) for name in NAMES for i in range(len(REGISTRY[name].known))]
LOOPS_LIMIT = 200_000  # K * S * A


@cache
def game_and_profiles(name: str) -> tuple[PersuasionGame, Tensor]:
    """The family's first instance and random profiles `(B, N, S, M)`; not to be edited."""
    game = REGISTRY[name].make(0)
    return game, game.sample_policies(8, torch.Generator().manual_seed(1))


def loop_arguments(game: PersuasionGame) -> tuple[Tensor, Tensor, Tensor]:
    return game.prior, game.receiver_utility, game.sender_utility


def small(name: str) -> bool:
    n, m, s, a = game_and_profiles(name)[0].shape
    size: int = m**n * s * a
    return size <= LOOPS_LIMIT


def scale(game: PersuasionGame) -> float:
    return max(game.sender_utility.abs().max().item(), 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_instances(name: str) -> None:
    family = REGISTRY[name]
    games = family.instances()
    assert family.name == name
    assert len(games) == family.n_instances == len(set(games))
    assert len({(game.shape, game.tie_break) for game in games}) == 1  # so that they can be stacked
    assert family.instances(1) == games[:1]
    before = torch.get_rng_state()
    assert [family.make(seed) for seed in range(len(games))] == games
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_games_are_valid(name: str) -> None:
    game, _ = game_and_profiles(name)
    n, m, s, a = game.shape
    assert min(n, m, s, a) >= 1
    assert game.prior.shape == (s,)
    assert game.receiver_utility.shape == (s, a)
    assert game.sender_utility.shape == (n, s, a)
    assert (game.prior >= 0).all()
    assert game.prior.sum().item() == pytest.approx(1.0, abs=1e-12)
    for table in (game.prior, game.receiver_utility, game.sender_utility):
        assert table.dtype == torch.float64
        assert table.isfinite().all()
    assert game.payoff_range.shape == (n,)


@pytest.mark.parametrize(("name", "index"), KNOWN)
def test_known_answers(name: str, index: int) -> None:
    policies, utilities = REGISTRY[name].known[index]
    game, _ = game_and_profiles(name)
    got = game.ex_ante_utility(policies)
    torch.testing.assert_close(got, utilities, rtol=0, atol=1e-12)
    loops = reference.sender_utilities(*loop_arguments(game), policies, game.tie_break)
    torch.testing.assert_close(loops, utilities, rtol=0, atol=1e-12)


def test_known_answers_exist() -> None:
    assert {"prosecutor", "prosecutor-first", "didactic"} <= {name for name, _ in KNOWN}


@pytest.mark.parametrize("name", NAMES)
def test_random_profiles_and_their_utilities_are_in_range(name: str) -> None:
    game, policies = game_and_profiles(name)
    n, m, s, a = game.shape
    assert policies.shape == (8, n, s, m)
    assert (policies >= 0).all()
    torch.testing.assert_close(policies.sum(-1), torch.ones(8, n, s).double(), rtol=0, atol=1e-12)
    utilities, slack = game.ex_ante_utility(policies), 1e-12 * scale(game)
    assert utilities.shape == (8, n)
    assert (utilities >= game.sender_utility.amin((1, 2)) - slack).all()
    assert (utilities <= game.sender_utility.amax((1, 2)) + slack).all()
    actions = game.receiver_action(policies)
    assert actions.shape == (8, m**n)
    assert actions.min() >= 0
    assert actions.max() < a


@pytest.mark.parametrize("name", [name for name in NAMES if small(name)])
def test_simulation_equals_plain_loops(name: str) -> None:
    game, policies = game_and_profiles(name)
    for pi in policies[:2]:
        args = (*loop_arguments(game), pi, game.tie_break)
        expected = reference.sender_utilities(*args)
        got = game.ex_ante_utility(pi)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12 * scale(game))
        assert game.receiver_action(pi).tolist() == reference.receiver_actions(*args)


@pytest.mark.parametrize("name", NAMES)
def test_no_information_is_a_silent_profile(name: str) -> None:
    game, policies = game_and_profiles(name)
    silent = torch.zeros_like(policies[0])
    silent[..., -1] = 1.0
    babbling = torch.full_like(silent, 1 / game.n_signals)
    expected = reference.no_information(*loop_arguments(game), game.tie_break)
    for got in (game.no_information(), *map(game.ex_ante_utility, (silent, babbling))):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12 * scale(game))


@pytest.mark.parametrize("name", NAMES)
def test_storage_is_exact(name: str, tmp_path: Path) -> None:
    for game in REGISTRY[name].instances(min(REGISTRY[name].n_instances, 3)):
        game.save(tmp_path / "game.json")
        loaded = PersuasionGame.load(tmp_path / "game.json")
        assert loaded == game
        assert (loaded.identity, hash(loaded)) == (game.identity, hash(game))


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_close_to_float64(name: str) -> None:
    game, policies = game_and_profiles(name)
    clear = [reference.margin(*loop_arguments(game)[:2], pi) > 2e-5 for pi in policies]
    policies = policies[torch.tensor(clear)]  # no action hangs on rounding
    assert len(policies) > 0
    single = game.to(dtype=torch.float32)
    got = single.ex_ante_utility(policies.float())
    assert got.dtype == torch.float32
    expected = game.ex_ante_utility(policies)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-5 * scale(game))
    assert torch.equal(single.receiver_action(policies.float()), game.receiver_action(policies))


@pytest.mark.parametrize("name", FOLLOWER_REGISTRY)
def test_instances_of_other_games(name: str) -> None:
    """The rest of their contract is in `test_follower_games.py`, which has every family, too."""
    family = FOLLOWER_REGISTRY[name]
    games = family.instances()
    assert family.name == name
    assert len(games) == family.n_instances == len(set(games))
    assert len({game.shape for game in games}) == 1
    assert [family.make(seed) for seed in range(len(games))] == games


# ---------------------------------------------------------------------------------- registration


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry[Family[PersuasionGame]]:
    """The registry of games; whatever a test adds is gone afterwards."""
    monkeypatch.setattr(REGISTRY, "_entries", dict(REGISTRY))
    return REGISTRY


def test_a_family_from_outside_meets_the_contract(
    registry: Registry[Family[PersuasionGame]], tmp_path: Path
) -> None:
    registry.register(Family("mine", partial(random_matrix_game, 2, 3), 2))
    assert list(registry)[-1] == "mine"
    test_instances("mine")
    test_games_are_valid("mine")
    test_random_profiles_and_their_utilities_are_in_range("mine")
    test_simulation_equals_plain_loops("mine")
    test_no_information_is_a_silent_profile("mine")
    test_storage_is_exact("mine", tmp_path)
    test_float32_is_close_to_float64("mine")


MAKE = REGISTRY["didactic"].make


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"make": MAKE, "n_instances": 1}, "name must be a string that is not empty, got None"),
        ({"name": "mine", "n_instances": 1}, "make must be callable, got None"),
        ({"name": "mine", "make": MAKE}, "n_instances must be an integer of at least 1, got None"),
        ({"name": "mine", "make": MAKE, "n_instances": 1, "known": 3}, "known must be a tuple"),
        ({"name": "mine", "make": MAKE, "n_instances": 1, "known": [()]}, "known must hold pairs"),
        ({"name": "didactic", "make": MAKE, "n_instances": 1}, "name 'didactic' is taken, by Fam"),
    ],
)
def test_bad_families_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        REGISTRY.register(Family(**fields))
    assert "mine" not in REGISTRY


def test_registry_cannot_be_edited() -> None:
    registry: Any = REGISTRY
    with pytest.raises(TypeError):
        registry["mine"] = Family("mine", MAKE, 1)
    with pytest.raises(ValueError, match="entry must be a Family, got 'mine'"):
        registry.register("mine")
    with pytest.raises(ValueError, match="count must be an integer of at least 1, got 0"):
        REGISTRY["didactic"].instances(0)


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    with pytest.raises(
        KeyError, match=r"'prosecuter' is not registered: did you mean 'prosecutor'"
    ):
        REGISTRY["prosecuter"]
    assert "prosecuter" not in REGISTRY
    assert REGISTRY.get("prosecuter") is None
