"""Stacks of networks against each network alone."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from dnl.layers import DiscontinuousMLP, Linear, emitted, stack
from dnl.layers.stack import NetworkStack, concatenate
from dnl.surrogates import PAPER_SURROGATES, Architecture, ReLUNetwork, make_surrogate

ARCHITECTURES = [
    Architecture((6, 5, 4), 1, (3, 4)),
    Architecture((4, 4, 6), 2, (5,), "straight-through"),
]


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


def networks(
    name: str, count: int = 3, architecture: Architecture = ARCHITECTURES[0]
) -> list[nn.Module]:
    torch.manual_seed(0)
    return [make_surrogate(name, (1, 1, 5, 2), architecture).double() for _ in range(count)]


def assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def alone(nets: list[nn.Module], x: Tensor) -> Tensor:
    inputs = x if x.ndim == 3 else x.expand(len(nets), -1, -1)
    return torch.stack([net(own) for net, own in zip(nets, inputs, strict=True)])


@pytest.mark.parametrize("budget", [1, 100, 2**19])
@pytest.mark.parametrize("shape", [(7, 5), (3, 7, 5), (1, 5), (3, 1, 5)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_stack_equals_each_network_alone(
    name: str,
    architecture: Architecture,
    shape: tuple[int, ...],
    budget: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(emitted.CHUNK_PRODUCTS, "cpu", budget)
    nets = networks(name, architecture=architecture)
    stack, x = NetworkStack(nets), normal(*shape).requires_grad_()
    got, expected = stack(x), alone(nets, x)
    assert got.shape == (3, shape[-2], 1)
    assert_close(got, expected)
    direction = normal(*got.shape, seed=1)
    keys = [key for key, _ in nets[0].named_parameters()]
    own = [stack.get_parameter("stacked." + key.replace(".", "/")) for key in keys]
    assert len(list(stack.parameters())) == len(keys)
    slope, *gradients = torch.autograd.grad(got, [x, *own], direction)
    flat = [net.get_parameter(key) for key in keys for net in nets]
    wanted_slope, *wanted = torch.autograd.grad(expected, [x, *flat], direction)
    assert_close(slope, wanted_slope)
    for i, gradient in enumerate(gradients):
        assert_close(gradient, torch.stack(wanted[3 * i : 3 * i + 3]))


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What stacks have `torch.vmap` map over."""
    mapped: list[object] = []

    def spied(function: Callable[..., Tensor], **options: Any) -> Callable[..., Tensor]:
        mapped.append(function)
        return vmap(function, **options)

    monkeypatch.setattr(stack, "vmap", spied)
    return mapped


@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_stack_equals_what_vmap_makes_of_it(name: str, maps: list[object]) -> None:
    stack, x = NetworkStack(networks(name)), normal(3, 7, 5).requires_grad_()
    leaves = [x, *stack.parameters()]
    together = stack(x)
    assert not maps
    vars(stack)["_without_vmap"] = False
    mapped = stack(x)
    assert len(maps) == 1
    for one, other in zip(
        [together, *torch.autograd.grad(together.square().sum(), leaves)],
        [mapped, *torch.autograd.grad(mapped.square().sum(), leaves)],
        strict=True,
    ):
        assert_close(one, other)


class Scaled(ReLUNetwork):
    """A parameter whose first axis would be taken for that of the networks."""

    def __init__(self) -> None:
        super().__init__(5, (4,))
        self.scale = nn.Parameter(torch.rand(5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)


class Centred(DiscontinuousMLP):
    """Sees the first axis of its input, and has no parameter more."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


def swapped() -> nn.Module:
    network = ReLUNetwork(5, (4,))
    network[1] = nn.Linear(4, 1)
    return network


def hooked(before: bool) -> nn.Module:
    network = ReLUNetwork(5, (4,))
    if before:
        network[0].register_forward_pre_hook(lambda _, inputs: (inputs[0] - inputs[0].mean(0),))
    else:
        network[0].register_forward_hook(lambda module, inputs, output: output - output.mean(0))
    return network


@pytest.mark.parametrize(
    "make",
    [
        Scaled,
        lambda: Centred(5, 1, (4,), (4,), (3,)),
        swapped,
        lambda: hooked(True),
        lambda: hooked(False),
    ],
    ids=["parameter", "first axis", "swapped", "hook before", "hook after"],
)
def test_what_was_built_on_stackable_networks_is_mapped_over(
    make: Callable[[], nn.Module], maps: list[object]
) -> None:
    torch.manual_seed(0)
    nets = [make().double() for _ in range(3)]
    for batch in (3, 7):
        x = normal(3, batch, 5)
        assert_close(NetworkStack(nets)(x), alone(nets, x))
    assert len(maps) == 2


def test_layers_in_a_row_are_stackable(maps: list[object]) -> None:
    torch.manual_seed(0)
    nets: list[nn.Module] = [
        nn.Sequential(Linear(5, 4), nn.ReLU(), Linear(4, 2)).double() for _ in range(3)
    ]
    x = normal(3, 7, 5)
    assert_close(NetworkStack(nets)(x), alone(nets, x))
    assert not maps


@pytest.mark.parametrize("shape", [(1, 7, 5), (4, 7, 5), (5,), (3, 2, 7, 5)])
def test_inputs_of_another_number_of_networks_are_refused(shape: tuple[int, ...]) -> None:
    message = re.escape(f"x must have shape (3, B, F) or (B, F), got {shape}")
    with pytest.raises(ValueError, match=message):
        NetworkStack(networks("dnl"))(normal(*shape))


@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_select_and_concatenate(name: str) -> None:
    nets, x = networks(name, 5), normal(5, 6, 5)
    stack = NetworkStack(nets)
    for rows in (slice(1, 3), slice(None), slice(4, 5), slice(0, 5, 2)):
        part = stack.select(rows)
        assert len(part) == len(nets[rows])
        assert_close(part(x[rows]), alone(nets[rows], x[rows]))
        assert_close(part(x[0]), alone(nets[rows], x[0]))
    parts = [stack.select(slice(3, 5)), stack.select(slice(0, 1)), stack.select(slice(1, 3))]
    order = [3, 4, 0, 1, 2]
    whole = concatenate(parts)
    assert len(whole) == 5
    assert_close(whole(x[order]), stack(x)[order])
    assert [len(part) for part in parts] == [2, 1, 2]
    assert_close(concatenate(parts[:1])(x[3:5]), stack(x)[3:5])


@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_parts_and_originals_are_copies(name: str) -> None:
    nets, x = networks(name), normal(3, 6, 5)
    stack = NetworkStack(nets)
    before = stack(x).detach()
    part, whole = stack.select(slice(0, 2)), concatenate([stack, stack])
    assert all(p.is_leaf and p.requires_grad for p in [*part.parameters(), *whole.parameters()])
    with torch.no_grad():
        for parameter in [*part.parameters(), *whole.parameters()]:
            parameter.zero_()
    assert torch.equal(stack(x), before)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.zero_()
    assert_close(alone(nets, x), before)
    assert_close(stack(x), torch.zeros_like(before))


@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_state_dict_round_trip(name: str) -> None:
    stack, x = NetworkStack(networks(name)), normal(3, 6, 5)
    file = io.BytesIO()
    torch.save(stack.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    other = NetworkStack(
        [make_surrogate(name, (1, 1, 5, 2), ARCHITECTURES[0]).double() for _ in range(3)]
    )
    assert not torch.equal(other(x), stack(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), stack(x))


@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_a_step_of_the_stack_is_a_step_of_every_network(name: str) -> None:
    nets, x = networks(name), normal(3, 20, 5)
    stack = NetworkStack(nets)
    optimisers: list[Any] = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
    optimiser = torch.optim.SGD(stack.parameters(), lr=0.1)
    before = stack(x).detach()
    for _ in range(3):
        optimiser.zero_grad()
        stack(x).square().mean((1, 2)).sum().backward()
        optimiser.step()
        for net, own, rows in zip(nets, optimisers, x, strict=True):
            own.zero_grad()
            net(rows).square().mean().backward()
            own.step()
    assert_close(stack(x), alone(nets, x))
    assert (stack(x) - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("parameters", "inputs"),
    [(a, b) for a in (torch.float32, torch.float64) for b in (torch.float32, torch.float64)],
)
def test_computes_in_the_dtype_of_the_input(parameters: torch.dtype, inputs: torch.dtype) -> None:
    stack = NetworkStack(networks("dnl")).to(parameters)
    x = normal(4, 5)
    y = stack(x.to(inputs))
    assert (stack.dtype, y.dtype) == (parameters, inputs)
    atol = 1e-12 if parameters == inputs == torch.float64 else 1e-5
    torch.testing.assert_close(y.double(), alone(networks("dnl"), x), rtol=0, atol=atol)


@pytest.mark.parametrize("name", PAPER_SURROGATES)
def test_empty_batch(name: str) -> None:
    stack = NetworkStack(networks(name))
    assert stack(normal(0, 5)).shape == stack(normal(3, 0, 5)).shape == (3, 0, 1)
