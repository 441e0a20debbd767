"""The benchmark's random games: laws, determinism, the contested property."""

from typing import Any

import pytest
import torch

from games import LAWS, synthetic_game

SIZES = [(2, 2, 2, 2), (4, 2, 2, 2), (2, 4, 4, 4), (1, 2, 3, 5)]  # (N, M, S, A)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sizes", SIZES)
def test_sizes_and_determinism(sizes: tuple[int, int, int, int], law: str) -> None:
    game = synthetic_game(*sizes, seed=3, law=law)
    assert game.shape == sizes
    assert game.tie_break == "first"
    assert game.prior.dtype == torch.float64
    assert game.prior.sum().item() == pytest.approx(1.0, abs=1e-14)
    assert game == synthetic_game(*sizes, seed=3, law=law)
    assert len({synthetic_game(*sizes, seed=seed, law=law) for seed in range(10)}) == 10


def test_paper_is_the_default_and_laws_differ() -> None:
    game = synthetic_game(2, 3, 4, 5, seed=1)
    assert game == synthetic_game(2, 3, 4, 5, seed=1, law="paper")
    assert game != synthetic_game(2, 3, 4, 5, seed=1, law="contested")


def test_games_of_different_sizes_share_no_numbers() -> None:
    sizes = [(2, 2, 2, 2), (2, 3, 2, 2), (3, 2, 2, 2), (2, 2, 3, 2), (2, 2, 2, 3)]
    corner = [synthetic_game(*size, seed=0).sender_utility[0, 0, 0].item() for size in sizes]
    assert len(set(corner)) == len(sizes)


@pytest.mark.parametrize("law", LAWS)
def test_utilities_have_standard_deviation_ten(law: str) -> None:
    games = [synthetic_game(2, 2, 6, 8, seed=seed, law=law) for seed in range(100)]
    # 4,800 and 9,600 numbers: the standard deviation is known to 1 %, the mean to 0.15
    for table in ("receiver_utility", "sender_utility"):
        values = torch.stack([getattr(game, table) for game in games]).flatten()
        assert values.std().item() == pytest.approx(10.0, abs=0.35)
        assert values.mean().item() == pytest.approx(0.0, abs=0.5)


# Softmax of N(0, 10^2) logits: the mean largest entry was measured as 0.96 at S = 2, 0.89 at
# S = 10. Uniform on the simplex: the largest of S entries is (1 + 1/2 + ... + 1/S) / S on average,
# 0.457 at S = 5; games of that size are hardly ever redrawn, so the law is nearly unconditional.
@pytest.mark.parametrize(
    ("law", "n_states", "largest", "error"),
    [("paper", 2, 0.96, 0.02), ("paper", 10, 0.89, 0.03), ("contested", 5, 0.457, 0.03)],
)
def test_prior_law(law: str, n_states: int, largest: float, error: float) -> None:
    games = [synthetic_game(2, 4, n_states, 6, seed=seed, law=law) for seed in range(200)]
    priors = torch.stack([game.prior for game in games])
    assert priors.amax(1).mean().item() == pytest.approx(largest, abs=error)
    assert (priors.mean(0) - 1 / n_states).abs().max() < 0.1  # no state is favoured


def test_paper_games_are_often_constant() -> None:
    """In 70 % of (2, 2, 2) games at N = 2 no random profile changes the receiver's mind."""
    constant = 0
    for seed in range(100):
        game = synthetic_game(2, 2, 2, 2, seed=seed, law="paper")
        actions = game.receiver_action(
            game.sample_policies(1024, torch.Generator().manual_seed(seed))
        )
        constant += bool((actions == actions[0, 0]).all())
    assert 55 <= constant <= 85  # standard deviation 4.6


@pytest.mark.parametrize("sizes", SIZES)
def test_contested_games_are_contested(sizes: tuple[int, int, int, int]) -> None:
    for seed in range(10):
        game = synthetic_game(*sizes, seed=seed, law="contested")
        fresh = game.sample_policies(1024, torch.Generator().manual_seed(seed))
        spread = game.ex_ante_utility(fresh).std(0)
        assert (spread >= 0.001 * game.payoff_range).all()
        assert (game.payoff_range > 0).all()


GOOD: dict[str, Any] = {"n_senders": 2, "n_signals": 2, "n_states": 2, "n_actions": 2, "seed": 0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(
            ({name: bad}, f"{name} must be an integer of at least 1, got")
            for name in ("n_senders", "n_signals", "n_states", "n_actions")
            for bad in (0, -1, 2.0, True, "2")
        ),
        *(({"seed": bad}, "seed must be an integer of at least 0") for bad in (-1, 0.5, None)),
        ({"law": "uniform"}, "law must be one of 'paper', 'contested', got 'uniform'"),
        *(
            ({"law": "contested", name: 1}, f"{name} must be at least 2 under law 'contested'")
            for name in ("n_signals", "n_states", "n_actions")
        ),
    ],
)
def test_malformed_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthetic_game(**(GOOD | wrong))


def test_paper_law_allows_every_size() -> None:
    game = synthetic_game(1, 1, 1, 1, seed=0)
    assert game.prior.tolist() == [1.0]
    assert game.no_information().item() == game.sender_utility.item()
