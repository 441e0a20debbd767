"""Surrogates of any game with a follower: layers with several, fits, optima of what was learned."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

import dnl
from dnl.layers import EmittedLinear, FollowerChoice, FollowerNetwork, least_squares
from dnl.layers.stack import NetworkStack
from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.learned_optimum import learned_optimum
from dnl.surrogates.registry import Architecture
from experiments.shared.follower_search import ascend
from games import (
    ContractGame,
    FollowerGame,
    didactic_game,
    random_contract_game,
    random_pricing_game,
    random_security_game,
)
from games.randomness import stream

TINY = FitConfig(
    samples=100,
    test_samples=60,
    epochs=2,
    batch_size=32,
    architecture=Architecture(hidden=(8, 8), hyper=(4,)),
    dtype="float64",
    device="cpu",
)
GAMES: list[FollowerGame] = [
    random_contract_game(3, 2, 0),
    random_security_game(3, 2, 0),
    random_pricing_game(2, 3, 0),
    didactic_game(),
]


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


# ------------------------------------------------------------------------- several followers


def test_every_follower_makes_one_choice_by_its_own_scores() -> None:
    torch.manual_seed(0)
    choice = FollowerChoice(4, 3, n_followers=2).double()
    x = normal(30, 4)
    chosen, scores = choice(x), choice.scores(x)
    for part in (slice(0, 3), slice(3, 6)):
        assert torch.equal(chosen[:, part].argmax(1), scores[:, part].argmax(1))
        torch.testing.assert_close(chosen[:, part].sum(1), torch.ones(30, dtype=torch.float64))
        relaxed = (scores[:, part] / 0.3).softmax(1)
        torch.testing.assert_close(choice.relaxed(x, 0.3)[:, part], relaxed)
    with pytest.raises(ValueError, match="n_followers must be an integer of at least 1, got 0"):
        FollowerChoice(4, 3, n_followers=0)


def test_a_network_of_several_followers_is_the_sum_of_one_per_follower() -> None:
    torch.manual_seed(0)
    network = FollowerNetwork(4, 2, 3, n_followers=2).double()
    (head,) = network.upper
    assert isinstance(head, EmittedLinear)
    x = normal(30, 4)
    total = x @ head.weight[:, 0].mT + head.bias[:, 0]
    for f in range(2):
        scores = network.choice.scores(x).view(30, 2, 3)[:, f]
        weight, bias = head.weight[:, 1 + 3 * f :], head.bias[:, 1 + 3 * f :]  # of its choices
        taken = scores.argmax(1)
        total = total + (weight[:, taken] * x).sum(-1).mT + bias[:, taken].mT
    torch.testing.assert_close(network(x), total)


def test_a_refit_finds_the_affine_parts() -> None:
    torch.manual_seed(1)
    truth = FollowerNetwork(4, 2, 3, n_followers=2).double()
    network = FollowerNetwork(4, 2, 3, n_followers=2).double()
    network.choice.load_state_dict(truth.choice.state_dict())
    x = normal(5000, 4)  # more than least squares hold at a time
    assert (network(x) - truth(x)).abs().max() > 0.1
    network.refit(x, truth(x))
    torch.testing.assert_close(network(x), truth(x), rtol=0, atol=1e-3)
    features = network.features(x)
    assert features.shape == (5000, 6, 5)
    head = least_squares(network.features, x, truth(x))
    torch.testing.assert_close(torch.einsum("bcf,cfo->bo", features, head), network(x))


def test_one_follower_s_pieces_are_refitted_apart() -> None:
    torch.manual_seed(2)
    network = FollowerNetwork(4, 2, 30).double()  # some choices are never taken
    x, y = normal(5000, 4), normal(5000, 2)
    assert (network.choice(x).sum(0) == 0).any()
    network.refit(x, y)
    head = least_squares(network.features, x, y)  # one system for all
    expected = torch.einsum("bcf,cfo->bo", network.features(x), head)
    torch.testing.assert_close(network(x), expected)


# ------------------------------------------------------------------------------------- fits


@pytest.mark.whole_run
@pytest.mark.parametrize("surrogate", ["dnl", "follower-dnl"])
@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_any_game_with_a_follower_is_fitted(game: FollowerGame, surrogate: str) -> None:
    assert isinstance(game, FollowerGame)
    fitted = dnl.fit(game, surrogate, TINY, seed=3)
    fresh = game.sample_policies(TINY.test_samples, stream("data", 3, game.identity, "test"))
    truth = game.ex_ante_utility(fresh)
    assert (fitted.game, fitted.shape) == (game.identity, game.shape)
    torch.testing.assert_close(fitted.mse, (fitted(fresh) - truth).square().mean(0))
    assert dnl.extragradient(fitted, fresh).policies.shape == fresh.shape


@pytest.mark.parametrize("exact", [False, True])
def test_games_of_one_kind_are_fitted_together_as_alone(exact: bool) -> None:
    games = [random_contract_game(3, 2, seed) for seed in range(2)]
    recipe = dataclasses.replace(TINY.training("follower-dnl"), settle=exact)
    config = dataclasses.replace(TINY, recipe=recipe)
    together = dnl.fit_many(games, "follower-dnl", config)
    for game, one in zip(games, together, strict=True):
        alone = dnl.fit(game, "follower-dnl", config)
        torch.testing.assert_close(one.mse, alone.mse, rtol=1e-6, atol=1e-20 if exact else 0)


@pytest.mark.whole_run
def test_the_follower_network_fits_a_contract_game() -> None:
    config = FitConfig(samples=5_000, test_samples=2_000, epochs=6, device="cpu")
    fitted = dnl.fit(random_contract_game(3, 2, 0), "follower-dnl", config)
    assert fitted.unexplained.item() < 0.01


def test_posteriors_are_of_persuasion_games_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"surrogate must be another than .* got game=Contr"):
        dnl.fit(GAMES[0], "posterior-dnl", TINY, directory=tmp_path / "new")
    for games in (GAMES[:2], [GAMES[0], GAMES[3]]):
        with pytest.raises(ValueError, match="games must share their class, and shape"):
            dnl.fit_many(games, "dnl", TINY, directory=tmp_path / "new")
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------------- optima of what was learned


def perfect(game: ContractGame) -> FittedSurrogate:
    """A surrogate that has learned a contract game exactly."""
    one_each = Architecture(choices=game.shape[-1])
    config = dataclasses.replace(TINY, architecture=one_each, epochs=1)
    fitted = dnl.fit(game, "follower-dnl", config)
    network = fitted.networks.network(0)
    assert isinstance(network, FollowerNetwork)
    head = network.upper[0]
    assert isinstance(head, EmittedLinear)
    wage = game.max_wage * game.outcome_probabilities  # (A, O)
    cost = (game.costs / game.shape[2]).unsqueeze(1)
    with torch.no_grad():
        network.choice.weight.copy_(torch.stack([wage - cost, -cost.expand_as(wage)], 2).flatten(1))
        head.weight.zero_()[0, 1:] = torch.stack([-wage, torch.zeros_like(wage)], 2).flatten(1)
        head.bias.zero_()[0, 1:] = game.outcome_probabilities @ game.rewards
    one, zero = torch.ones_like(fitted.scale), torch.zeros_like(fitted.mean)
    return dataclasses.replace(fitted, networks=NetworkStack([network]), mean=zero, scale=one)


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_of_a_perfect_surrogate_is_the_game_s(seed: int) -> None:
    game = random_contract_game(4, 3, seed)
    fitted, optimum = perfect(game), dnl.follower_optimum(game)
    random = game.sample_policies(100)
    torch.testing.assert_close(fitted(random), game.ex_ante_utility(random))
    reached = game.ex_ante_utility(learned_optimum(fitted, 1e-6)).item()
    assert reached == pytest.approx(optimum.upper_bound, abs=1e-4 * game.payoff_range.item())


def test_the_margin_is_a_distance_from_cliffs() -> None:
    game = random_contract_game(4, 3, 0)
    policies = learned_optimum(perfect(game), 0.02)
    row = normal(200, 3, seed=1)
    there = torch.stack([row, -row], 2)  # entries of a row sum to 1
    near = policies + 0.0199 * (there / there.flatten(1).norm(dim=1).view(-1, 1, 1)).unsqueeze(1)
    inside = near[(near >= 0).flatten(1).all(1)]
    choice = game.follower_action(policies)
    if len(inside):
        assert (game.follower_action(inside) == choice).all()
    lost = game.ex_ante_utility(learned_optimum(perfect(game), 1e-6)) - game.ex_ante_utility(
        policies
    )
    assert lost.item() > 0


def test_what_was_learned_from_nothing_is_avoided() -> None:
    game = random_contract_game(3, 2, 0)
    fitted = perfect(game)
    network = fitted.networks.network(0)
    assert isinstance(network, FollowerNetwork)
    head = network.upper[0]
    assert isinstance(head, EmittedLinear)
    with torch.no_grad():  # action 2 where a wage is within a ten-thousandth of its maximum
        network.choice.weight[2] = network.choice.weight[0]
        network.choice.weight[2, :2] += 1e5 * torch.tensor([1e-4, -0.9999])
        head.bias[0, 3] = 1e6  # of fabulous worth
    deceived = dataclasses.replace(fitted, networks=NetworkStack([network]))
    corner = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]], dtype=torch.float64)
    assert deceived(corner).item() > 1e5
    assert deceived(learned_optimum(deceived, 1e-6)).item() < 1e5


def test_only_what_programs_can_solve_is_solved() -> None:
    for game, surrogate in ((GAMES[0], "relu"), (GAMES[2], "follower-dnl")):
        with pytest.raises(ValueError, match="fitted must be a 'follower-dnl' of one leader"):
            learned_optimum(dnl.fit(game, surrogate, TINY))
    fitted = perfect(random_contract_game(3, 2, 0))
    with pytest.raises(ValueError, match=r"profiles must be many, .* got shape \(0, 1, 2, 2\)"):
        learned_optimum(fitted, 0.01, torch.empty(0, 1, 2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="profiles must hold distributions"):
        learned_optimum(fitted, 0.01, torch.ones(5, 1, 2, 2))
    with pytest.raises(ValueError, match="margin must be"):
        learned_optimum(perfect(random_contract_game(3, 2, 0)), 0.0)
    with pytest.raises(ValueError, match=r"margin must leave room .* got 10\.0"):
        learned_optimum(perfect(random_contract_game(3, 2, 0)), 10.0)


# ------------------------------------------------------------------- ascents of what was learned


def test_the_surrogate_chooses_among_all_that_is_visited() -> None:
    game = random_contract_game(3, 2, 0)
    fitted = dnl.fit(game, "follower-dnl", TINY)
    starts = game.sample_policies(20, torch.Generator().manual_seed(0))
    found = ascend(fitted, game, starts, dnl.ExtragradientConfig(iterations=5))
    ends = dnl.extragradient(fitted, starts, dnl.ExtragradientConfig(iterations=5)).policies
    best = torch.cat([fitted(starts), fitted(ends)]).max().item()
    assert fitted(found).item() >= best - 1e-9
