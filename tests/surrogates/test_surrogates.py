"""Contract of every registered surrogate; gradients, pieces and jumps; sizes."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from dnl.layers import PATTERN_GRADIENTS, DiscontinuousMLP
from dnl.layers.stack import NetworkStack
from dnl.surrogates import DeLUNetwork
from dnl.surrogates.registry import (
    PAPER_SURROGATES,
    SURROGATES,
    Architecture,
    check_surrogate,
    make_surrogate,
    network_shape,
    parameter_count,
)

NAMES = list(PAPER_SURROGATES)
SMALL = Architecture(hidden=(8, 7, 6), hyper=(5, 4))
DTYPES = [torch.float64, torch.float32]


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


def network(
    name: str, in_features: int = 8, architecture: Architecture = SMALL, seed: int = 0
) -> nn.Module:
    torch.manual_seed(seed)
    return make_surrogate(name, (1, 1, in_features, 2), architecture).double()


def linear_layers(net: nn.Module) -> list[nn.Linear]:
    return [module for module in net.modules() if isinstance(module, nn.Linear)]


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


# -------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("in_features", [1, 8])
@pytest.mark.parametrize("name", NAMES)
def test_one_number_per_row_in_the_dtype_of_the_network(
    name: str, in_features: int, batch: tuple[int, ...], dtype: torch.dtype
) -> None:
    y = network(name, in_features).to(dtype)(normal(*batch, in_features).to(dtype))
    assert (y.shape, y.dtype) == ((*batch, 1), dtype)
    assert y.isfinite().all()


@pytest.mark.parametrize("gradient", PATTERN_GRADIENTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_others(name: str, gradient: str) -> None:
    net = network(name, architecture=Architecture((8, 8), 1, (5,), gradient))
    x = normal(12, 8)
    y = net(x)
    assert_close(torch.stack([net(row) for row in x]), y)
    assert_close(net(x.flip(0)).flip(0), y)
    assert_close(net(x.reshape(3, 4, 8)).flatten(0, 1), y)
    changed = torch.cat([x[:6], 100 * normal(6, 8, seed=1)])
    assert_close(net(changed)[:6], y[:6])
    (gradient_,) = torch.autograd.grad(net(x.requires_grad_())[3].sum(), x)
    assert gradient_.any(1).nonzero().tolist() == [[3]]


@pytest.mark.parametrize("gradient", PATTERN_GRADIENTS)
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str, gradient: str) -> None:
    net = network(name, architecture=Architecture((8, 8), 1, (6, 6), gradient))
    (net(normal(64, 8)) - normal(64, 1, seed=1)).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 1e-6, key


@pytest.mark.parametrize("name", NAMES)
def test_initialisation_comes_from_the_global_seed(name: str) -> None:
    x = normal(4, 8)
    y = network(name, seed=3)(x)
    assert torch.equal(network(name, seed=3)(x), y)
    assert not torch.equal(network(name, seed=4)(x), y)


@pytest.mark.parametrize("name", NAMES)
def test_pattern_gradient_changes_no_output(name: str) -> None:
    outputs = [
        network(name, architecture=Architecture((8, 8), 1, (5,), gradient))(normal(40, 8))
        for gradient in PATTERN_GRADIENTS
    ]
    assert torch.equal(*outputs)


# ----------------------------------------------------------------------------- gradients and pieces


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences_inside_a_region(name: str, seed: int) -> None:
    net, step = network(name, seed=seed), 1e-6
    x = normal(20, 8, seed=seed)
    parameters = {key: p.detach() + 0.1 * normal(*p.shape) for key, p in net.named_parameters()}
    arguments = {"x": x} | parameters

    def outputs(changed: str, by: Tensor) -> Tensor:
        moved = arguments | {changed: arguments[changed] + by}
        y: Tensor = functional_call(net, {k: moved[k] for k in parameters}, (moved["x"],))
        return y

    leaves = {key: tensor.clone().requires_grad_() for key, tensor in arguments.items()}
    y = functional_call(net, {k: leaves[k] for k in parameters}, (leaves["x"],))
    gradients = torch.autograd.grad(y.sum(), list(leaves.values()))
    for (key, tensor), gradient in zip(arguments.items(), gradients, strict=True):
        assert gradient.abs().max() > 1e-4, key
        for trial in range(8):
            direction = normal(*tensor.shape, seed=100 + trial)
            rise = (outputs(key, step * direction) - outputs(key, -step * direction)).sum()
            assert_close(rise / (2 * step), (gradient * direction).sum(), 1e-7)


@pytest.mark.parametrize("split", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_only_relu_is_continuous(name: str, split: int) -> None:
    net = network(name, architecture=Architecture((16, 16, 16), split, (8, 8)), seed=1)
    first = linear_layers(net)[0]  # of every network: cliffs may lie where one of its units is 0
    normals = first.weight.detach()
    for unit in range(16):
        points = normal(10, 8, seed=unit)
        normal_ = normals[unit] / normals[unit].norm()
        depth = first(points)[:, unit].detach() / normals[unit].norm()
        edge = points - depth.unsqueeze(1) * normal_
        high, further, low = (net(edge + t * normal_) for t in (1e-8, 3e-8, -1e-8))
        assert (further - high).abs().max() < 1e-7
        if name == "relu":
            assert (high - low).abs().max() < 1e-7
        else:
            assert (high - low).abs().median() > 1e-4  # a jump may happen to be small


def full_pattern(net: nn.Module, x: Tensor) -> Tensor:
    """Signs of all hidden units of a ReLU or DeLU network, `(B, 8 + 7 + 6)`."""
    signs = []
    for layer in linear_layers(net)[:3]:
        x = layer(x)
        signs.append(x > 0)
        x = x.clamp_min(0)
    return torch.cat(signs, -1)


@pytest.mark.parametrize("name", ["relu", "delu"])
def test_relu_and_delu_are_linear_inside_each_piece(name: str) -> None:
    net = network(name, in_features=2)
    middle, step = normal(400, 2).requires_grad_(), 0.3 * normal(400, 2, seed=1)
    (slope,) = torch.autograd.grad(net(middle).sum(), middle)
    x = middle.detach()
    patterns = [full_pattern(net, x + t * step) for t in (-1.0, 0.0, 1.0)]
    # pieces are convex: same pattern at both ends, same piece all along
    same = (patterns[0] == patterns[2]).all(1)
    assert 40 < same.sum() < 360
    assert (patterns[0] == patterns[1]).all(1)[same].all()
    for t in (-1.0, -0.3, 0.7, 1.0):
        rise = net(x + t * step) - net(x)
        assert_close(rise[same, 0], t * (slope * step).sum(1)[same])
        assert (rise[:, 0] - t * (slope * step).sum(1))[~same].abs().max() > 1e-3


def test_delu_is_a_relu_network_with_a_bias_from_the_pattern() -> None:
    net = network("delu")
    assert isinstance(net, DeLUNetwork)
    x = normal(30, 8)
    pattern = full_pattern(net, x).double()
    a, b, c = linear_layers(net)[4:]
    assert (a.out_features, b.out_features) == SMALL.hyper
    bias = c(b(a(pattern).clamp_min(0)).clamp_min(0))
    y = x
    for layer in linear_layers(net)[:3]:
        y = layer(y).clamp_min(0)
    assert_close(net(x), y @ linear_layers(net)[3].weight.mT + bias)
    assert linear_layers(net)[3].bias is None


# ----------------------------------------------------------------------------------------- sizes

# Weights and biases counted by hand for hidden layers of 64 and a hyper-network of 32, 32.
#   relu at F: 64 (F + 1) + 2 * 64 * 65 + 65
#   delu: relu with the last bias replaced by the network 192 -> 32 -> 32 -> 1
#   dnl: 64 (F + 1); hyper 64 -> 32 -> 32; emitted from 33 numbers: two 64 x 65 layers, one 65
HYPER = 32 * 65 + 32 * 33
COUNTS = [
    ("relu", 8, 64 * 9 + 2 * 64 * 65 + 65),
    ("relu", 400, 64 * 401 + 2 * 64 * 65 + 65),
    ("delu", 8, 64 * 9 + 2 * 64 * 65 + 64 + 32 * 193 + 32 * 33 + 33),
    ("delu", 400, 64 * 401 + 2 * 64 * 65 + 64 + 32 * 193 + 32 * 33 + 33),
    ("dnl", 8, 64 * 9 + HYPER + 33 * (2 * 64 * 65 + 65)),
    ("dnl", 400, 64 * 401 + HYPER + 33 * (2 * 64 * 65 + 65)),
]


@pytest.mark.parametrize(("name", "in_features", "count"), COUNTS)
def test_parameter_counts_of_the_standard_sizes(name: str, in_features: int, count: int) -> None:
    net = make_surrogate(name, (1, 1, in_features, 2))
    assert parameter_count(net) == count
    assert sum(math.prod(p.shape) for p in net.parameters()) == count


@pytest.mark.parametrize(("in_features", "times"), [(8, 31), (400, 9)])
def test_dnl_is_many_times_larger(in_features: int, times: int) -> None:
    dnl, relu = (
        parameter_count(make_surrogate(name, (1, 1, in_features, 2))) for name in ("dnl", "relu")
    )
    assert round(dnl / relu) == times


@pytest.mark.parametrize(
    ("hidden", "split"), [((6, 5), 1), ((6, 5, 4), 1), ((6, 5, 4), 2), ((6, 5, 4, 3), 3)]
)
def test_split_parts_the_hidden_layers(hidden: tuple[int, ...], split: int) -> None:
    net = network("dnl", architecture=Architecture(hidden, split, (7, 2)))
    assert isinstance(net, DiscontinuousMLP)
    lower = [layer.out_features for layer in linear_layers(net.lower)]
    assert tuple(lower) == hidden[:split]
    assert [layer.in_features for layer in linear_layers(net.hyper)] == [sum(lower), 7]
    shapes = [tuple(weight.shape) for weight, _ in net.emitted(normal(8))]
    widths = [*hidden[split - 1 :], 1]
    assert shapes == [(b, a) for a, b in pairwise(widths)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({"split": split}, r"split must lie in 1\.\.2") for split in (0, 3, -1, 1.0, True, "1")),
        ({"split": None}, "split must lie in"),
        ({"hidden": (8, 8), "split": 2}, r"split must lie in 1\.\.1"),
        ({"hidden": ()}, "hidden must hold widths"),
        ({"hidden": (8, 0)}, "hidden must hold widths"),
        ({"hidden": (8, 8.0)}, "hidden must hold widths"),
        ({"hidden": (True, 8)}, "hidden must hold widths"),
        ({"hyper": ()}, "hyper must hold widths"),
        ({"hyper": (-3,)}, "hyper must hold widths"),
        ({"pattern_gradient": "soft"}, r"pattern_gradient must be one of .*got 'soft'"),
        ({"pattern_gradient": 1}, "pattern_gradient must be one of"),
        ({"choices": 1}, "choices must be an integer of at least 2, got 1"),
    ],
)
def test_malformed_architectures_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**wrong)


def test_dnl_needs_an_upper_hidden_layer() -> None:
    assert parameter_count(make_surrogate("relu", (1, 1, 2, 2), Architecture((3,)))) == 3 * 3 + 4
    with pytest.raises(ValueError, match="upper must hold at least one width"):
        make_surrogate("dnl", (1, 1, 2, 2), Architecture((3,)))


def test_architectures_are_values() -> None:
    listed: Any = [8, 8]
    assert Architecture(hidden=listed, hyper=listed) == Architecture((8, 8), hyper=(8, 8))
    assert Architecture() == Architecture((64, 64, 64), 1, (32, 32), None)
    assert hash(Architecture(hidden=listed)) == hash(Architecture((8, 8)))


@pytest.mark.parametrize("name", ["DNL", "", None, 3])
def test_unknown_names_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="surrogate must be one of 'relu', 'delu', 'dnl'"):
        make_surrogate(name, (1, 1, 8, 2))
    with pytest.raises(ValueError, match="model must be one of"):
        check_surrogate(name, "model")


@pytest.mark.parametrize("name", SURROGATES)
def test_networks_of_one_shape_stack_and_others_differ(name: str) -> None:
    shapes = [(2, 2, 3, 2), (2, 2, 3, 4), (2, 3, 2, 2)]  # the last: as many inputs
    before = torch.get_rng_state()
    kinds = [network_shape(name, shape, SMALL) for shape in shapes]
    assert torch.equal(torch.get_rng_state(), before)
    assert (kinds[0] == kinds[1]) == (name not in ("posterior-dnl", "follower-dnl"))
    assert kinds[2] not in kinds[:2]
    told = replace(SMALL, choices=7)
    assert network_shape(name, shapes[0], told) == network_shape(name, shapes[1], told)
    NetworkStack([make_surrogate(name, shape, told) for shape in shapes[:2]])
