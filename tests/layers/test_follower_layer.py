"""A follower's choice as a layer: hard forward, quantal response backward, a DNL in between."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from dnl.layers import FollowerChoice, FollowerNetwork, quantal_response
from dnl.layers.stack import NetworkStack


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


def choice(n_choices: int = 4, in_features: int = 3, seed: int = 0) -> FollowerChoice:
    torch.manual_seed(seed)
    return FollowerChoice(in_features, n_choices).double()


def scorer(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    first, last = nn.Linear(3, 5, bias=False), nn.Linear(5, 4, bias=False)
    nn.init.normal_(first.weight)
    nn.init.normal_(last.weight)
    return nn.Sequential(first, nn.Tanh(), last).double()


def network(small: bool = False, seed: int = 0) -> FollowerNetwork:
    torch.manual_seed(seed)
    return FollowerNetwork(3, 2, 4, scorer(seed) if small else None).double()


def best(scores: Tensor) -> int:
    """The first of the highest scores."""
    numbers = scores.tolist()
    return max(range(len(numbers)), key=lambda c: (numbers[c], -c))


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


# ---------------------------------------------------------------------------------------- choice


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [None, 0.1, 1e-6])
@pytest.mark.parametrize("batch", [(), (0,), (50,), (2, 3, 4)])
def test_forward_is_the_one_hot_arg_max(
    batch: tuple[int, ...], temperature: float | None, dtype: torch.dtype
) -> None:
    layer, x = choice(5).to(dtype), normal(*batch, 3).to(dtype)
    layer.anneal(temperature)
    got = layer(x)
    assert (got.shape, got.dtype) == ((*batch, 5), dtype)
    for row, scores in zip(got.reshape(-1, 5), layer.scores(x).reshape(-1, 5), strict=True):
        assert row.tolist() == [float(c == best(scores)) for c in range(5)]
    if batch == (50,):
        assert (got.sum(0) > 0).sum() >= 3


@pytest.mark.parametrize("temperature", [None, 0.1])
def test_the_first_of_equal_scores_wins(temperature: float | None) -> None:
    layer = choice()
    layer.anneal(temperature)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]))
    points = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 1, 0.5]])
    assert layer(points.double()).argmax(-1).tolist() == [1, 0, 1, 0, 3]
    assert layer(points.double()).sum(-1).tolist() == [1.0] * 5
    many = layer(points.double().repeat(101, 1)).unflatten(0, (101, 5))
    assert torch.equal(many, layer(points.double()).expand(101, -1, -1))
    columns = layer.columns(points.double().mT.expand(7, -1, -1))
    assert torch.equal(columns, layer(points.double()).mT.expand(7, -1, -1))


@pytest.mark.parametrize("temperature", [2.0, 0.3, 0.05])
def test_backward_is_the_derivative_of_quantal_response(temperature: float) -> None:
    layer, x, direction = choice(), normal(20, 3).requires_grad_(), normal(20, 4, seed=1)
    layer.anneal(temperature)
    got = torch.autograd.grad(layer(x), [x, layer.weight], direction)
    relaxed = layer.relaxed(x, temperature)
    for one, other in zip(
        got, torch.autograd.grad(relaxed, [x, layer.weight], direction), strict=True
    ):
        assert_close(one, other)
    # By hand: p = softmax(x W' / (r T)) with r the root mean square of W.
    weight, r = layer.weight.detach(), layer.weight.detach().square().mean().sqrt()
    p = (x.detach() @ weight.mT / (r * temperature)).exp()
    p = p / p.sum(1, keepdim=True)
    assert_close(relaxed.detach(), p)
    d = p * (direction - (p * direction).sum(1, keepdim=True)) / temperature  # by the scores
    assert_close(got[0], d @ weight / r)
    dweight = d.mT @ x.detach()  # by W / r
    assert_close(got[1], (dweight - weight * (dweight * weight).mean() / r**2) / r)
    assert got[1].abs().max() > 1e-3


def test_without_a_temperature_there_is_no_gradient() -> None:
    layer, net, x = choice(), network(), normal(9, 3).requires_grad_()
    assert layer(x).requires_grad
    layer.anneal(None)
    net.choice.anneal(None)
    assert not layer(x).requires_grad
    net(x).sum().backward()
    assert net.choice.weight.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 1e-3 for p in net.upper.parameters())
    layer.anneal(0.5)
    assert layer.temperature == 0.5
    assert layer(x).requires_grad


def test_temperature_is_in_units_of_the_weights() -> None:
    layer, x = choice(), normal(20, 3)
    before = layer.relaxed(x, 0.3)
    with torch.no_grad():
        layer.weight.mul_(1e3)
    assert_close(layer.relaxed(x, 0.3), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_quantal_response_tends_to_the_arg_max(dtype: torch.dtype) -> None:
    scores = normal(30, 5).to(dtype)
    hard = nn.functional.one_hot(scores.argmax(-1), 5).to(dtype)
    gaps = [
        (quantal_response(scores, t) - hard).abs().amax(-1) for t in (1e9, 1.0, 0.1, 1e-2, 1e-6)
    ]
    assert_close(gaps[0], torch.full_like(gaps[0], 0.8), 1e-6)  # at first all are equally likely
    assert all((colder <= hotter).all() for hotter, colder in pairwise(gaps))
    assert gaps[-1].max() == 0 < gaps[1].min()
    ties = quantal_response(torch.tensor([1.0, 3.0, 3.0], dtype=dtype), 1e-6)
    assert ties.tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_accepted_temperature_is_too_low(dtype: torch.dtype) -> None:
    layer, x = choice().to(dtype), normal(9, 3).to(dtype).requires_grad_()
    layer.anneal(None)
    expected = layer(x)
    layer.anneal(torch.finfo(dtype).tiny)
    got = layer(x)
    assert torch.equal(got, expected)
    assert torch.autograd.grad(got.sum(), x)[0].isfinite().all()


def test_equal_weights_do_no_harm() -> None:
    layer, x = choice(), normal(9, 3).requires_grad_()
    with torch.no_grad():
        layer.weight.zero_()
    got = layer(x)
    assert got.argmax(-1).tolist() == [0] * 9
    for gradient in torch.autograd.grad(got, [x, layer.weight], normal(9, 4)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("bad", [0, -0.1, float("nan"), float("inf"), "0.1"])
def test_malformed_temperatures_are_refused(bad: Any) -> None:
    layer = choice()
    with pytest.raises(ValueError, match=f"temperature must be .* above 0, got {bad!r}"):
        layer.anneal(bad)
    assert layer.temperature == 0.1


@pytest.mark.parametrize("bad", [0, True, "3"])
@pytest.mark.parametrize("name", ["in_features", "n_choices", "out_features"])
def test_malformed_sizes_are_refused(name: str, bad: Any) -> None:
    sizes: dict[str, Any] = {"in_features": 3, "out_features": 2, "n_choices": 4}
    wrong = sizes | {name: bad}
    with pytest.raises(ValueError, match=rf"{name} must .* got .*{bad!r}"):
        FollowerNetwork(**wrong)


# --------------------------------------------------------------------------------------- network


def emitted(net: FollowerNetwork, c: int) -> tuple[Tensor, Tensor]:
    """Weight `(out, in)` and bias `(out,)` of choice `c`."""
    weight, bias = net.head.weight, net.head.bias
    return weight[:, 0] + weight[:, 1 + c], bias[:, 0] + bias[:, 1 + c]


def explicit(net: FollowerNetwork, x: Tensor) -> Tensor:
    """Every row through the layer that its own choice emits: `(B, in) -> (B, out)`."""
    rows = []
    for row in x:
        weight, bias = emitted(net, best(net.choice.scores(row)))
        rows.append(weight @ row + bias)
    return torch.stack(rows)


@pytest.mark.parametrize("small", [False, True], ids=["linear", "custom"])
def test_network_is_the_one_that_the_choice_emits(small: bool) -> None:
    net, x = network(small), normal(40, 3).requires_grad_()
    assert len(net.choice(x).argmax(-1).unique()) >= 3
    assert_close(net(x), explicit(net, x))
    assert_close(net(x.reshape(5, 2, 4, 3)).flatten(0, 2), net(x))
    assert net(x[:0]).shape == (0, 2)
    net.choice.anneal(None)  # the gradient is that of the function
    arguments, direction = [x, *net.upper.parameters()], normal(40, 2, seed=1)
    got = torch.autograd.grad(net(x), arguments, direction)
    expected = torch.autograd.grad(explicit(net, x), arguments, direction)
    for one, other in zip(got, expected, strict=True):
        assert_close(one, other, 1e-11)
    if small:
        assert net.choice.scorer is not None
        assert not hasattr(net.choice, "weight")


def test_gradients_through_the_choice_are_those_of_a_mixture() -> None:
    """Quantal response moves the boundaries: weights are a mixture of all choices' weights."""
    net, x, direction = network(), normal(10, 3), normal(10, 2, seed=1)
    net.choice.anneal(0.7)
    (got,) = torch.autograd.grad(net(x), net.choice.weight, direction)
    soft, hard = net.choice.relaxed(x, 0.7), net.choice(x).detach()
    pattern = hard + soft - soft.detach()
    pieces = [emitted(net, c) for c in range(4)]
    weight = sum(pattern[:, c, None, None] * pieces[c][0] for c in range(4))
    bias = sum(pattern[:, c, None] * pieces[c][1] for c in range(4))
    y = (weight * x.unsqueeze(1)).sum(-1) + bias
    (expected,) = torch.autograd.grad(y, net.choice.weight, direction)
    assert_close(got, expected, 1e-10)
    assert got.abs().max() > 1e-2


@pytest.mark.parametrize("small", [False, True], ids=["linear", "custom"])
def test_affine_inside_a_choice_and_jumps_across(small: bool) -> None:
    net, step = network(small), 1e-6
    net.choice.anneal(None)
    x, toward = normal(60, 3), normal(60, 3, seed=1)
    (slope,) = torch.autograd.grad(net(x.requires_grad_()).sum(), x)
    x = x.detach()
    rise = (net(x + step * toward) - net(x - step * toward)).sum(-1) / (2 * step)
    assert_close(rise, (slope * toward).sum(-1), 1e-7)
    here, there = (net.choice(point).argmax(-1) for point in (x, x + toward))
    if not small:  # choices of linear scores are convex: one piece all along
        far = (net(x + toward) - net(x)).sum(-1) - (slope * toward).sum(-1)
        assert_close(far[here == there], torch.zeros(int((here == there).sum())).double())
    low, high = torch.zeros(60).double(), torch.ones(60).double()
    for _ in range(45):  # bisection: the choice switches between low and high
        middle = (low + high) / 2
        same = net.choice(x + middle.unsqueeze(1) * toward).argmax(-1) == here
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    gap = (net(x + low.unsqueeze(1) * toward) - net(x + high.unsqueeze(1) * toward)).abs().amax(1)
    assert (here != there).sum() > 20
    assert (gap[here != there] > 1e-3).double().mean() > 0.9  # a jump may happen to be small


@pytest.mark.parametrize("temperature", [None, 0.5])
@pytest.mark.parametrize("small", [False, True], ids=["linear", "custom"])
def test_stacks_equal_each_alone(small: bool, temperature: float | None) -> None:
    nets: list[nn.Module] = [network(small, seed) for seed in range(3)]
    for net in nets:
        assert isinstance(net, FollowerNetwork)
        net.choice.anneal(temperature)
    x, direction = normal(3, 8, 3).requires_grad_(), normal(3, 8, 2, seed=1)
    expected = torch.stack([net(own) for net, own in zip(nets, x, strict=True)])
    (slope,) = torch.autograd.grad(expected, x, direction)

    def one(parameters: dict[str, Tensor], own: Tensor) -> Tensor:
        y: Tensor = functional_call(nets[0], parameters, (own,))
        return y

    for got in (vmap(one)(stack_module_state(nets)[0], x), NetworkStack(nets)(x)):
        assert_close(got, expected)
        assert_close(torch.autograd.grad(got, x, direction)[0], slope)
