"""Networks on posteriors against plain sums over joint signals; how they are trained."""

import dataclasses
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dnl
from dnl.layers import FollowerChoice, posterior
from dnl.layers.posterior import PosteriorNetwork
from dnl.layers.stack import NetworkStack, concatenate
from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.fitting import fit, fit_many
from dnl.surrogates.registry import Architecture
from dnl.training import regression
from dnl.training.trainer import StackedRegression
from games import PersuasionGame, didactic_game, synthetic_game

SIZES = [(1, 3, 4), (2, 3, 3), (3, 2, 3)]  # N, M, S
# 70 = 2 * 32 + 6: the last batch of every epoch is a partial one.
TINY = FitConfig(
    samples=70, test_samples=50, epochs=4, batch_size=32, dtype="float64", device="cpu"
)
GAMES = [synthetic_game(2, 2, 3, 3, seed=seed, law="contested") for seed in range(3)]


def network(sizes: tuple[int, int, int] = SIZES[1], seed: int = 0) -> PosteriorNetwork:
    """With a prior of its own, and scores around 0 so that several choices are made."""
    torch.manual_seed(seed)
    prior = torch.rand(sizes[2], dtype=torch.float64) + 0.2
    net = PosteriorNetwork(*sizes, 5).double()
    net.set_prior(prior)
    with torch.no_grad():
        weight = net.follower.choice.weight
        weight.copy_(weight - weight.mean(1, keepdim=True))
    return net


def profiles(sizes: tuple[int, int, int], count: int, seed: int = 1) -> Tensor:
    """`(count, N, S, M)`: the first half inside the simplex, the others pure."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.rand(count, sizes[0], sizes[2], sizes[1], generator=generator).double() + 0.1
    hard = nn.functional.one_hot(inner[count // 2 :].argmax(-1), sizes[1])
    return torch.cat([(inner / inner.sum(-1, keepdim=True))[: count // 2], hard.double()])


def slow(
    net: PosteriorNetwork, x: Tensor, temperature: float | None = None, only: slice = slice(None)
) -> Tensor:
    """`(B, N, S, M) -> (B, N)`, one joint signal after the other, sender 0 slowest."""
    choice, layer = net.follower.choice, net.follower.head
    rows = []
    for policies in x:
        total = torch.zeros(len(policies), dtype=torch.float64)
        signals = list(itertools.product(range(policies.shape[2]), repeat=len(policies)))
        for m in signals[only]:
            q = net.prior
            for n, signal in enumerate(m):
                q = q * policies[n, :, signal]
            if q.sum() == 0:
                continue
            y = q / q.sum()
            scores = choice.weight @ y
            numbers = scores.tolist()
            pattern = torch.zeros(len(numbers), dtype=torch.float64)
            pattern[numbers.index(max(numbers))] = 1
            if temperature is not None:
                soft = (scores / choice.weight.square().mean().sqrt() / temperature).softmax(0)
                pattern = pattern + soft - soft.detach()
            weight = layer.weight[:, 0] + (layer.weight[:, 1:] * pattern[:, None]).sum(1)
            bias = layer.bias[:, 0] + layer.bias[:, 1:] @ pattern
            total = total + q.sum() * (weight @ y + bias)
        rows.append(total)
    return torch.stack(rows)


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


# --------------------------------------------------------------------------------------- the sum


@pytest.mark.parametrize("entries", [1, 100, 2**22])
@pytest.mark.parametrize("temperature", [None, 0.3])
@pytest.mark.parametrize("sizes", SIZES)
def test_equals_a_loop_over_joint_signals(
    sizes: tuple[int, int, int],
    temperature: float | None,
    entries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, part = [], PosteriorNetwork._posteriors

    def spy(self: PosteriorNetwork, policies: Tensor, index: Tensor) -> Tensor:
        held.append(len(index))
        return part(self, policies, index)

    monkeypatch.setattr(PosteriorNetwork, "_posteriors", spy)
    monkeypatch.setattr(posterior, "SCORE_BYTES", 8 * entries)
    net, x = network(sizes), profiles(sizes, 8).requires_grad_()
    net.follower.choice.anneal(temperature)
    got, expected = net(x.flatten(1)), slow(net, x, temperature)
    assert sum(held) == sizes[1] ** sizes[0]
    assert max(held) == max(1, min(entries // (8 * 5), sum(held)))
    assert_close(got, expected)
    assert len(net.features(x.flatten(1)).sum((0, 2)).nonzero()) >= 2  # choices differ
    assert_close(net(x.flatten(1).reshape(2, 1, 4, -1)).flatten(0, 2), got)
    assert net(x.flatten(1)[0]).shape == (sizes[0],)
    assert net(x.flatten(1)[:0]).shape == (0, sizes[0])
    arguments = [x, *net.follower.upper.parameters()]
    arguments += [net.follower.choice.weight] if temperature else []
    direction = torch.randn(got.shape, generator=torch.Generator().manual_seed(2)).double()
    gradients = torch.autograd.grad(got, arguments, direction)
    for one, other in zip(
        gradients, torch.autograd.grad(expected, arguments, direction), strict=True
    ):
        # Where a joint signal has no probability, its posterior and so its slope are undefined.
        inner = slice(4) if one.shape == x.shape else slice(None)
        assert_close(one[inner], other[inner], 1e-10)
        assert one.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sizes", SIZES)
def test_names_of_signals_do_not_matter_and_scale_is_kept(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    net, x = network(sizes).to(dtype), profiles(sizes, 10).to(dtype)
    before, atol = net(x.flatten(1)), 1e-13 if dtype == torch.float64 else 1e-5
    assert before.dtype == dtype
    for n in range(sizes[0]):
        renamed = x.clone()
        renamed[:, n] = renamed[:, n].roll(1, -1)
        assert not torch.equal(renamed, x)
        assert_close(net(renamed.flatten(1)), before, atol)
        scaled = x.clone()
        scaled[:, n] *= 3
        assert_close(net(scaled.flatten(1)) / 3, before, atol)
        assert (net(x.roll(1, 2).flatten(1)) - before).abs().max() > 1e-3  # names of states do


@pytest.mark.parametrize("sizes", SIZES)
def test_some_joint_signals_estimate_the_sum(sizes: tuple[int, int, int]) -> None:
    net, policies = network(sizes), profiles(sizes, 6)
    x = policies.flatten(1)
    whole, estimates = net(x), []
    for k in range(net.n_joint):
        net.signals = torch.tensor([k])
        estimates.append(net(x))
        assert_close(estimates[k], net.n_joint * slow(net, policies, only=slice(k, k + 1)))
    assert_close(torch.stack(estimates).mean(0), whole)
    net.signals = torch.tensor([2, 2, 0])  # drawn with repetition
    assert_close(net(x), (2 * estimates[2] + estimates[0]) / 3)
    assert (net(x) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_joint_signals_without_probability_are_harmless(dtype: torch.dtype) -> None:
    net = network((2, 3, 3)).to(dtype)
    unused = profiles((2, 2, 3), 4)  # the same with a third signal that nobody sends
    x = nn.functional.pad(unused, (0, 1)).to(dtype)
    x[0] = torch.tensor([[1.0, 1e-30, 0.0]])  # and one of a probability that vanishes
    x.requires_grad_()
    got = net(x.flatten(1))
    assert_close(got[1:], slow(network((2, 2, 3)), unused)[1:].to(dtype), 1e-5)
    for gradient in torch.autograd.grad(got.sum(), [x, *net.parameters()]):
        assert gradient.isfinite().all()


def test_prior_is_copied_and_checked() -> None:
    prior = torch.tensor([0.2, 0.8])
    net = PosteriorNetwork(2, 2, 2, 3)
    assert net.prior.tolist() == [1.0, 1.0]
    net.set_prior(prior)
    prior.zero_()
    assert net.prior.tolist() == pytest.approx([0.2, 0.8])
    assert [name for name, _ in net.named_buffers()] == ["prior"]
    with pytest.raises(ValueError, match=r"prior must have shape \(S,\) = \(2\), got \(3,\)"):
        net.set_prior(torch.ones(3))


# ------------------------------------------------------------------------- games, least squares


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    "game",
    [
        didactic_game(),
        *(synthetic_game(*size, seed=9, law="contested") for size in [(1, 3, 3, 4), (3, 2, 4, 3)]),
        synthetic_game(2, 4, 4, 4, seed=6),
    ],
    ids=["didactic", "one sender", "three", "paper"],
)
def test_every_persuasion_game_is_such_a_network(game: PersuasionGame, given: bool) -> None:
    n, m, s, a = game.shape
    net, factor = PosteriorNetwork(n, m, s, a).double(), game.prior  # in scores and heads
    if given:
        net.set_prior(game.prior)
        factor = torch.ones_like(game.prior)
    (head,) = net.follower.upper
    with torch.no_grad():
        net.follower.choice.weight.copy_((factor.unsqueeze(1) * game.receiver_utility).mT)
        for parameter in head.parameters():
            parameter.zero_()
        head.get_parameter("weight")[:, 1:] = (factor.unsqueeze(1) * game.sender_utility).mT
    x = game.sample_policies(200, torch.Generator().manual_seed(0))
    assert_close(net(x.flatten(1)), game.ex_ante_utility(x), 1e-10)
    assert game.ex_ante_utility(x).std(0).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sizes", SIZES)
def test_refit_is_the_least_squares_optimum(
    sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    net, x = network(sizes).to(dtype), profiles(sizes, 5000).flatten(1).to(dtype)
    y = torch.randn(5000, sizes[0], generator=torch.Generator().manual_seed(3)).to(dtype)
    y += 2 * network(sizes, seed=4)(x.double()).detach().to(dtype)
    choices, before = net.features(x), (net(x) - y).square().sum(0)
    net.refit(x, y)
    after = (net(x) - y).square().sum(0).double()
    features = choices.flatten(1).detach().double().numpy()
    solution, *_ = np.linalg.lstsq(
        features, y.double().numpy(), rcond=1e-5
    )  # rounding of a sum is no feature
    best = torch.from_numpy(((features @ solution - y.double().numpy()) ** 2).sum(0))
    assert (after < before).all()
    torch.testing.assert_close(after, best, rtol=1e-6, atol=0, check_dtype=False)
    assert torch.equal(net.features(x), choices)
    assert all(p.requires_grad and p.dtype == dtype for p in net.parameters())


def test_stacks_keep_each_network_s_prior() -> None:
    nets: list[nn.Module] = [network(seed=seed) for seed in range(3)]
    stack, x = NetworkStack(nets), profiles(SIZES[1], 6).flatten(1)
    expected = torch.stack([net(x) for net in nets])
    assert_close(stack(x), expected)
    assert sorted(n for n, p in stack.named_parameters() if not p.requires_grad) == [
        "stacked.prior"
    ]
    for index, net in enumerate(nets):
        assert_close(stack.network(index)(x), expected[index])
        assert dict(stack.network(index).named_buffers())["prior"].equal(net.get_buffer("prior"))
    stack.set_network(0, nets[2])
    assert_close(stack(x), expected[[2, 1, 2]])
    order = concatenate([stack.select(slice(1, 3)), NetworkStack(nets[:1])])
    assert_close(order(x), expected[[1, 2, 0]])
    other, file = NetworkStack([network(seed=9) for _ in nets]), io.BytesIO()
    torch.save(order.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), order(x))


# -------------------------------------------------------------------------------------- training


def stacked(game: PersuasionGame, n_rows: int = 16) -> StackedRegression:
    n, m, s, _ = game.shape
    nets = [network((n, m, s), seed=seed) for seed in range(2)]
    x = game.sample_policies(n_rows, torch.Generator().manual_seed(5))
    y = game.ex_ante_utility(x).mT.unsqueeze(0) / 10
    recipe = dataclasses.replace(TINY.training("posterior-dnl"), batch_size=n_rows)
    data = x.flatten(1).unsqueeze(0)
    labels = [str(label) for label in range(2 * n)]
    return StackedRegression(NetworkStack(nets), data, y, [(0, "game")], labels, recipe, 10**9)


def test_two_subsamples_estimate_the_squared_error(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, module = 600, stacked(GAMES[0])
    rows = torch.arange(16).unsqueeze(0)
    learned = [p for p in module.stack.parameters() if p.requires_grad]

    def at(step: int) -> Tensor:
        loss = module.losses(rows, step).sum()
        gradients = torch.autograd.grad(loss, learned)
        return torch.cat([loss.detach().reshape(1), *(g.flatten() for g in gradients)])

    exact = at(0)
    error = module.stack(module.inputs[0]).mT - module.targets
    assert_close(exact[0], error.square().mean(-1).sum())
    monkeypatch.setattr(regression, "SAMPLED_SIGNALS", 2)  # of four: each subsample is one of them
    estimates = torch.stack([at(step) for step in range(steps)])
    noise = estimates.std(0) / steps**0.5
    away = (estimates.mean(0) - exact).abs()
    assert (away <= 4.5 * noise + 1e-12).all()
    # The square of one estimate would be off by its variance, far more than the noise seen.
    single = []
    for k in range(4):
        module.stack.template.signals = torch.tensor([k])
        single.append((module.stack(module.inputs[0]).mT - module.targets).square().mean(-1).sum())
    assert torch.stack(single).mean() - exact[0] > 20 * noise[0]


@pytest.mark.parametrize("joint_signals", [2048, 2])
def test_games_together_are_fitted_as_each_alone(
    joint_signals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regression, "SAMPLED_SIGNALS", joint_signals)
    together = fit_many(GAMES, "posterior-dnl", TINY)
    for game, one in zip(GAMES, together, strict=True):
        alone = fit(game, "posterior-dnl", TINY)
        assert getattr(one.networks.template, "signals", 0) is None  # it sums over all of them
        torch.testing.assert_close(one.mse, alone.mse, rtol=1e-9, atol=0)
        for name, value in one.networks.state_dict().items():
            torch.testing.assert_close(value, alone.networks.state_dict()[name], rtol=1e-8, atol=0)


@pytest.mark.whole_run
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_budget_explains_nearly_everything(dtype: str, tmp_path: Path) -> None:
    game = synthetic_game(2, 2, 2, 2, seed=101, law="contested")
    config = FitConfig(samples=4000, epochs=10, test_samples=2000, dtype=dtype, device="cpu")
    fitted = dnl.fit(game, "posterior-dnl", config)
    assert (fitted.unexplained < 0.05).all()
    fitted.save(tmp_path / "fit.pt")
    loaded = FittedSurrogate.load(tmp_path / "fit.pt")
    policies = game.sample_policies(20, torch.Generator().manual_seed(4)).requires_grad_()
    slopes = []
    for surrogate in (fitted, loaded):
        (gradient,) = torch.autograd.grad(surrogate(policies)[:, 0].sum(), policies)
        slopes.append(gradient)
    assert torch.equal(loaded(policies), fitted(policies))
    assert torch.equal(*slopes)
    # With the others fixed a cell is linear: the slope of one sender's policy is a difference.
    (chosen,) = (c for c in fitted.networks.template.modules() if isinstance(c, FollowerChoice))
    assert chosen.temperature is None
    toward = game.sample_policies(20, torch.Generator().manual_seed(6)) - policies.detach()
    toward[:, 1] = 0
    step = 1e-4
    with torch.no_grad():
        low, high = (fitted(policies + t * toward)[:, 0] for t in (-step, step))
    rise, product = (high - low) / (2 * step), (slopes[0] * toward).sum((1, 2, 3))
    atol = 1e-6 * float(game.payoff_range[0])
    inside = (rise - product).abs() <= atol
    assert inside.sum() >= 18  # a cell's boundary may be as near as the step
    assert product.abs().max() > 1e3 * atol


def test_a_network_may_be_told_the_prior(tmp_path: Path) -> None:
    given = dataclasses.replace(TINY, architecture=Architecture(prior="given"))
    told, untold = fit_many(GAMES, "posterior-dnl", given), fit_many(GAMES, "posterior-dnl", TINY)
    for game, fitted, other in zip(GAMES, told, untold, strict=True):
        network = fitted.networks.network(0)
        torch.testing.assert_close(network.get_buffer("prior"), game.prior)
        torch.testing.assert_close(fitted.learned_game().prior, game.prior)
        assert (other.networks.network(0).get_buffer("prior") == 1).all()
        assert (fitted.mse != other.mse).all()
    told[0].save(tmp_path / "fit.pt")
    policies = GAMES[0].sample_policies(5, torch.Generator().manual_seed(0))
    loaded = FittedSurrogate.load(tmp_path / "fit.pt")
    torch.testing.assert_close(loaded(policies), told[0](policies), rtol=0, atol=0)
    with pytest.raises(ValueError, match="prior must be one of 'learned', 'given', got 'known'"):
        Architecture(prior="known")


# ---------------------------------------------------------------------------- the game learned


@pytest.mark.parametrize("shape", [(1, 3, 3, 3), (2, 2, 3, 3), (3, 2, 2, 2)])
def test_the_learned_game_is_the_surrogate(shape: tuple[int, int, int, int]) -> None:
    true = synthetic_game(*shape, seed=3, law="contested")
    fitted = fit(true, "posterior-dnl", TINY)
    learned = fitted.learned_game(support=0)
    assert learned.shape[:3] == shape[:3]
    assert learned.prior.dtype == torch.float64
    policies = true.sample_policies(200, torch.Generator().manual_seed(0))
    torch.testing.assert_close(learned.ex_ante_utility(policies), fitted(policies))


def test_a_given_prior_is_the_learned_game_s() -> None:
    net = network()
    prior, v, u = net.game()
    torch.testing.assert_close(prior, net.prior / net.prior.sum())
    learned = PersuasionGame(prior, v, u, SIZES[1][1])
    x = profiles(SIZES[1], 40)
    torch.testing.assert_close(learned.ex_ante_utility(x), net(x.flatten(1)))


def test_rare_choices_are_no_actions_of_the_learned_game() -> None:
    fitted = fit(GAMES[0], "posterior-dnl", TINY)
    everything = fitted.learned_game(support=0)
    policies = everything.sample_policies(5_000, torch.Generator().manual_seed(0))
    outcomes = everything.stacked().outcome_distribution(policies.unsqueeze(0))[0]
    probability = outcomes.mean(0).sum(0).sort().values
    middle = (probability[:-1] + probability[1:]) / 2
    assert len(middle) >= 2
    for rank, support in enumerate(middle.tolist()):
        assert fitted.learned_game(support).n_actions == everything.n_actions - rank - 1


@pytest.mark.parametrize("support", [-0.1, 1.1, float("nan"), "some"])
def test_the_learned_game_needs_a_support(support: float) -> None:
    with pytest.raises(ValueError, match="support must"):
        fit(GAMES[0], "posterior-dnl", TINY).learned_game(support)


def test_other_surrogates_have_learned_no_game() -> None:
    with pytest.raises(ValueError, match=r"surrogate must learn a receiver, .* got 'relu'"):
        fit(GAMES[0], "relu", TINY).learned_game()
