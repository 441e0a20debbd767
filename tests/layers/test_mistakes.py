"""Layers refuse what they cannot use, and say which argument it is and what came."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dnl.layers import (
    ActivationPattern,
    DiscontinuousMLP,
    EmittedLinear,
    FollowerChoice,
    FollowerNetwork,
    Linear,
    PatternBias,
    PatternedMLP,
    least_squares,
    quantal_response,
    relu_mlp,
)
from dnl.layers.follower import piecewise_least_squares
from dnl.layers.posterior import PosteriorNetwork
from dnl.layers.stack import NetworkStack, concatenate
from dnl.surrogates import DeLUNetwork, ReLUNetwork

MLP = {"in_features": 8, "out_features": 1}
CHOICE = {"in_features": 4, "n_choices": 3}
Make = Callable[..., object]

SIZES: list[tuple[Make, dict[str, Any], dict[str, Any], str]] = [
    (DiscontinuousMLP, MLP, {"in_features": 0}, "in_features must be an integer of at least 1"),
    (DiscontinuousMLP, MLP, {"out_features": 1.0}, "out_features must be an integer of at least"),
    (DiscontinuousMLP, MLP, {"lower": 64}, r"lower must be a sequence of widths such as \(64,\)"),
    (DiscontinuousMLP, MLP, {"upper": {64}}, "upper must be a sequence of widths"),
    (DiscontinuousMLP, MLP, {"hyper": "32"}, "hyper must be a sequence of widths"),
    (DiscontinuousMLP, MLP, {"hyper": (32.0,)}, "hyper must hold at least one width of at least 1"),
    (DiscontinuousMLP, MLP, {"pattern_gradient": None}, "pattern_gradient must be one of"),
    (DeLUNetwork, {"in_features": 8}, {"hidden": 64}, "hidden must be a sequence of widths"),
    (DeLUNetwork, {"in_features": 8}, {"bias_hidden": 8}, "bias_hidden must be a sequence of wid"),
    (ReLUNetwork, {"in_features": 8}, {"in_features": True}, "in_features must be an integer"),
    (ReLUNetwork, {"in_features": 8}, {"hidden": ()}, "hidden must hold at least one width"),
    (Linear, MLP, {"in_features": -1}, "in_features must be an integer of at least 1"),
    (Linear, MLP, {"bias": None}, "bias must be a bool"),
    (EmittedLinear, MLP | {"context_features": 2}, {"context_features": -1}, "context_feat"),
    (PatternedMLP, {"sizes": (3, 4)}, {"sizes": (3,)}, "sizes must hold at least 2 widths"),
    (PatternBias, {"pattern_features": 3, "out_features": 1}, {"hidden": 32}, "hidden must be a s"),
    (ActivationPattern, {}, {"slope": -1.0}, "slope must be finite and above 0"),
    (relu_mlp, {"sizes": (3,)}, {"sizes": None}, "sizes must be a sequence of widths"),
    (FollowerChoice, CHOICE, {"n_choices": 1}, "n_choices must be an integer of at least 2"),
    (FollowerChoice, CHOICE, {"n_followers": 2.0}, "n_followers must be an integer of at least 1"),
    (FollowerChoice, CHOICE, {"scorer": {}}, "scorer must be a Module"),
    (FollowerNetwork, CHOICE | {"out_features": 1}, {"out_features": None}, "out_features must be"),
    (PosteriorNetwork, dict.fromkeys(("n_senders", "n_signals", "n_states", "n_choices"), 2),
     {"n_signals": 0}, "n_signals must be an integer of at least 1"),
    (quantal_response, {"scores": torch.ones(2)}, {"temperature": 0}, "temperature must be finite"),
    (quantal_response, {"scores": torch.ones(2), "temperature": 1}, {"dim": 3}, "dim must be"),
    (NetworkStack, {}, {"networks": []}, "networks must be a sequence of at least one network"),
    (NetworkStack, {}, {"networks": [nn.ReLU()]}, "networks must have values"),
    (NetworkStack, {}, {"networks": [Linear(1, 1), Linear(2, 1)]}, "networks must be of one class"),
    (concatenate, {}, {"stacks": [nn.ReLU()]}, "each of stacks must be a NetworkStack"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "right", "wrong", "message"), SIZES)
def test_wrong_sizes(
    make: Make, right: dict[str, Any], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}.*got "):
        make(**right | wrong)


LAYERS: dict[str, tuple[nn.Module, str]] = {
    "dnl": (DiscontinuousMLP(4, 1, (3,), (3,), (2,)), "(..., in_features) = (..., 4)"),
    "delu": (DeLUNetwork(4, (3,), (3,)), "(..., in_features) = (..., 4)"),
    "relu": (ReLUNetwork(4, (3,)), "(..., in_features) = (..., 4)"),
    "linear": (Linear(4, 2), "(..., in_features) = (..., 4)"),
    "patterned": (PatternedMLP((4, 3)), "(..., in_features) = (..., 4)"),
    "bias": (PatternBias(4, 1, (3,)), "(..., in_features) = (..., 4)"),
    "choice": (FollowerChoice(4, 3), "(..., in_features) = (..., 4)"),
    "scored": (FollowerChoice(4, 3, nn.Linear(4, 3)), "(..., in_features) = (..., 4)"),
    "follower": (FollowerNetwork(4, 2, 3), "(..., in_features) = (..., 4)"),
    "posterior": (PosteriorNetwork(1, 2, 2, 3), "(..., N * S * M) = (..., 4)"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_wrong_inputs(name: str) -> None:
    layer, shape = LAYERS[name]
    layer(torch.rand(5, 4))
    for rows in (torch.rand(5, 3), torch.rand(5, 5), torch.rand(())):
        message = re.escape(f"x must have shape {shape}, got {tuple(rows.shape)}")
        with pytest.raises(ValueError, match=message):
            layer(rows)
    for other in (np.ones((5, 4)), [[1.0] * 4], None):
        with pytest.raises(ValueError, match=f"^x must be a tensor, got {type(other).__name__}"):
            layer(other)
    with pytest.raises(ValueError, match=r"x must hold floating point numbers, got torch\.int64"):
        layer(torch.ones(5, 4).long())
    if name != "scored":  # the scorer is the caller's
        with pytest.raises(ValueError, match=r"x must have the layer's dtype, torch\.float32, got"):
            layer(torch.rand(5, 4).double())


def test_autocast_may_convert_inputs() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(4, 2)(torch.rand(5, 4).bfloat16()).shape == (5, 2)
        with pytest.raises(ValueError, match=r"x must have shape .* got \(5, 3\)"):
            Linear(4, 2)(torch.rand(5, 3))


def test_scorers_return_a_score_of_every_choice() -> None:
    layer = FollowerChoice(4, 3, nn.Linear(4, 2))
    message = re.escape("scorer must return shape (..., n_followers * n_choices) = (..., 3)")
    with pytest.raises(ValueError, match=rf"{message} .* got \(5, 2\)"):
        layer(torch.rand(5, 4))


def test_several_followers_have_no_planes_of_single_choices() -> None:
    network = FollowerNetwork(4, 2, 3, n_followers=2)
    with pytest.raises(ValueError, match=r"n_followers must be 1 for planes .*, got 2"):
        network.planes()
    with pytest.raises(ValueError, match=r"planes must have shape .* = \(6, 5, 2\), got \(3, 5, 2"):
        network.set_planes(torch.rand(3, 5, 2))


def test_contexts_are_checked() -> None:
    layer, x = EmittedLinear(4, 2, 3), torch.rand(5, 4)
    message = re.escape("context must have shape (..., C) = (..., 3), got (5, 4)")
    with pytest.raises(ValueError, match=message):
        layer(x, torch.rand(5, 4))
    with pytest.raises(ValueError, match=message):
        layer.emit(torch.rand(5, 4))
    with pytest.raises(ValueError, match="factor must be a number at least 0, got None"):
        layer.scale_context(None)  # type: ignore[arg-type]


X, Y = torch.rand(6, 4), torch.rand(6, 2)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:5], r"y must have shape \(B, out\) = \(6, \w+\), got \(5, 2\)"),
        (X[0], Y, r"x must have shape \(B, in\) = \(B, \w+\), got \(4,\)"),
        (X[:0], Y[:0], "x must hold at least one sample, got none"),
        (X.numpy(), Y, "x must be a tensor, got ndarray"),
        (X, None, "y must be a tensor, got NoneType"),
    ],
)
def test_wrong_samples(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        least_squares(lambda rows: rows, x, y)
    with pytest.raises(ValueError, match=message):
        piecewise_least_squares(torch.eye(6), x, y)
    for network in (FollowerNetwork(4, 2, 3), PosteriorNetwork(2, 1, 2, 3)):
        with pytest.raises(ValueError, match=message):
            network.refit(x, y)


def test_samples_fit_the_network() -> None:
    with pytest.raises(ValueError, match=r"y must have shape \(B, out\) = \(6, 1\), got \(6, 2\)"):
        FollowerNetwork(4, 1, 3).refit(X, Y)
    with pytest.raises(ValueError, match="features must be callable, got 3"):
        least_squares(3, X, Y)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([0.5, 0.5], "prior must be a tensor, got list"),
        (torch.tensor([-1.0, 2.0]), r"prior must hold finite weights .* got \[-1\.0, 2\.0\]"),
        (torch.zeros(2), "prior must hold finite weights of at least 0, not all 0"),
        (torch.tensor([torch.nan, 1.0]), "prior must hold finite weights"),
    ],
)
def test_wrong_priors(prior: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PosteriorNetwork(2, 2, 2, 3).set_prior(prior)


def test_wrong_posteriors() -> None:
    network = PosteriorNetwork(2, 2, 2, 3)
    with pytest.raises(ValueError, match="prior must hold weights above 0"):
        network.reaction(torch.rand(5, 2), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"posteriors must have shape \(..., S\) = .* got \(5, 3"):
        network.reaction(torch.rand(5, 3), torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("index", [-1, 2, True, 0.0, None])
def test_networks_of_a_stack_are_numbered(index: Any) -> None:
    stack = NetworkStack([Linear(4, 1), Linear(4, 1)])
    with pytest.raises(ValueError, match=r"index must be .*got"):
        stack.network(index)
    with pytest.raises(ValueError, match=r"index must be .*got"):
        stack.set_network(index, Linear(4, 1))
    with pytest.raises(ValueError, match="networks must be of one class and shape"):
        stack.set_network(0, Linear(3, 1))
