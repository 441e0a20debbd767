"""Activation patterns, emitted layers and the discontinuous network against explicit matrices."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, stack_module_state, vmap

from dnl.layers import (
    PATTERN_GRADIENTS,
    ActivationPattern,
    DiscontinuousMLP,
    EmittedLinear,
    Linear,
    PatternBias,
    PatternedMLP,
    emitted,
)

Sizes = tuple[int, int, int]  # (in, out, context)

SIZES: list[Sizes] = [(5, 2, 3), (3, 3, 2), (2, 5, 4), (4, 1, 1), (1, 1, 2), (1, 3, 1)]
# Products held at a time, and threads: one row per chunk, a few, all of them.
CHUNKS = [(1, 1), (7, 1), (25, 2), (2**19, 1), (2**19, 3)]
DTYPES = [torch.float64, torch.float32]


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


def emitted_linear(sizes: Sizes) -> EmittedLinear:
    layer = EmittedLinear(*sizes).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters(), start=100):
            parameter.copy_(normal(*parameter.shape, seed=seed))
    return layer


def network(**arguments: Any) -> DiscontinuousMLP:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"lower": (5,), "upper": (6, 4), "hyper": (7,)}
    return DiscontinuousMLP(2, 2, **(sizes | arguments)).double()


@pytest.fixture(params=CHUNKS, ids="{0[0]} products, {0[1]} threads".format)
def chunks(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    threads: Callable[[int], None],
) -> None:
    """What emitted layers hold at a time, and threads that share it."""
    budget, count = request.param
    monkeypatch.setitem(emitted.CHUNK_PRODUCTS, "cpu", budget)
    threads(count)


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def assert_same_gradients(got: Tensor, expected: Tensor, arguments: list[Tensor]) -> None:
    """Of both, weighed at random, with respect to the same arguments."""
    direction = normal(*got.shape, seed=3)
    for gradient, wanted in zip(
        torch.autograd.grad(got, arguments, direction),
        torch.autograd.grad(expected, arguments, direction),
        strict=True,
    ):
        assert_close(gradient, wanted)


# -------------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradient", PATTERN_GRADIENTS)
def test_pattern_is_hard_bit_for_bit(gradient: str, dtype: torch.dtype) -> None:
    edges = [0.0, -0.0, 1e-30, -1e-30, 0.1, -0.1, 40.0, -40.0, 1e30, -1e30, math.inf, -math.inf]
    x = torch.cat([torch.tensor(edges), normal(5000, seed=1).mul(10)]).to(dtype)
    got = ActivationPattern(gradient)(x.requires_grad_())
    assert got.tolist() == [1.0 if entry > 0 else 0.0 for entry in x.tolist()]
    assert (got.dtype, got.requires_grad) == (dtype, gradient == "straight-through")
    assert ActivationPattern().gradient == "none"


def test_straight_through_has_the_derivative_of_the_sigmoid() -> None:
    x, weights = normal(3, 50, seed=2).mul(3).requires_grad_(), normal(3, 50, seed=3)
    pattern = ActivationPattern("straight-through")(x)
    slopes = [math.exp(-abs(t)) / (1 + math.exp(-abs(t))) ** 2 for t in x.flatten().tolist()]
    (got,) = torch.autograd.grad(pattern, x, weights)
    assert_close(got, weights * torch.tensor(slopes, dtype=torch.float64).reshape(3, 50))


@pytest.mark.parametrize("gradient", PATTERN_GRADIENTS)
@pytest.mark.parametrize("batch", [(), (0,), (6,), (2, 3)])
def test_patterned_mlp_returns_activations_and_every_pattern(
    gradient: str, batch: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    mlp = PatternedMLP([3, 4, 5], gradient).double()
    x = normal(*batch, 3, seed=4)
    w1, b1, w2, b2 = mlp.parameters()
    first = x @ w1.mT + b1
    second = first.clamp_min(0) @ w2.mT + b2
    activations, pattern = mlp(x)
    assert_close(activations, second.clamp_min(0))
    assert torch.equal(pattern, torch.cat([first > 0, second > 0], -1).double())
    assert mlp.pattern_features == pattern.shape[-1] == 9


def test_pattern_bias_is_a_small_relu_network() -> None:
    bias, pattern = PatternBias(5, 2, hidden=(4, 3)).double(), (normal(6, 5) > 0).double()
    a, b, c = (step for step in bias.modules() if isinstance(step, nn.Linear))
    assert_close(bias(pattern), c(b(a(pattern).clamp_min(0)).clamp_min(0)))


# --------------------------------------------------------------------------------- emitted layers


def explicit(weight: Tensor, bias: Tensor, x: Tensor, context: Tensor) -> Tensor:
    """One matrix per sample, built and applied one sample at a time."""
    rows = []
    points, contexts = x.reshape(-1, x.shape[-1]), context.reshape(-1, context.shape[-1])
    for point, c in zip(points, contexts, strict=True):
        matrix, offset = weight[:, 0], bias[:, 0]
        for j in range(len(c)):
            matrix, offset = matrix + c[j] * weight[:, j + 1], offset + c[j] * bias[:, j + 1]
        rows.append(matrix @ point + offset)
    return torch.stack(rows).reshape(*x.shape[:-1], len(bias))


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("sizes", SIZES)
def test_emitted_layer_equals_one_matrix_per_sample(sizes: Sizes, batch: tuple[int, ...]) -> None:
    layer = emitted_linear(sizes)
    x, context = normal(*batch, sizes[0], seed=1), normal(*batch, sizes[2], seed=2)
    arguments = [x.requires_grad_(), context.requires_grad_(), layer.weight, layer.bias]
    expected = explicit(layer.weight, layer.bias, x, context)
    weights, biases = layer.emit(context)
    got = layer(x, context)
    assert_close(got, expected)
    assert_close((weights @ x.unsqueeze(-1)).squeeze(-1) + biases, expected)
    assert_same_gradients(got, expected, arguments)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("sizes", [(5, 2, 3), (2, 5, 4)])
def test_each_gradient_does_not_need_the_others(sizes: Sizes, needed: tuple[int, ...]) -> None:
    layer = emitted_linear(sizes).requires_grad_(False)
    arguments = [normal(4, sizes[0], seed=1), normal(4, sizes[2], seed=2), layer.weight]
    wanted = [arguments[i].requires_grad_() for i in needed]
    got = torch.autograd.grad(layer(*arguments[:2]).square().sum(), wanted)
    expected = explicit(arguments[2], layer.bias, *arguments[:2]).square().sum()
    for gradient, want in zip(got, torch.autograd.grad(expected, wanted), strict=True):
        assert_close(gradient, want, 1e-11)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("sizes", SIZES)
def test_emitted_layer_passes_gradcheck(sizes: Sizes) -> None:
    layer = emitted_linear(sizes)

    def function(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y: Tensor = functional_call(layer, {"weight": weight, "bias": bias}, (x, context))
        return y

    inputs = [normal(3, sizes[0], seed=1), normal(3, sizes[2], seed=2)]
    inputs += [parameter.detach() for parameter in layer.parameters()]
    assert torch.autograd.gradcheck(function, [t.clone().requires_grad_() for t in inputs])


# Which axis is mapped over, None for shared: weight (and bias), input, context.
IN_DIMS = [(0, 0, 0), (0, None, None), (None, 0, 0), (0, 1, None), (0, None, 1), (None, 0, None)]


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("in_dims", IN_DIMS)
@pytest.mark.parametrize("batch", [(4,), (2, 3)])
@pytest.mark.parametrize("sizes", [(5, 2, 3), (3, 3, 2), (2, 5, 4)])
def test_stacks_of_emitted_layers_equal_each_alone(
    sizes: Sizes,
    batch: tuple[int, ...],
    in_dims: tuple[int | None, int | None, int | None],
) -> None:
    layer = emitted_linear(sizes)
    dims = (in_dims[0], in_dims[0], *in_dims[1:])
    shapes = [layer.weight.shape, layer.bias.shape, (*batch, sizes[0]), (*batch, sizes[2])]
    arguments = [
        normal(*shape, seed=seed) if dim is None else normal(3, *shape, seed=seed).movedim(0, dim)
        for seed, (shape, dim) in enumerate(zip(shapes, dims, strict=True))
    ]
    arguments = [argument.clone().requires_grad_() for argument in arguments]

    def function(weight: Tensor, bias: Tensor, x: Tensor, context: Tensor) -> Tensor:
        y: Tensor = functional_call(layer, {"weight": weight, "bias": bias}, (x, context))
        return y

    got = vmap(function, in_dims=dims)(*arguments)
    pick = [
        [t if dim is None else t.select(dim, v) for t, dim in zip(arguments, dims, strict=True)]
        for v in range(3)
    ]
    expected = torch.stack([explicit(*own) for own in pick])
    assert_close(got, expected)
    assert_same_gradients(got, expected, arguments)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("sizes", SIZES)
def test_weights_of_many_emitted_layers_at_once(sizes: Sizes) -> None:
    layer = emitted_linear(sizes)
    shapes = [layer.weight.shape, layer.bias.shape, (7, sizes[0]), (7, sizes[2])]
    arguments = [normal(3, *shape, seed=s).requires_grad_() for s, shape in enumerate(shapes)]
    weight, bias, x, context = arguments
    got = functional_call(layer, {"weight": weight, "bias": bias}, (x, context))
    expected = torch.stack([explicit(*own) for own in zip(*arguments, strict=True)])
    assert_close(got, expected)
    assert_same_gradients(got, expected, arguments)


@pytest.mark.parametrize("shape", [(7,), (2, 7), (3, 1, 7), (6, 7)])
def test_many_emitted_layers_need_rows_for_each(shape: tuple[int, ...]) -> None:
    layer = emitted_linear((2, 5, 4))
    own = {"weight": normal(3, *layer.weight.shape), "bias": normal(3, *layer.bias.shape)}
    message = re.escape(f"x must be (3, B, in), got {(*shape, 2)}")
    with pytest.raises(ValueError, match=message):
        functional_call(layer, own, (normal(*shape, 2), normal(*shape, 4)))


@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_many_linear_layers_at_once(bias: bool) -> None:
    layers = [Linear(4, 2, bias).double() for _ in range(3)]
    own, x = stack_module_state(layers)[0], normal(3, 7, 4)
    got = functional_call(layers[0], own, (x,))
    assert_close(got, torch.stack([layer(part) for layer, part in zip(layers, x, strict=True)]))
    for y, layer, part in zip(got, layers, x, strict=True):
        assert_close(y, part @ layer.weight.mT + (layer.bias if bias else 0.0))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("budget", [1, 60, 200, 10**6])
def test_few_products_are_held_at_a_time(
    budget: int, count: int, monkeypatch: pytest.MonkeyPatch, threads: Callable[[int], None]
) -> None:
    passes: list[emitted._Chunks] = []
    held: list[Tensor] = []

    class Spied(emitted._Chunks):
        def __init__(self, *arguments: Tensor) -> None:
            super().__init__(*arguments)
            passes.append(self)

        def products(self, *arguments: Tensor) -> Tensor:
            held.append(super().products(*arguments))
            return held[-1]

    monkeypatch.setattr(emitted, "_Chunks", Spied)
    monkeypatch.setitem(emitted.CHUNK_PRODUCTS, "cpu", budget)
    threads(count)
    per_row = 2 * 5
    y = vmap(emitted_linear((2, 5, 4)))(normal(3, 7, 2), normal(3, 7, 4))
    forward = [products.numel() for products in held]
    chunks = passes[0]
    rows = 3 * (7 + chunks.padding)
    assert sum(forward) == rows * per_row
    assert chunks.groups == max(1, min(3, count * budget // (7 * per_row)))
    if chunks.groups == 1:  # its rows take all threads
        assert chunks.lanes == min(count, max(1, budget * count // per_row), 7)
    assert chunks.padding < chunks.parts * chunks.lanes
    y.sum().backward()
    assert [products.numel() for products in held] == 2 * forward
    assert len(passes) == 2
    for one in passes:  # all in the same memory, and little of it
        assert one.memory.numel() == max(forward) <= count * max(budget, per_row)
    assert len({products.data_ptr() for products in held}) == 2


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("sizes", [(5, 2, 3), (3, 3, 2), (2, 5, 4)])
def test_jacobians_by_torch_func(sizes: Sizes) -> None:
    layer = emitted_linear(sizes)
    x, context = normal(6, sizes[0], seed=1), normal(6, sizes[2], seed=2)
    parameters = dict(layer.named_parameters())

    def plain(parameters: dict[str, Tensor], x: Tensor, context: Tensor) -> Tensor:
        told = torch.cat([torch.ones_like(context[:, :1]), context], -1)
        weight = torch.einsum("bc,oci->boi", told, parameters["weight"])
        return torch.einsum("boi,bi->bo", weight, x) + told @ parameters["bias"].mT

    def ours(parameters: dict[str, Tensor], x: Tensor, context: Tensor) -> Tensor:
        result: Tensor = functional_call(layer, parameters, (x, context))
        return result

    got, expected = (
        jacrev(function, argnums=(0, 1, 2))(parameters, x, context) for function in (ours, plain)
    )
    for name in parameters:
        assert_close(got[0][name], expected[0][name])
    for one, other in zip(got[1:], expected[1:], strict=True):
        assert_close(one, other)


def test_products_keep_their_precision_under_autocast() -> None:
    layer = emitted_linear((4, 6, 3)).float()
    x, context = normal(9, 4, seed=1).float(), normal(9, 3, seed=2).float()
    weight, _ = layer.emit(context)
    expected = torch.einsum("boi,bi->bo", weight, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(x, context)
        zero = layer(torch.zeros_like(x), context)  # the bias alone is a product of autocast's
        (rounded - zero).sum().backward()
    torch.testing.assert_close((rounded - zero).detach(), expected.detach(), rtol=0, atol=1e-5)
    assert layer.weight.grad is not None
    plain = torch.autograd.grad(expected.sum(), layer.weight)[0]
    torch.testing.assert_close(layer.weight.grad, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", [(0,), (2, 0), (0, 3)])
@pytest.mark.parametrize("sizes", [(5, 2, 3), (3, 3, 2), (2, 5, 4)])
def test_empty_batch(sizes: Sizes, batch: tuple[int, ...]) -> None:
    layer = emitted_linear(sizes)
    y = layer(normal(*batch, sizes[0]), normal(*batch, sizes[2]))
    assert y.shape == (*batch, sizes[1])
    gradients = torch.autograd.grad(y.sum(), list(layer.parameters()))
    assert not any(gradient.any() for gradient in gradients)


def test_emitted_layer_starts_like_a_linear_one() -> None:
    torch.manual_seed(0)
    layer = EmittedLinear(in_features=25, out_features=400, context_features=16)
    for parameter in layer.parameters():
        assert 0.97 / 5 < parameter[:, 0].abs().max() <= 1 / 5
        assert 0.97 / 20 < parameter[:, 1:].abs().max() <= 1 / 20


# -------------------------------------------------------------------------- discontinuous network


def upper_network(emitted: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """The upper part with given weights `(out, in)` and biases `(out,)`."""
    for i, (weight, bias) in enumerate(emitted):
        x = (x if i == 0 else x.clamp_min(0)) @ weight.mT + bias
    return x


@pytest.mark.parametrize("lower", [(5,), (4, 3)])
@pytest.mark.parametrize("gradient", PATTERN_GRADIENTS)
def test_same_pattern_means_same_upper_network(gradient: str, lower: tuple[int, ...]) -> None:
    net = network(lower=lower, pattern_gradient=gradient)
    points = 3 * normal(150, 2)
    _, patterns = net.lower(points)
    pieces, piece_of = patterns.unique(dim=0, return_inverse=True)
    emitted = net.emitted(points)
    firsts = []
    for piece in range(len(pieces)):
        own = piece_of == piece
        for tensor in (tensor for pair in emitted for tensor in pair):
            assert_close(tensor[own], tensor[own][:1].expand_as(tensor[own]))
        shared = [(weight[own][0], bias[own][0]) for weight, bias in emitted]
        assert_close(net(points[own]), upper_network(shared, net.lower(points[own])[0]))
        firsts.append(torch.cat([t.flatten() for pair in shared for t in pair]))
    gaps = torch.cdist(torch.stack(firsts), torch.stack(firsts))
    assert len(pieces) > 5
    assert (gaps + torch.eye(len(pieces)) > 1e-3).all()


def test_output_is_continuous_inside_a_piece() -> None:
    net = network()
    for point, direction in zip(normal(8, 2, seed=1), normal(8, 2, seed=2), strict=True):
        (first,) = net.lower.layers
        crossings = -(first(point)) / (direction @ first.weight.mT)  # where a unit changes sign
        start = crossings[crossings < 0].max() if (crossings < 0).any() else torch.tensor(-1.0)
        end = crossings[crossings > 0].min() if (crossings > 0).any() else torch.tensor(1.0)
        inside = torch.linspace(1e-9, 1 - 1e-9, 4001, dtype=torch.float64).unsqueeze(1)
        values = net(point + (start + inside * (end - start)) * direction)
        coarse, fine = values[::10].diff(dim=0).abs().amax(), values.diff(dim=0).abs().amax()
        assert fine <= 0.15 * coarse  # a jump would not shrink with the step


def test_without_pattern_gradient_lower_parameters_learn_through_activations_only() -> None:
    points, direction = normal(30, 2, seed=1), normal(30, 2, seed=2)
    gradients: list[tuple[Tensor, ...]] = []
    for gradient in PATTERN_GRADIENTS:  # "none" comes first
        net = network(pattern_gradient=gradient)
        lower = list(net.lower.parameters())
        gradients.append(torch.autograd.grad(net(points), lower, direction))
        hyper = torch.autograd.grad(net(points), list(net.hyper.parameters()), direction)
        assert all(g.abs().max() > 1e-4 for g in hyper)
    frozen = [(w.detach(), b.detach().unsqueeze(1)) for w, b in net.emitted(points)]
    output = upper_network(frozen, net.lower(points)[0].unsqueeze(1)).squeeze(1)
    expected = torch.autograd.grad(output, lower, direction)
    for none, straight, wanted in zip(*gradients, expected, strict=True):
        assert_close(none, wanted)
        assert (straight - wanted).abs().max() > 1e-4


def test_straight_through_changes_no_output() -> None:
    plain, straight = network(), network(pattern_gradient="straight-through")
    points = normal(50, 2)
    assert torch.equal(plain(points), straight(points))


@pytest.mark.parametrize("name", ["lower", "upper", "hyper"])
@pytest.mark.parametrize("widths", [(), (0,), (4, -1)])
def test_malformed_widths_are_refused(name: str, widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{name} must hold at least one width"):
        network(**{name: widths})


def test_unknown_pattern_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gradient must be one of .*got 'soft'"):
        network(pattern_gradient="soft")


# ---------------------------------------------------------------------------------------- import

IMPORT = """
import random, sys, warnings
import numpy, torch
def settings():
    return (torch.get_default_dtype(), torch.get_rng_state().tolist(), torch.get_num_threads(),
            torch.is_grad_enabled(), torch.get_float32_matmul_precision(), warnings.filters[:],
            random.getstate(), str(numpy.random.get_state()))
before = settings()
import dnl, dnl.layers, dnl.learning_to_persuade, dnl.surrogates
UNWANTED = {"lightning", "pytorch_lightning", "lightning_fabric", "matplotlib", "pandas",
            "cyclopts", "filelock", "distributed", "highspy"}
assert settings() == before, "a setting changed"
print([name for name in sys.modules if name.split(".")[0] in UNWANTED])
"""


def test_import_is_light_and_changes_no_setting() -> None:
    assert subprocess.check_output([sys.executable, "-c", IMPORT], text=True).strip() == "[]"
