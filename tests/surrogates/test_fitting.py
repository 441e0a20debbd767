"""Fitted surrogates: stacking, data, initialisation, errors, use, storage, refusals."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from dnl.gradients.extragradient import extragradient
from dnl.gradients.own_gradient import Utility, own_gradient
from dnl.surrogates import fitting
from dnl.surrogates.fitted import FitConfig, FittedSurrogate, stack_surrogates
from dnl.surrogates.fitting import fit, fit_many
from dnl.surrogates.registry import (
    PAPER_SURROGATES,
    SURROGATES,
    Architecture,
    make_surrogate,
    parameter_count,
)
from games import PersuasionGame, didactic_game, synthetic_game
from games.randomness import stream

NAMES = sorted(SURROGATES)
# 100 = 3 * 32 + 4: the last batch of every epoch is a partial one.
TINY = FitConfig(
    samples=100,
    test_samples=60,
    epochs=3,
    batch_size=32,
    architecture=Architecture(hidden=(8, 8, 8), hyper=(4, 4), followers=2),
    dtype="float64",
    device="cpu",
)
# Adam's steps vanish beside any weight, so that the networks stay as they were initialised.
STILL = dataclasses.replace(TINY, epochs=1, lr=1e-30)


def contested(count: int) -> list[PersuasionGame]:
    return [synthetic_game(2, 2, 3, 3, seed=seed, law="contested") for seed in range(count)]


def mixed() -> list[PersuasionGame]:
    """Games of different numbers of actions and tie rules, alike and not alike by turns."""
    games = [synthetic_game(2, 2, 3, a, seed, law="contested") for a in (2, 4) for seed in (0, 1)]
    other = synthetic_game(2, 2, 3, 2, seed=2, law="contested")
    return [*games, other, dataclasses.replace(other, tie_break="senders")]


def profiles(game: PersuasionGame, count: int = 5) -> Tensor:
    return game.sample_policies(count, torch.Generator().manual_seed(3))


def weights(fitted: FittedSurrogate) -> dict[str, Tensor]:
    return dict(fitted.networks.named_parameters())


def called(utility: Utility) -> Utility:
    """The same function, which can do nothing but be called."""

    def only(policies: Tensor) -> Tensor:
        return utility(policies)

    return only


# ---------------------------------------------------------------------------- stacking


MIXED = dataclasses.replace(TINY, architecture=dataclasses.replace(TINY.architecture, choices=5))


@pytest.mark.parametrize("surrogate", NAMES)
@pytest.mark.parametrize(
    ("games", "config"), [(contested(3), TINY), (mixed(), MIXED)], ids=["one shape", "mixed"]
)
def test_stacked_equals_single(
    games: list[PersuasionGame], config: FitConfig, surrogate: str
) -> None:
    together = fit_many(games, surrogate, config, seed=4)
    for game, one in zip(games, together, strict=True):
        alone = fit(game, surrogate, config, seed=4)
        assert (one.game, one.shape, one.seed) == (game.identity, game.shape, 4)
        pairs = [(weights(one)[name], weights(alone)[name]) for name in weights(alone)]
        for field in ("mean", "scale", "mse", "unexplained"):
            pairs.append((getattr(one, field), getattr(alone, field)))
        pairs.append((one(profiles(game)), alone(profiles(game))))
        for got, expected in pairs:
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("surrogate", NAMES)
def test_stacked_errors_equal_single_ones_loosely_in_single_precision(surrogate: str) -> None:
    games, config = contested(3), dataclasses.replace(TINY, dtype="float32")
    for game, one in zip(games, fit_many(games, surrogate, config), strict=True):
        alone = fit(game, surrogate, config)
        assert one.networks.dtype == torch.float32
        torch.testing.assert_close(one.mse, alone.mse, rtol=0.02, atol=0)
        torch.testing.assert_close(one.unexplained, alone.unexplained, rtol=0.02, atol=0)


def test_stacked_surrogates_are_each_game_s_own() -> None:
    games = contested(3)
    fitted = fit_many(games, "delu", TINY)
    policies = torch.stack([profiles(game) for game in games])  # (G, B, N, S, M)
    utilities = stack_surrogates(fitted)(policies)
    assert utilities.shape == (3, 5, 2)
    for one, own, expected in zip(fitted, policies, utilities, strict=True):
        torch.testing.assert_close(one(own), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("surrogate", NAMES)
def test_own_gradients_at_once_are_those_of_each_sender(surrogate: str) -> None:
    games = contested(3)
    fitted = fit_many(games, surrogate, TINY)
    policies = torch.stack([profiles(game) for game in games])  # (G, B, N, S, M)
    stack = stack_surrogates(fitted)
    expected = own_gradient(called(stack), policies)
    assert expected.abs().amax((1, 3, 4)).min() > 1e-6
    torch.testing.assert_close(own_gradient(stack, policies), expected, rtol=1e-12, atol=1e-14)
    for one, own, wanted in zip(fitted, policies, expected, strict=True):
        torch.testing.assert_close(own_gradient(one, own), wanted, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(own_gradient(one, own[2]), wanted[2], rtol=1e-12, atol=1e-14)
        assert own_gradient(one, own[:0]).shape == (0, *own.shape[1:])
        ends = [extragradient(u, own).policies for u in (one, called(one))]
        torch.testing.assert_close(*ends, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match=r"policies must have shape \(B, N, S, M\)"):
        own_gradient(fitted[0], policies[..., :1])


@pytest.mark.parametrize(
    ("returned", "got"),
    [(lambda p: p[:1], r"\(1, 2, 3, 2\)"), (lambda p: None, "NoneType")],
    ids=["one profile", "nothing"],
)
def test_gradients_of_another_shape_are_refused(
    returned: Callable[[Tensor], object], got: str
) -> None:
    game = contested(1)[0]

    class Own:
        def __call__(self, policies: Tensor) -> Tensor:
            return game.ex_ante_utility(policies)

        def own_gradient(self, policies: Tensor) -> object:
            return returned(policies)

    message = rf"own_gradient must return shape \(5, 2, 3, 2\), got {got}"
    with pytest.raises(ValueError, match=message):
        extragradient(Own(), profiles(game))


@pytest.mark.parametrize("surrogate", ["relu", "delu", "dnl"])
def test_a_network_for_each_sender_takes_one_backward_pass(
    surrogate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = contested(1)[0]
    fitted, calls = fit(game, surrogate, STILL), []
    backward = torch.autograd.grad

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return backward(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    own_gradient(fitted, profiles(game))
    assert len(calls) == 1


# ---------------------------------------------------------------------------- randomness


@pytest.mark.parametrize("surrogate", NAMES)
def test_every_surrogate_is_trained_on_the_game_s_data_stream(surrogate: str) -> None:
    game = contested(1)[0]
    fitted = fit(game, surrogate, STILL, seed=6)
    data = game.sample_policies(STILL.samples, stream("data", 6, game.identity, "train"))
    utilities = game.ex_ante_utility(data)
    torch.testing.assert_close(fitted.mean, utilities.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fitted.scale, utilities.std(0), rtol=1e-12, atol=1e-12)


def test_data_differ_across_games_and_seeds() -> None:
    game = contested(1)[0]
    # The same game but for its identity: equal samples would give equal means to 1e-11.
    twin = dataclasses.replace(game, sender_utility=game.sender_utility * (1 + 1e-12))
    own, other = fit_many([game, twin], "relu", STILL)
    reseeded = fit(game, "relu", STILL, seed=1)
    assert ((own.mean - other.mean).abs() > 1e-4).all()
    assert ((own.mean - reseeded.mean).abs() > 1e-4).all()


@pytest.mark.parametrize("surrogate", PAPER_SURROGATES)
def test_every_network_is_initialised_from_its_own_stream(surrogate: str) -> None:
    games = contested(2)
    seen: list[Tensor] = []
    for seed in (0, 1):
        for game, fitted in zip(games, fit_many(games, surrogate, STILL, seed), strict=True):
            for sender in range(2):
                source = stream("initialisation", seed, game.identity, sender)
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(source.initial_seed())
                    expected = make_surrogate(surrogate, game.shape, TINY.architecture).double()
                for name, parameter in expected.named_parameters():
                    got = weights(fitted)[f"stacked.{name.replace('.', '/')}"][sender]
                    torch.testing.assert_close(got, parameter.detach(), rtol=1e-12, atol=1e-20)
                seen.append(next(iter(weights(fitted).values()))[sender])
    assert len({tuple(first.flatten().tolist()) for first in seen}) == 8


# ---------------------------------------------------------------------------- errors


@pytest.mark.parametrize("rows", [8192, 14])
@pytest.mark.parametrize("surrogate", NAMES)
def test_errors_are_those_of_the_definition(
    surrogate: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "EVALUATION_ROWS", rows)  # 14: seven per game, in nine parts
    games = contested(2)
    for game, fitted in zip(games, fit_many(games, surrogate, TINY, seed=2), strict=True):
        fresh = game.sample_policies(TINY.test_samples, stream("data", 2, game.identity, "test"))
        truth = game.ex_ante_utility(fresh)
        mse = (fitted(fresh) - truth).square().mean(0)
        torch.testing.assert_close(fitted.mse, mse, rtol=1e-9, atol=0)
        torch.testing.assert_close(fitted.unexplained, mse / truth.var(0), rtol=1e-9, atol=0)
        assert fitted.constant.tolist() == [False, False]


@pytest.mark.whole_run
@pytest.mark.parametrize("surrogate", NAMES)
def test_enough_budget_beats_the_mean(surrogate: str) -> None:
    sizes = Architecture(hidden=(32, 32, 32), hyper=(8, 8), followers=2)
    config = FitConfig(samples=2000, epochs=6, batch_size=64, architecture=sizes, device="cpu")
    fitted = fit(didactic_game(), surrogate, config)
    assert (fitted.unexplained < 0.6).all()


def test_parameter_count_is_that_of_one_network() -> None:
    for name in NAMES:
        fitted = fit_many(contested(2), name, STILL)[1]
        assert fitted.parameter_count == parameter_count(
            make_surrogate(name, contested(1)[0].shape, TINY.architecture)
        )
        assert fitted.fit_seconds > 0


# ---------------------------------------------------------------------------- constant utilities


def with_utilities(*values: float) -> PersuasionGame:
    """The didactic game with one constant utility per sender; NaN keeps the sender's own."""
    utilities = didactic_game().sender_utility.clone()
    for n, value in enumerate(values):
        if value == value:
            utilities[n] = value
    return dataclasses.replace(didactic_game(), sender_utility=utilities)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("game", "constant"),
    [
        (synthetic_game(2, 2, 2, 2, seed=0, law="paper"), [True, True]),
        (with_utilities(0.0, float("nan")), [True, False]),
        (with_utilities(float("nan"), 3.7), [False, True]),
        (with_utilities(0.1, -1e6 / 3), [True, True]),
    ],
    ids=["one action", "zero", "all equal", "both"],
)
def test_constant_utilities_are_flagged(
    game: PersuasionGame, constant: list[bool], dtype: str
) -> None:
    fitted = fit(game, "relu", dataclasses.replace(TINY, epochs=40, dtype=dtype))
    flags = torch.tensor(constant)
    assert fitted.constant.tolist() == constant
    assert fitted.unexplained.isnan().tolist() == constant
    assert fitted.scale[flags].tolist() == [1.0] * sum(constant)
    assert (fitted.scale[~flags] != 1.0).all()
    assert fitted.mse.isfinite().all()
    assert (fitted.mse[flags] < 0.05 * (1 + 1e-7 * fitted.mean[flags] ** 2)).all()


# ---------------------------------------------------------------------------- use


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trained_in", ["float32", "float64"])
def test_callable_for_a_batch_or_one_profile(trained_in: str, dtype: torch.dtype) -> None:
    game = contested(1)[0]
    fitted = fit(game, "dnl", dataclasses.replace(TINY, dtype=trained_in))
    policies = profiles(game).to(dtype)
    utilities = fitted(policies)
    assert (utilities.shape, utilities.dtype) == ((5, 2), dtype)
    single = fitted(policies[2])
    assert (single.shape, single.dtype) == ((2,), dtype)
    torch.testing.assert_close(single, utilities[2], rtol=1e-5, atol=1e-5)


def test_predictions_carry_no_gradient_and_there_may_be_none() -> None:
    game = contested(1)[0]
    fitted = fit(game, "relu", STILL)
    assert not fitted(profiles(game)).requires_grad
    assert fitted(profiles(game, 0)).shape == (0, 2)


@pytest.mark.parametrize("surrogate", NAMES)
def test_gradient_in_the_policies_is_the_slope(surrogate: str) -> None:
    game = contested(1)[0]
    fitted = fit(game, surrogate, TINY)
    policies = profiles(game)
    toward = profiles(game, 10)[5:] - policies
    step = 1e-7
    slope = (fitted(policies + step * toward) - fitted(policies - step * toward)) / (2 * step)
    policies.requires_grad_()
    for sender in range(2):
        (gradient,) = torch.autograd.grad(fitted(policies)[:, sender].sum(), policies)
        product = (gradient * toward).sum((1, 2, 3))
        assert (product.abs() > 1e-6).any()  # a plateau, where nothing changes, is legitimate
        torch.testing.assert_close(product, slope[:, sender].detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 2), (2, 2, 3), (3, 3, 2), (5, 2, 3, 3), (1, 5, 2, 3, 2)])
def test_policies_of_a_wrong_shape_are_refused(size: tuple[int, ...]) -> None:
    fitted = fit(contested(1)[0], "relu", STILL)
    with pytest.raises(ValueError, match=r"policies must have shape \(B, N, S, M\) = \(B, 2, 3, 2"):
        fitted(torch.full(size, 0.5))


# ---------------------------------------------------------------------------- storage


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("surrogate", NAMES)
def test_storage_is_exact(surrogate: str, dtype: str, tmp_path: Path) -> None:
    game = contested(1)[0]
    settings: Any = {"dtype": dtype, "lr": 0.1 / 3, "device": "auto"}
    fitted = fit(game, surrogate, dataclasses.replace(TINY, **settings), seed=7)
    fitted.save(tmp_path / "fit.pt")
    loaded = FittedSurrogate.load(str(tmp_path / "fit.pt"))
    for name in {field.name for field in dataclasses.fields(FittedSurrogate)} - {"networks"}:
        was, now = getattr(fitted, name), getattr(loaded, name)
        assert type(was) is type(now)
        assert torch.equal(was, now) if isinstance(was, Tensor) else was == now
    assert loaded.networks.dtype == fitted.networks.dtype
    assert torch.equal(loaded(profiles(game)), fitted(profiles(game)))


def test_a_fit_from_a_machine_with_a_gpu_loads_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(didactic_game(), "relu", STILL)
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: 100)
        config = dataclasses.replace(STILL, device="cuda:99")
        dataclasses.replace(fitted, config=config).save(tmp_path / "fit.pt")
    loaded = FittedSurrogate.load(tmp_path / "fit.pt")
    assert torch.equal(loaded.mse, fitted.mse)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"law,n_senders,n_signals\npaper,2,2\n",
        b'{"prior": [0.5, 0.5]}',
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04 but no archive",
        b"JSON? No.",
        b"}ba",
        pickle.dumps(Path("x"), protocol=2),
        [1, 2],
        torch.ones(3),
        {"networks": {}, "config": {}, "format": 1},
        {"format": 1},
    ],
    ids=str,
)
def test_a_file_of_another_kind_is_refused(content: object, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / "junk.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "junk.pt")
    with pytest.raises(ValueError, match=r"junk\.pt holds no fitted surrogate"):
        FittedSurrogate.load(tmp_path / "junk.pt")


def test_a_truncated_file_is_refused_and_a_missing_one_is_an_os_error(tmp_path: Path) -> None:
    fit(didactic_game(), "relu", STILL).save(tmp_path / "fit.pt")
    content = (tmp_path / "fit.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half\.pt holds no fitted surrogate"):
        FittedSurrogate.load(tmp_path / "half.pt")
    with pytest.raises(OSError, match="absent"):
        FittedSurrogate.load(tmp_path / "absent.pt")


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"recipe": "mine"}, "recipe must be one of .* got 'mine'"),
        *(({name: 1}, f"{name} must be an int.* 2, got 1") for name in ("samples", "test_samples")),
        *(({name: 0}, f"{name} must be an int.* 1, got 0") for name in ("epochs", "batch_size")),
        *(({"epochs": bad}, "epochs must be an integer") for bad in (-1, 2.0, True, "3")),
        *(({"lr": bad}, "lr must be") for bad in (0, -0.1, float("nan"), float("inf"), "0.1")),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'float64', got 'float16'"),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or .* got 'tpu'"),
    ],
)
def test_malformed_configurations_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitConfig(**wrong)


@pytest.mark.parametrize("surrogate", NAMES)
def test_games_whose_networks_differ_are_refused(surrogate: str) -> None:
    others = [(2, 2, 3, 4), (3, 2, 3, 3), (2, 3, 2, 3), (2, 2, 4, 3)]  # as many inputs: the third
    for index, size in enumerate(others):
        games = [contested(1)[0], synthetic_game(*size, seed=0)]
        if index == 0 and surrogate in PAPER_SURROGATES:
            assert len(fit_many(games, surrogate, STILL)) == 2
            continue
        with pytest.raises(
            ValueError, match=rf"games must share .* '{surrogate}' .*, got .*\(2, 2"
        ):
            fit_many(games, surrogate, STILL)


def test_malformed_calls_are_refused(tmp_path: Path) -> None:
    game, seeds = didactic_game(), cast(list[int], [-1, 1.5, True, "0"])
    with pytest.raises(ValueError, match=r"surrogate must be one of 'relu', .* got 'mlp'"):
        fit(game, "mlp", TINY, directory=tmp_path / "new")
    for bad in seeds:
        with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
            fit(game, "relu", TINY, seed=bad, directory=tmp_path / "new")
    for games in ([], [game, contested(1)[0]]):
        with pytest.raises(ValueError, match="games must"):
            fit_many(games, "relu", TINY, directory=tmp_path / "new")
    assert not (tmp_path / "new").exists()
