"""Named random streams, and the law of random profiles."""

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from games import (
    FOLLOWER_REGISTRY,
    REGISTRY,
    Focused,
    FollowerGame,
    PersuasionGame,
    Zoomed,
    didactic_game,
    random_matrix_game,
    synthetic_game,
)
from games.randomness import generator_of, seed_of, stream
from games.receivers import RECEIVERS


def draws(name: str, *identity: object, count: int = 8) -> list[float]:
    values: list[float] = torch.rand(
        count, dtype=torch.float64, generator=stream(name, *identity)
    ).tolist()
    return values


def test_same_arguments_same_draws() -> None:
    assert draws("data", 3, (2, 4), "paper") == draws("data", 3, (2, 4), "paper")


def test_seed_is_the_hash_of_the_arguments() -> None:
    # the documented recipe, so that results can be repeated on other machines and versions
    digest = hashlib.sha256(b"('data', 0)").hexdigest()
    assert stream("data", 0).initial_seed() == int(digest[:16], 16) // 2


def test_other_arguments_other_draws() -> None:
    identities: list[tuple[Any, ...]] = [
        *(("data", seed) for seed in range(20)),
        *(("starts", seed) for seed in range(20)),
        ("data",),
        ("data", "0"),
        ("data", 0, 0),
        ("data", (0, 0)),
        ("data", 0.0),
    ]
    assert len({tuple(draws(*identity)) for identity in identities}) == len(identities)


def test_neighbouring_streams_are_uncorrelated() -> None:
    table = torch.tensor([draws("data", seed, count=10_000) for seed in range(6)])
    correlations = table.corrcoef() - torch.eye(6)
    assert correlations.abs().max() < 0.05  # standard deviation 0.01 each


def test_global_randomness_is_untouched() -> None:
    before = torch.get_rng_state()
    draws("data", 1)
    didactic_game().sample_policies(5, stream("starts", 1))
    synthetic_game(2, 2, 2, 2, seed=0, law="contested")
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_one_is_used() -> None:
    game = didactic_game()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first, second = game.sample_policies(3), game.sample_policies(3)
        torch.manual_seed(5)
        again = game.sample_policies(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(first, game.sample_policies(3, torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("n_signals", [1, 2, 3, 5])
def test_rows_of_random_profiles_are_uniform_on_the_simplex(n_signals: int) -> None:
    game = synthetic_game(2, n_signals, 3, 2, seed=0)
    count = 20_000
    policies = game.sample_policies(count, stream("test", n_signals))
    assert policies.shape == (count, 2, 3, n_signals)
    assert policies.dtype == torch.float64
    assert policies.min() >= 0
    torch.testing.assert_close(policies.sum(-1), torch.ones(count, 2, 3).double())
    # Uniform on the simplex: an entry x has P(x > t) = (1 - t)^(M - 1); a share of 20,000 has a
    # standard deviation of at most 0.0036. Two entries x, y of a row have E[x y] = 1/(M (M + 1)).
    for t in (0.1, 0.3, 0.7):
        share = (policies > t).double().mean(0)
        assert (share - (1 - t) ** (n_signals - 1)).abs().max() < 0.018
    product = (policies[..., :1] * policies[..., 1:]).mean(0)
    assert ((product - 1 / (n_signals * (n_signals + 1))).abs() < 0.01).all()
    # rows of different senders and states are independent
    first = policies[..., 0].flatten(1).T  # (6, count)
    if n_signals > 1:
        assert (first.corrcoef() - torch.eye(6)).abs().max() < 0.036


def test_float32_games_get_the_same_profiles_rounded() -> None:
    game = synthetic_game(2, 3, 4, 2, seed=0)
    exact = game.sample_policies(10, stream("test"))
    rounded = game.to(dtype=torch.float32).sample_policies(10, stream("test"))
    assert torch.equal(rounded, exact.float())


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None])
def test_malformed_counts_are_refused(count: Any) -> None:
    game: PersuasionGame = didactic_game()
    with pytest.raises(ValueError, match="count must be an integer of at least 0"):
        game.sample_policies(count)


def test_numpy_s_integers_are_integers() -> None:
    game = synthetic_game(2, 2, 2, 2, seed=1)
    one: Any = np.int64(1)
    two: Any = np.int64(2)
    assert synthetic_game(2, two, 2, 2, seed=one) == game
    sized = PersuasionGame(game.prior, game.receiver_utility, game.sender_utility, two)
    assert sized.identity == game.identity
    assert stream("a", (np.int32(3), 4)).initial_seed() == stream("a", (3, 4)).initial_seed()


def test_a_seed_names_a_generator_and_a_generator_a_seed() -> None:
    seeded = generator_of(seed=3)
    assert seeded is not None
    assert seeded.initial_seed() == 3
    given = torch.Generator().manual_seed(3)
    assert generator_of(generator=given) is given
    assert generator_of() is None
    assert seed_of(5) == 5
    assert seed_of() == 0
    assert seed_of(default=7) == 7
    first, second = seed_of(generator=given), seed_of(generator=given)
    assert first != second  # it moves on
    assert seed_of(generator=torch.Generator().manual_seed(3)) == first


@pytest.mark.parametrize("function", [generator_of, seed_of])
def test_malformed_sources_of_randomness_are_refused(function: Any) -> None:
    with pytest.raises(ValueError, match=r"generator must be a torch\.Generator of the CPU, got 3"):
        function(generator=3)
    with pytest.raises(ValueError, match="seed and generator must not both be given, got seed=1"):
        function(1, torch.Generator())
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        function(-1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_kind_of_game() -> list[FollowerGame]:
    """One of each class that draws profiles."""
    games: list[FollowerGame] = [REGISTRY["didactic"].make(0)]
    games += [FOLLOWER_REGISTRY[f"{name}-2x2"].make(0) for name in ("contract", "pricing")]
    part = Zoomed(games[0], games[0].sample_policies(1, seeded(0))[0], 0.5)
    return [*games, FOLLOWER_REGISTRY["security-3x1"].make(0), part, Focused(games[0], [part])]


@pytest.mark.parametrize("game", every_kind_of_game(), ids=lambda game: type(game).__name__)
def test_profiles_are_drawn_by_seed_or_by_generator(game: Any) -> None:
    before = torch.get_rng_state()
    drawn = game.sample_policies(6, seed=3)
    assert torch.equal(drawn, game.sample_policies(6, generator=seeded(3)))
    assert torch.equal(drawn, game.sample_policies(6, seeded(3)))  # as before there were seeds
    assert not torch.equal(drawn, game.sample_policies(6, seed=4))
    assert torch.equal(torch.get_rng_state(), before)
    for bad, message in (
        ({"seed": 1, "generator": seeded(1)}, "seed and generator must not both be given"),
        ({"seed": 1.5}, "seed must be an integer of at least 0, got 1.5"),
        ({"generator": 3}, "generator must be a torch.Generator of the CPU, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            game.sample_policies(6, **bad)


def test_estimates_are_drawn_by_seed_or_by_generator() -> None:
    game = synthetic_game(2, 3, 3, 3, seed=0, law="contested")
    policies = game.sample_policies(2, seed=0)
    first = game.estimate_ex_ante_utility(policies, 50, seed=3).utility
    for again in (
        game.estimate_ex_ante_utility(policies, 50, generator=seeded(3)),
        game.estimate_ex_ante_utility(policies, 50, seeded(3)),
    ):
        assert torch.equal(again.utility, first)
    assert not torch.equal(game.estimate_ex_ante_utility(policies, 50, seed=4).utility, first)
    with pytest.raises(ValueError, match="seed and generator must not both be given"):
        game.estimate_ex_ante_utility(policies, 50, seeded(3), seed=3)


@pytest.mark.parametrize("name", [name for name, kind in RECEIVERS.items() if kind.learns])
def test_receivers_take_a_seed_or_a_generator(name: str) -> None:
    game, make = random_matrix_game(3, 3, 0), RECEIVERS[name].make
    policies = game.sample_policies(1, seed=0)
    sources: list[dict[str, Any]] = [{}, {"seed": 0}, {"generator": seeded(3)}]
    sources += [{"seed": seed_of(None, seeded(3))}]
    answers = [make(game, visits=20, **source).respond(policies) for source in sources]
    assert torch.equal(answers[0], answers[1])  # as before there were generators
    assert torch.equal(answers[2], answers[3])
    assert not torch.equal(answers[0], answers[2])
    with pytest.raises(ValueError, match="seed and generator must not both be given"):
        make(game, seed=0, generator=seeded(3))
