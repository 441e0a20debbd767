"""What networks see: drawn once, the same however many are drawn, simulated or held together."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl.benchmark.evaluation import Stages
from dnl.benchmark.runner import compute, here, prepare
from dnl.benchmark.tasks import Task
from dnl.gradients.extragradient import ExtragradientConfig
from dnl.surrogates import fitting, sampling
from dnl.surrogates.fitted import FitConfig
from dnl.surrogates.fitting import fit_many
from dnl.surrogates.registry import Architecture
from dnl.surrogates.sampling import Remembered, Samples, sample
from games import FollowerGame, PersuasionGame, random_contract_game, stack, synthetic_game

CPU = torch.device("cpu")
TINY = FitConfig(
    samples=100,
    test_samples=60,
    epochs=2,
    architecture=Architecture(hidden=(8, 8, 8), hyper=(4, 4), followers=2),
    device="cpu",
)


def contested(count: int, n_actions: int = 3) -> list[PersuasionGame]:
    return [synthetic_game(2, 2, 3, n_actions, seed, law="contested") for seed in range(count)]


def mixed() -> list[PersuasionGame]:
    """Two pairs of games alike, and two that are like no neighbour."""
    games = [*contested(2, 2), *contested(2, 4), *contested(1, 2)]
    return [*games, replace(games[-1], tie_break="senders")]


def drawn(games: list[FollowerGame], dtype: torch.dtype = torch.float64) -> Samples:
    return sample(games, 100, 3, "train", CPU, dtype)


@pytest.mark.parametrize("held", [1, 2, 3])
def test_how_many_games_are_simulated_at_a_time_changes_nothing(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    games: list[FollowerGame] = [*mixed(), *contested(3)]
    profiles, utilities = drawn(games)
    lengths: list[int] = []

    def spy(alike: Any) -> Any:
        lengths.append(len(alike))
        return stack(alike)

    monkeypatch.setattr(sampling, "stack", spy)
    monkeypatch.setattr(sampling, "SIMULATED_BYTES", held * 8 * 100 * 2 * 2 * 3)
    again = drawn(games)
    assert torch.equal(again[0], profiles)
    torch.testing.assert_close(again[1], utilities, rtol=1e-12, atol=1e-12)
    assert lengths == {1: [1] * 9, 2: [2, 2, 1, 1, 2, 1], 3: [2, 2, 1, 1, 3]}[held]
    for game, own, values in zip(games, profiles, utilities, strict=True):
        torch.testing.assert_close(values, game.ex_ante_utility(own), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", ["persuasion", "contracts"])
def test_draws_do_not_depend_on_how_many_threads_share_them(
    family: str, threads: Callable[[int], None]
) -> None:
    contracts = [random_contract_game(3, 2, seed=seed) for seed in range(3)]
    games: list[FollowerGame] = [*(contested(3) if family == "persuasion" else contracts)]
    alone = drawn(games)
    threads(2)
    together = drawn(games)
    assert torch.equal(together[0], alone[0])
    torch.testing.assert_close(together[1], alone[1], rtol=1e-12, atol=1e-12)
    assert torch.get_num_threads() == 2


def test_single_precision_is_that_of_profiles_alone() -> None:
    games: list[FollowerGame] = [*contested(2)]
    exact, single = drawn(games), drawn(games, torch.float32)
    assert torch.equal(single[0], exact[0].float())
    assert torch.equal(single[1], exact[1])


@pytest.mark.parametrize(
    ("surrogate", "held"), [("dnl", torch.float32), ("follower-dnl", torch.float64)]
)
def test_only_exact_pieces_see_samples_in_double_precision(
    surrogate: str, held: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.dtype] = []
    settled: list[torch.dtype] = []
    settle = fitting._settle

    def spy(*arguments: Any) -> Samples:
        asked.append(arguments[-1])
        return sample(*arguments)

    def spy_settle(games: Any, networks: Any, chosen: Any, profiles: Tensor, *rest: Any) -> None:
        settled.append(profiles.dtype)
        settle(games, networks, chosen, profiles, *rest)

    monkeypatch.setattr(fitting, "_settle", spy_settle)
    fit_many(contested(1), surrogate, TINY, samples=spy)
    assert asked == [held, torch.float32]  # to train on, to judge by
    assert settled == ([held] if surrogate == "follower-dnl" else [])


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """How many games `Remembered` has sampled for what, call by call."""
    calls: list[tuple[int, str]] = []

    def spy(games: Any, count: int, seed: int, purpose: str, *rest: Any) -> Samples:
        calls.append((len(games), purpose))
        return sample(games, count, seed, purpose, *rest)

    monkeypatch.setattr(sampling, "sample", spy)
    return calls


def test_what_is_remembered_is_simulated_once(simulated: list[tuple[int, str]]) -> None:
    games, remembered = contested(2), Remembered()
    shared = {name: fit_many(games, name, TINY, samples=remembered) for name in ("relu", "dnl")}
    assert simulated == [(2, "train"), (2, "test")]
    for name, fitted in shared.items():
        for one, other in zip(fitted, fit_many(games, name, TINY), strict=True):
            assert torch.equal(one.mse, other.mse)
    assert len(simulated) == 2
    fit_many(games, "relu", TINY, seed=1, samples=remembered)
    fit_many(games[:1], "relu", TINY, samples=remembered)
    fit_many(games, "relu", replace(TINY, samples=99), samples=remembered)
    assert simulated[2:] == [(2, "train"), (2, "test"), (1, "train"), (1, "test"), (2, "train")]


def test_the_surrogates_of_a_run_share_their_games_samples(
    simulated: list[tuple[int, str]],
) -> None:
    stages = Stages(TINY, ExtragradientConfig(iterations=2), starts=3, deviations=2)
    groups = [tuple(("contested", 2, 2, 3, a, i) for i in range(2)) for a in (2, 3)]
    tasks = [Task(games, name) for games in groups for name in ("relu", "delu")]

    def make_game(key: Any) -> PersuasionGame:
        law, n, m, s, a, instance = key
        return synthetic_game(n, m, s, a, instance, law)

    found = dict(here(tasks, stages, make_game, lambda *_: None))
    assert simulated == [(2, "train"), (2, "test")] * 2
    for task in tasks:
        alone = compute(task, prepare(task.games, stages, make_game), stages)
        for row, other in zip(found[task], alone, strict=True):
            assert row["status"] == "ok"
            assert {**row, "fit_seconds": 0, "solve_seconds": 0} == {
                **other,
                "fit_seconds": 0,
                "solve_seconds": 0,
            }
