"""Mistakes in calling fits, surrogates and searches: refused at once, by name, with what came."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dnl
from dnl import ExtragradientConfig, FitConfig, FittedSurrogate, best_response, extragradient
from dnl.gradients.own_gradient import own_gradient
from dnl.gradients.simplex import project_to_simplex
from dnl.runtime.settings import config_of
from dnl.surrogates import Architecture, make_surrogate, networks_per_game, parameter_count
from dnl.surrogates.affine_pieces import find_pieces, separating_scores, settle
from dnl.surrogates.learned_optimum import learned_optimum
from dnl.surrogates.registry import network_shape
from dnl.surrogates.sampling import sample
from dnl.training.recipes import Recipe
from games import PersuasionGame, SecurityGame, checks, synthetic_game
from tests.equilibria.test_learned_game import learned

GAME = synthetic_game(2, 2, 3, 2, seed=0, law="contested")
QUICK = FitConfig(samples=8, test_samples=8, epochs=1, device="cpu")
NO: Any = {}
SHORT: Any = (2, 2, 2)
THREE: Any = 3
ODD: list[Any] = [{}, "abc", 3, [1], np.ones(2), object()]


@pytest.fixture(scope="module")
def fitted() -> FittedSurrogate:
    return learned(GAME, 0.0)


# ------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("config", [{"samples": 5}, {}, 0, False, "quick", [], Recipe(lr=1)])
def test_a_config_is_of_its_class(config: Any, fitted: FittedSurrogate) -> None:
    starts, got = GAME.sample_policies(2), re.escape(checks.shown(config))
    with pytest.raises(ValueError, match=f"^config must be a FitConfig, got {got}"):
        dnl.fit(GAME, "dnl", config)
    with pytest.raises(ValueError, match=f"^config must be an ExtragradientConfig, got {got}"):
        extragradient(fitted, starts, config)


def test_a_dictionary_is_told_how_to_become_a_config() -> None:
    with pytest.raises(ValueError, match=r"got {'lr': 1}: FitConfig\(\*\*config\) makes one$"):
        config_of({"lr": 1}, FitConfig)
    assert config_of(None, ExtragradientConfig) == ExtragradientConfig()


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (FitConfig, {"architecture": {"hidden": (3,)}}, "architecture must be an Architecture,"),
        (FitConfig, {"device": None}, r"device must be 'auto', 'cpu' or 'cuda\[:index\]', got"),
        (FitConfig, {"dtype": "float46"}, "dtype must be one of .* did you mean 'float64'"),
        (FitConfig, {"recipe": "papr"}, "recipe must be one of .* did you mean 'paper'"),
        (Architecture, {"hidden": b"33"}, "hidden must be a sequence of widths, got b'33'"),
        (Architecture, {"choices": 1}, "choices must be an integer of at least 2, got 1"),
        (Recipe, {"lr": 1, "temperature": 0.1}, r"temperature must be a tuple or a list, got 0\.1"),
    ],
)  # fmt: skip
def test_wrong_settings(make: Callable[..., Any], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**wrong)


# ---------------------------------------------------------------------------------------- fitting


@pytest.mark.parametrize("game", ODD)
def test_only_games_are_fitted(game: Any) -> None:
    with pytest.raises(ValueError, match=r"games must .* got "):
        dnl.fit(game, "relu", QUICK)
    with pytest.raises(ValueError, match=r"games must .* got "):
        dnl.fit_many(game, "relu", QUICK)
    with pytest.raises(ValueError, match=r"games must .* got "):
        dnl.fit_many([GAME, game], "relu", QUICK)


def test_a_game_is_not_a_sequence_of_games() -> None:
    with pytest.raises(ValueError, match="games must be a sequence of games, got PersuasionGame"):
        dnl.fit_many(GAME, "relu", QUICK)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"surrogate": "dln"}, "surrogate must be one of .* got 'dln': did you mean 'dnl'"),
        ({"surrogate": None}, "surrogate must be one of .* got None"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 1, "generator": torch.Generator()}, "seed and generator must not both be given"),
        ({"generator": 3}, "generator must be a torch.Generator of the CPU, got 3"),
        ({"directory": 3}, "directory must be a path, got 3"),
        ({"progress": "yes"}, "progress must be a bool, got 'yes'"),
    ],
)
def test_wrong_fits(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"config": QUICK, "directory": tmp_path / "fit"}
    with pytest.raises(ValueError, match=message):
        dnl.fit(GAME, **arguments | wrong)
    assert not (tmp_path / "fit").exists()


def test_a_generator_is_recorded_as_a_seed() -> None:
    drawn = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(5)))
    one = dnl.fit(GAME, "relu", QUICK, generator=torch.Generator().manual_seed(5))
    assert one.seed == drawn
    again = dnl.fit(GAME, "relu", QUICK, seed=one.seed)
    points = GAME.sample_policies(3)
    assert torch.equal(one(points), again(points))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"games": GAME}, "games must be a sequence of games"),
        ({"count": 0}, "count must be an integer of at least 1"),
        ({"seed": 0.5}, "seed must be an integer of at least 0"),
        ({"purpose": 3}, "purpose must be a string"),
        ({"device": {}}, "device must be a device of this machine"),
        ({"dtype": []}, r"dtype must be torch\.float32 or torch\.float64"),
    ],
)
def test_wrong_samples(wrong: dict[str, Any], message: str) -> None:
    device = torch.device("cpu")
    good = {"games": [GAME], "count": 2, "seed": 0, "purpose": "train", "device": device}
    arguments: dict[str, Any] = good | {"dtype": torch.float32} | wrong
    with pytest.raises(ValueError, match=f"{message}.*, got "):
        sample(**arguments)


# ----------------------------------------------------------------------------------- predictions


def test_arrays_and_lists_are_policies(fitted: FittedSurrogate) -> None:
    batch = GAME.sample_policies(3)
    for policies in (batch, batch[0]):
        for given in (policies.numpy(), policies.tolist()):
            assert torch.equal(fitted(given), fitted(policies))
            assert torch.equal(fitted.own_gradient(given), fitted.own_gradient(policies))
    ends = extragradient(fitted, batch.numpy(), ExtragradientConfig(iterations=2)).policies
    assert torch.equal(
        ends, extragradient(fitted, batch, ExtragradientConfig(iterations=2)).policies
    )
    beliefs, prior = np.array([[0.2, 0.3, 0.5]]), GAME.prior.tolist()
    expected = fitted.reaction(torch.tensor(beliefs), GAME.prior)
    assert torch.equal(fitted.reaction(beliefs, prior), expected)


@pytest.mark.parametrize("policies", [None, "abc", {}, [["a"]], object()])
def test_other_things_are_no_policies(policies: Any, fitted: FittedSurrogate) -> None:
    for function in (fitted, fitted.own_gradient):
        with pytest.raises(ValueError, match="policies must be an array of numbers, got "):
            function(policies)
    with pytest.raises(ValueError, match="starts must be an array of numbers, got "):
        extragradient(fitted, policies)


def test_whole_numbers_and_wrong_shapes_are_no_policies(fitted: FittedSurrogate) -> None:
    with pytest.raises(ValueError, match=r"policies must hold floating point numbers, got .*int64"):
        fitted(torch.ones(2, 3, 2, dtype=torch.int64))
    message = re.escape("policies must have shape (B, N, S, M) = (B, 2, 3, 2), got (2, 2, 3)")
    with pytest.raises(ValueError, match=message):
        fitted(np.ones((2, 2, 3)))


@pytest.mark.parametrize("other", [None, {}, "up", 3.5])
def test_a_utility_is_a_function(other: Any) -> None:
    starts = GAME.sample_policies(2)
    with pytest.raises(ValueError, match=r"utility must be callable, got "):
        extragradient(other, starts)
    with pytest.raises(ValueError, match=r"utility must be callable, got "):
        own_gradient(other, starts)
    with pytest.raises(ValueError, match=r"policies must be a tensor \(..., N, S, M\) .*, got "):
        own_gradient(GAME.ex_ante_utility, other)
    with pytest.raises(ValueError, match=r"x must be a tensor \(..., M\) of .*, got "):
        project_to_simplex(other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.learned_game(support="no"), "support must be a number at least 0, got 'no'"),
        (lambda f: f.to("cuda:77"), "device must be a device of this machine, .* got 'cuda:77'"),
        (lambda f: f.to({}), "device must be a device of this machine, .* got {}"),
        (lambda f: f.save(3), "path must be a path, got 3"),
        (lambda f: f.load(None), "path must be a path, got None"),
        (lambda f: learned_optimum(NO), "fitted must be a FittedSurrogate, got {}"),
        (lambda f: make_surrogate("dnl", SHORT), r"shape must be \(N, M, S, A\), got"),
        (lambda f: make_surrogate("dnl", THREE), "shape must be a tuple or a list, got 3"),
        (lambda f: make_surrogate("dnl", (2, 2, 0, 2)), "each size in shape must be an integer of"),
        (lambda f: make_surrogate("dnl", f.shape, NO), "architecture must be an Architecture, got"),
        (lambda f: network_shape("dnl", f.shape, NO), "architecture must be an Architecture, got"),
        (lambda f: networks_per_game("rely", 2), "surrogate must be .*did you mean 'relu'"),
        (lambda f: networks_per_game("relu", -2), "n_senders must be an integer of at least 1"),
        (lambda f: parameter_count(NO), "network must be a Module, got {}"),
    ],
)  # fmt: skip
def test_wrong_calls(
    call: Callable[[FittedSurrogate], Any], message: str, fitted: FittedSurrogate
) -> None:
    with pytest.raises(ValueError, match=message):
        call(fitted)


# ------------------------------------------------------------------------------------------ files


def test_files_that_hold_no_surrogate(tmp_path: Path, fitted: FittedSurrogate) -> None:
    (tmp_path / "empty").touch()
    GAME.save(tmp_path / "game.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "long.json").write_text("9" * 400)
    for name in ("empty", "game.json", "deep.json", "long.json"):
        with pytest.raises(ValueError, match=rf"{re.escape(name)} holds no fitted surrogate: "):
            FittedSurrogate.load(tmp_path / name)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(OSError, match=re.escape(str(path))):
            FittedSurrogate.load(path)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        fitted.save(tmp_path / "absent" / "x.pt")


# ---------------------------------------------------------------------------------- exact answers


def test_senders_by_name_and_by_any_integer() -> None:
    named = replace(GAME, sender_names=("Ann", "Bob"))
    policies = GAME.sample_policies(1)[0]
    expected = best_response(GAME, policies, 1, 0.05)
    calls: list[tuple[PersuasionGame, Any, Any]] = [
        (GAME, np.int64(1), policies),
        (named, "Bob", policies),
        (GAME, 1, policies.numpy()),
        (GAME, 1, policies.tolist()),
    ]
    for game, sender, profile in calls:
        found = best_response(game, profile, sender, 0.05)
        assert (found.sender, found.utility) == (1, expected.utility)
        assert type(found.sender) is int
    with pytest.raises(ValueError, match=r"sender must be .* got 'Bop': did you mean 'Bob'"):
        best_response(named, policies, "Bop")


def test_a_radius_is_at_most_one() -> None:
    policies = GAME.sample_policies(1)[0]
    with pytest.raises(ValueError, match=r"radius must be at most 1, .*, got 2"):
        best_response(GAME, policies, 0, 2)
    assert best_response(GAME, policies, 0, 1).radius == 1.0


@pytest.mark.parametrize("game", ODD)
def test_other_things_are_no_games(game: Any) -> None:
    policies = GAME.sample_policies(1)[0]
    for call in (
        lambda: best_response(game, policies, 0),
        lambda: dnl.optimal_persuasion(game),
        lambda: dnl.full_revelation(game),
        lambda: dnl.follower_optimum(game),
        lambda: dnl.follower_worst(game),
        lambda: dnl.pricing_gain(game, policies),
    ):
        with pytest.raises(ValueError, match=r"game must be .*, got "):
            call()


# --------------------------------------------------------------------------------- affine pieces


def test_wrong_pieces() -> None:
    network = dnl.layers.FollowerNetwork(2, 1, 3)
    x, y = torch.rand(9, 2).double(), torch.rand(9, 1).double()
    planes = torch.rand(3, 2, 1).double()
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: settle(NO, x, y), "network must be a FollowerNetwork, got {}"),
        (lambda: settle(network, x[:, :1], y), r"x must have shape \(B, in\) = \(B, 2\), got"),
        (lambda: settle(network, x, y.half()), r"y must be float32 or float64, got torch\.float16"),
        (lambda: settle(network, x, y, seed=-1), "seed must be an integer of at least 0, got -1"),
        (lambda: find_pieces(x.float(), y, planes), r"x must be float64, got torch\.float32"),
        (lambda: find_pieces(x, y, planes[0]), r"planes must have shape \(C, F, O\)"),
        (lambda: find_pieces(x, y, planes, tolerance=0), "tolerance must be finite and above 0"),
        (lambda: separating_scores(x, torch.zeros(9), 2), r"piece must be int64 \(B,\) = \(9\)"),
        (lambda: separating_scores(x, torch.full((9,), 2), 2), r"piece must lie in 0\.\.1, got"),
        (lambda: separating_scores(x, torch.zeros(9).long(), 0), "n_pieces must be an integer"),
    ]  # fmt: skip
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()


# ---------------------------------------------------------------------------------------- in short


def test_results_print_in_a_line(fitted: FittedSurrogate) -> None:
    ends = extragradient(fitted, GAME.sample_policies(2), ExtragradientConfig(iterations=1))
    one_sender = PersuasionGame([0.7, 0.3], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]], 2)
    guards = SecurityGame([0, 0], [-2, -1], [0, 0], [2, 1], n_resources=1)
    x = torch.rand(9, 2).double()
    results = [
        fitted,
        ends,
        dnl.optimal_persuasion(one_sender),
        dnl.follower_optimum(guards),
        dnl.follower_worst(guards),
        find_pieces(x, x[:, :1], torch.zeros(2, 2, 1).double(), seed=0),
    ]
    for result in results:
        text = repr(result)
        assert len(text) <= 200
        assert "\n" not in text
        assert "tensor(" not in text
    assert repr(fitted).startswith("FittedSurrogate('posterior-dnl', unexplained=(0, 0), shape=")
