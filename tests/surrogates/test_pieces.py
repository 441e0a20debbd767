"""Affine pieces from samples without noise."""

import dataclasses

import pytest
import torch
from torch import Tensor

import dnl
from dnl.layers import EmittedLinear, FollowerNetwork
from dnl.surrogates.affine_pieces import (
    PLANE_TOLERANCE,
    Pieces,
    distances,
    find_pieces,
    separating_scores,
    settle,
)
from games import Focused, Zoomed, random_contract_game, random_security_game


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=seeded(seed), dtype=torch.float64)


def truth(n_choices: int = 4, out: int = 2, seed: int = 0) -> FollowerNetwork:
    torch.manual_seed(seed)
    return FollowerNetwork(3, out, n_choices).double()


def extended(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


def pieces_of(network: FollowerNetwork, x: Tensor, n_pieces: int, seed: int = 0) -> Pieces:
    start = torch.zeros(n_pieces, 4, 2, dtype=torch.float64)
    return find_pieces(extended(x), network(x).detach(), start, seeded(seed), 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_planted_pieces_are_found_from_nothing(seed: int) -> None:
    network, x = truth(seed=seed), normal(4000, 3, seed=seed)
    found = pieces_of(network, x, 8, seed)
    chosen = network.choice(x).argmax(1)
    assert (found.piece >= 0).double().mean() > 0.999
    for own in found.piece[found.piece >= 0].unique():
        assert len(chosen[found.piece == own].unique()) == 1
    assert len(found.piece[found.piece >= 0].unique()) == len(chosen.unique())
    off = distances(extended(x), network(x).detach(), found.planes).gather(
        1, found.piece.clamp_min(0).unsqueeze(1)
    )
    assert off[found.piece >= 0].max() < 1e-9


def test_a_plane_that_two_choices_share_is_one_piece() -> None:
    network, x = truth(), normal(4000, 3)
    head = network.upper[0]
    assert isinstance(head, EmittedLinear)
    with torch.no_grad():
        head.weight[:, 2], head.bias[:, 2] = head.weight[:, 1].clone(), head.bias[:, 1].clone()
    assert len(network.choice(x).argmax(1).unique()) == 4
    assert len(pieces_of(network, x, 8).piece.unique()) == 3


def test_of_too_many_pieces_the_largest_are_found() -> None:
    network, x = truth(), normal(4000, 3)
    found = pieces_of(network, x, 2)
    sizes = network.choice(x).sum(0).sort(descending=True).values.tolist()
    got = [int((found.piece == c).sum()) for c in range(2)]
    assert sorted(got, reverse=True) == pytest.approx(sizes[:2], rel=0.01)
    assert (found.piece == -1).sum() > 0


@pytest.mark.parametrize("flat", [False, True])
def test_separable_samples_are_separated(flat: bool) -> None:
    x = normal(3000, 6).exp()
    if flat:  # distributions: the features depend on one another
        x = torch.cat([half / half.sum(1, keepdim=True) for half in x.split(3, 1)], 1)
    piece = (x @ normal(6, 4, seed=1)).argmax(1)
    weight = separating_scores(x, piece, 4)
    assert weight.shape == (4, 6)
    assert torch.equal((x @ weight.mT).argmax(1), piece)


def test_a_network_is_settled() -> None:
    network, x, fresh = truth(), normal(4000, 3), normal(4000, 3, seed=1)
    torch.manual_seed(9)
    wrong = FollowerNetwork(3, 2, 8).double()
    y = network(x).detach()
    assert (wrong(x) - y).square().mean() > 0.1
    assert settle(wrong, x, y, seeded(0))
    torch.testing.assert_close(wrong(x), y, rtol=0, atol=1e-6)
    right = (wrong(fresh) - network(fresh)).abs().amax(1) < 1e-6
    assert right.double().mean() > 0.995
    used = wrong.choice(torch.cat([x, fresh])).sum(0) > 0
    assert used[:4].all()
    assert not used[4:].any()  # copies of the first, which the first of equals leaves alone


def test_noise_changes_nothing() -> None:
    network, x = truth(), normal(2000, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not settle(network, x, network(x).detach() + normal(2000, 2, seed=5), seeded(0))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_what_is_exact_stays() -> None:
    network, x = truth(), normal(2000, 3)
    assert not settle(network, x, network(x).detach(), seeded(0))


def test_single_precision_is_no_noise() -> None:
    network, x = truth().float(), normal(2000, 3).float()
    wrong = FollowerNetwork(3, 2, 4)
    assert settle(wrong, x, network(x).detach(), seeded(0))
    right = (wrong(x) - network(x)).abs().amax(1) < 10 * PLANE_TOLERANCE[torch.float32]
    assert right.double().mean() > 0.999


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_however_few_samples(inputs: int) -> None:
    torch.manual_seed(inputs)
    network = FollowerNetwork(inputs, 1, 3).double()
    for count in range(1, 11):
        x = normal(count, inputs, seed=count)
        for y in (network(x).detach(), torch.zeros(count, 1).double(), normal(count, 1)):
            other = FollowerNetwork(inputs, 1, 3).double()
            before = (other(x) - y).square().mean()
            settle(other, x, y, seeded(count))
            assert (other(x) - y).square().mean() <= before
    nothing = torch.zeros(20, inputs).double()
    assert settle(other, nothing, torch.ones(20, 1).double(), seeded(0))
    torch.testing.assert_close(other(nothing), torch.ones(20, 1).double())


def test_many_inputs_need_what_was_learned() -> None:
    torch.manual_seed(0)
    network = FollowerNetwork(20, 1, 6).double()
    head = network.upper[0]
    assert isinstance(head, EmittedLinear)
    assert head.weight[:, 0].abs().max() > 0  # what all choices share
    x = normal(4000, 20)
    y = network(x).detach()
    nothing = torch.zeros(6, 21, 1, dtype=torch.float64)
    assert (find_pieces(extended(x), y, nothing, seeded(0), 1e-6).piece == -1).all()
    with torch.no_grad():  # learned, but not quite
        for parameter in network.parameters():
            parameter.add_(0.005 * normal(*parameter.shape, seed=1))
    assert (network(x) - y).square().mean() > 1e-3
    assert settle(network, x, y, seeded(0))
    torch.testing.assert_close(network(x), y, rtol=0, atol=1e-6)


def test_what_diverged_is_replaced() -> None:
    network, x = truth(), normal(3000, 3)
    broken = FollowerNetwork(3, 2, 6).double()
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(float("nan"))
    assert settle(broken, x, network(x).detach(), seeded(0))
    torch.testing.assert_close(broken(x), network(x), rtol=0, atol=1e-6)


def test_other_networks_are_refused() -> None:
    x, y = normal(20, 3), normal(20, 1)
    scorer = torch.nn.Linear(3, 4).double()
    for network in (
        FollowerNetwork(3, 1, 2, n_followers=2),
        FollowerNetwork(3, 1, 4, scorer=scorer),
    ):
        with pytest.raises(ValueError, match="network must have one follower with linear scores"):
            settle(network.double(), x, y, seeded(0))


@pytest.mark.whole_run
def test_fits_are_settled_where_the_recipe_says_so() -> None:
    config = dnl.FitConfig(samples=4_000, test_samples=2_000, epochs=2, device="cpu")
    recipe = config.training("follower-dnl")
    assert recipe.settle
    alone = dataclasses.replace(config, recipe=dataclasses.replace(recipe, settle=False))
    games = [random_contract_game(4, 3, seed) for seed in range(3)]
    settled = dnl.fit_many(games, "follower-dnl", config)
    descended = dnl.fit_many(games, "follower-dnl", alone)
    for exact, rough in zip(settled, descended, strict=True):
        assert exact.mse < 0.2 * rough.mse
    assert torch.equal(dnl.fit(games[0], "follower-dnl", config).mse, settled[0].mse)


# ------------------------------------------------------------------------------- where to look


def test_focused_games_are_seen_as_a_whole_and_in_parts() -> None:
    game = random_security_game(4, 2, 0)
    centre = game.sample_policies(1, seeded(0))[0]
    part = Zoomed(game, centre, 0.1)
    focused = Focused(game, [part, part])
    random = focused.sample_policies(90, seeded(1))
    uniform = game.sample_policies(90, seeded(1))
    assert torch.equal(random[::3], uniform[::3])
    for turn in (1, 2):
        torch.testing.assert_close(random[turn::3], part.real(uniform[turn::3]))
    assert torch.equal(focused.ex_ante_utility(random), game.ex_ante_utility(random))
    assert (focused.shape, focused.payoff_range) == (game.shape, game.payoff_range)
    assert torch.equal(Focused(game).sample_policies(5, seeded(1)), uniform[:5])
    assert len({Focused(game, [part] * count).identity for count in range(3)}) == 3
    assert repr(focused) == "Focused(SecurityGame(N=1, M=4, S=2, A=4), parts=2)"
    assert Focused(game, (part, part)) == focused
    other = Zoomed(random_security_game(4, 2, 1), centre, 0.1)
    for bad in (other, game):
        with pytest.raises(ValueError, match="parts must be Zoomed parts of game=Security"):
            Focused(game, [bad])  # type: ignore[list-item]
