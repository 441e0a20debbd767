"""The extra-gradient solver against plain loops, on games with known dynamics, at its edges."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl.gradients.extragradient import (
    PROJECTIONS,
    STEPS,
    ExtragradientConfig,
    ExtragradientResult,
    extragradient,
)
from dnl.gradients.own_gradient import own_gradient
from dnl.gradients.simplex import project_to_simplex
from tests.references import simulation as reference

Sizes = tuple[int, int, int]  # (N, S, M)
Utility = Callable[[Tensor], Tensor]

SIZES: list[Sizes] = [(3, 2, 2), (2, 2, 3), (1, 3, 2), (2, 1, 2), (3, 1, 3)]
EVERY_WAY = [(step, projection) for step in STEPS for projection in PROJECTIONS]


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


def profiles(count: int, sizes: Sizes, seed: int = 0) -> Tensor:
    return normal(count, *sizes, seed=seed).softmax(-1)


def multilinear(tables: Tensor) -> Utility:
    """`U_n = sum_s sum_m tables[n, s, m] prod_i pi_i(m_i | s)`; `tables (N, S, K)`."""

    def utility(policies: Tensor) -> Tensor:
        senders = policies.unbind(-3)
        joint = senders[0]  # (..., S, M), then (..., S, M**2), ...
        for sender in senders[1:]:
            joint = (joint.unsqueeze(-1) * sender.unsqueeze(-2)).flatten(-2)
        return torch.einsum("...sk,nsk->...n", joint, tables.to(policies))

    return utility


def random_tables(sizes: Sizes, seed: int = 0) -> Tensor:
    n, s, m = sizes
    return normal(n, s, m**n, seed=100 + seed)


def assert_close(got: Tensor, expected: Any, atol: float = 1e-10) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


# ---------------------------------------------------------------------------- against plain loops


@pytest.mark.parametrize("sizes", SIZES)
def test_own_gradient_is_each_senders_slope_of_its_own_utility(sizes: Sizes) -> None:
    tables, policies = random_tables(sizes), profiles(4, sizes)
    utility = multilinear(tables)
    for values, pi in zip(utility(policies), policies, strict=True):
        assert_close(values, reference.multilinear(tables, pi))
    got = own_gradient(utility, policies)
    expected = [reference.multilinear_own_gradient(tables, pi) for pi in policies]
    assert_close(got, expected)
    assert not got.requires_grad
    assert_close(own_gradient(utility, policies.unflatten(0, (2, 2))).flatten(0, 1), expected)
    with torch.no_grad():
        assert_close(own_gradient(utility, policies[0]), expected[0])


@pytest.mark.parametrize(("step", "projection"), EVERY_WAY)
@pytest.mark.parametrize("iterations", [1, 2, 7])
@pytest.mark.parametrize("sizes", SIZES)
def test_equals_slow_reference(sizes: Sizes, iterations: int, step: str, projection: str) -> None:
    tables, starts = random_tables(sizes), profiles(3, sizes)
    lr = 0.07 if step == "adam" else 0.3
    result = extragradient(
        multilinear(tables), starts, ExtragradientConfig(iterations, lr, step, projection)
    )
    rule = (iterations, lr, step, projection)
    expected = [reference.extragradient(tables, start, *rule) for start in starts]
    assert_close(result.policies, expected, 1e-9)
    assert (result.policies - starts).abs().max() > 0.02


# ----------------------------------------------------------------------------------- dynamics

MATCHING_PENNIES = torch.tensor([[[1.0, -1, -1, 1]], [[-1, 1, 1, -1]]], dtype=torch.float64)


def plain_gradient_play(
    utility: Utility, policies: Tensor, iterations: int, lr: float, projection: str
) -> Tensor:
    logits = policies.log()
    for _ in range(iterations):
        slopes = own_gradient(utility, policies)
        if projection == "euclidean":
            policies = project_to_simplex(policies + lr * slopes)
        else:
            logits = logits + lr * policies * (slopes - (policies * slopes).sum(-1, keepdim=True))
            policies = logits.softmax(-1)
    return policies


@pytest.mark.parametrize(("projection", "lr"), [("softmax", 1.0), ("euclidean", 0.1)])
def test_converges_on_matching_pennies_where_gradient_play_does_not(
    projection: str, lr: float
) -> None:
    utility = multilinear(MATCHING_PENNIES)
    starts = 0.1 + 0.8 * profiles(5, (2, 1, 2))
    config = ExtragradientConfig(iterations=600, lr=lr, step="sgd", projection=projection)
    end = extragradient(utility, starts, config).policies
    assert (end - 0.5).abs().max() < 1e-4  # the only equilibrium
    plain = plain_gradient_play(utility, starts, 1200, lr, projection)  # as many gradients
    distance = (plain - 0.5).abs().amax((1, 2, 3))
    assert (distance > 2 * (starts - 0.5).abs().amax((1, 2, 3)).clamp_max(0.2)).all()


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_adam_steps_do_not_settle_on_matching_pennies(projection: str) -> None:
    starts = torch.tensor([[[[0.55, 0.45]], [[0.45, 0.55]]]], dtype=torch.float64)
    config = ExtragradientConfig(iterations=600, step="adam", projection=projection)
    end = extragradient(multilinear(MATCHING_PENNIES), starts, config).policies
    assert (end - 0.5).abs().max() > 0.05


@pytest.mark.parametrize(("step", "projection"), EVERY_WAY)
def test_climbs_to_the_best_signal_of_a_single_sender(step: str, projection: str) -> None:
    # prizes all above 0: what counts is how they differ
    tables = torch.tensor([[[5.0, 6.0, 8.0], [7.0, 6.0, 5.0]]], dtype=torch.float64)
    config = ExtragradientConfig(iterations=200, lr=0.2, step=step, projection=projection)
    end = extragradient(multilinear(tables), profiles(10, (1, 2, 3)), config).policies
    assert (end[:, 0, 0, 2] > 0.95).all()
    assert (end[:, 0, 1, 0] > 0.95).all()


# ------------------------------------------------------------------------------------ properties


@pytest.mark.parametrize(("step", "projection"), EVERY_WAY)
@pytest.mark.parametrize("iterations", [0, 1, 20])
def test_utility_is_called_twice_per_iteration(iterations: int, step: str, projection: str) -> None:
    calls: list[Tensor] = []
    inner = multilinear(random_tables((2, 2, 2)))

    def utility(policies: Tensor) -> Tensor:
        calls.append(policies.detach().clone())
        return inner(policies)

    starts = profiles(3, (2, 2, 2))
    result = extragradient(utility, starts, ExtragradientConfig(iterations, 0.1, step, projection))
    assert len(calls) == 2 * iterations
    if iterations == 0:
        assert torch.equal(result.policies, starts)
    else:
        assert torch.equal(calls[0], starts)
        for point in calls:
            assert_close(point.sum(-1), torch.ones(3, 2, 2))


def fixed_start(kind: str) -> Tensor:
    if kind == "pure":
        return torch.eye(3, dtype=torch.float64)[torch.tensor([[[0, 1], [2, 0]]])]  # (1, 2, 2, 3)
    row = torch.tensor([0.0, 0.3, 0.7], dtype=torch.float64)
    return torch.stack([torch.stack([row, row.flip(0)]), torch.stack([row.roll(1), row])])[None]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["pure", "zeros"])
def test_zeros_stay_under_softmax_and_may_move_under_euclidean(kind: str, step: str) -> None:
    start, utility = fixed_start(kind), multilinear(random_tables((2, 2, 3)))
    soft, flat = (
        extragradient(utility, start, ExtragradientConfig(step=step, projection=projection))
        for projection in PROJECTIONS
    )
    for end in (soft.policies, flat.policies):
        assert end.isfinite().all()
        assert_close(end.sum(-1), torch.ones(1, 2, 2))
    assert not soft.policies[start == 0].any()
    assert torch.equal(soft.policies, start) == (kind == "pure")
    assert flat.policies[start == 0].max() > 0.1


# Rounding (1 minus a sum) leaves entries such as -1e-9; a start may hold them.
@pytest.mark.parametrize(("step", "projection"), EVERY_WAY)
def test_entries_below_zero_by_rounding_do_no_harm(step: str, projection: str) -> None:
    start = torch.tensor([[[[1 + 1e-9, -1e-9]], [[0.5, 0.5]]]], dtype=torch.float64)
    config = ExtragradientConfig(step=step, projection=projection)
    end = extragradient(multilinear(MATCHING_PENNIES), start, config).policies
    assert end.isfinite().all()
    assert (end >= 0).all()
    clean = extragradient(multilinear(MATCHING_PENNIES), start.clamp(0, 1), config).policies
    assert_close(end, clean, 1e-6)


@pytest.mark.parametrize(("step", "projection"), EVERY_WAY)
def test_profiles_do_not_depend_on_their_company(step: str, projection: str) -> None:
    utility, starts = multilinear(random_tables((2, 2, 3))), profiles(6, (2, 2, 3))
    config = ExtragradientConfig(step=step, projection=projection)
    end = extragradient(utility, starts, config).policies
    alone = [extragradient(utility, start[None], config).policies for start in starts]
    assert_close(end, torch.cat(alone))
    assert_close(extragradient(utility, starts.flip(0), config).policies.flip(0), end)
    stacked = extragradient(utility, starts.reshape(3, 1, 2, 2, 2, 3), config).policies
    assert_close(stacked.reshape(end.shape), end)
    assert extragradient(utility, starts[:0], config).policies.shape == (0, 2, 2, 3)


def test_leading_axes_may_stack_games() -> None:
    tables, starts = [random_tables((2, 2, 2), seed) for seed in (0, 1)], profiles(8, (2, 2, 2))
    utilities = [multilinear(table) for table in tables]

    def both(policies: Tensor) -> Tensor:
        return torch.stack([u(part) for u, part in zip(utilities, policies, strict=True)])

    end = extragradient(both, starts.reshape(2, 4, 2, 2, 2)).policies
    for g, utility in enumerate(utilities):
        assert_close(end[g], extragradient(utility, starts.reshape(2, 4, 2, 2, 2)[g]).policies)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("step", "projection"), EVERY_WAY)
def test_dtype_is_that_of_the_starts_which_stay_as_they_were(
    step: str, projection: str, dtype: torch.dtype
) -> None:
    utility, starts = multilinear(random_tables((2, 2, 2))), profiles(5, (2, 2, 2))
    config = ExtragradientConfig(10, 0.05, step, projection)
    given = starts.to(dtype).requires_grad_()
    before = given.detach().clone()
    result = extragradient(utility, given, config)
    assert isinstance(result, ExtragradientResult)
    assert (result.policies.dtype, result.config) == (dtype, config)
    assert not result.policies.requires_grad
    assert torch.equal(given, before)
    assert given.grad is None
    exact = extragradient(utility, starts, config).policies
    assert_close(result.policies.double(), exact, 1e-4 if dtype == torch.float32 else 1e-12)


def test_defaults_are_the_papers() -> None:
    assert ExtragradientConfig() == ExtragradientConfig(20, 0.1, "adam", "softmax")
    utility, starts = multilinear(random_tables((2, 2, 2))), profiles(2, (2, 2, 2))
    result = extragradient(utility, starts)
    assert result.config == ExtragradientConfig()
    again = extragradient(utility, starts, ExtragradientConfig())
    assert torch.equal(again.policies, result.policies)


# ---------------------------------------------------------------------------------------- errors

GOOD = torch.full((3, 2, 1, 2), 0.5, dtype=torch.float64)
WEIGHT = torch.ones((), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        (GOOD[0], r"starts must have shape \(B, N, S, M\), got \(2, 1, 2\)"),
        ("starts", "starts must be an array of numbers, got 'starts'"),
        (2 * GOOD, "starts must hold distributions"),
        (GOOD + torch.tensor([1.0, -1.0]), "starts must hold distributions"),
        (GOOD * torch.nan, "starts must hold distributions"),
        (GOOD.half(), "starts must be float32 or float64, got torch.float16"),
    ],
)
@pytest.mark.parametrize("iterations", [0, 2])
def test_malformed_starts_are_refused(starts: Any, message: str, iterations: int) -> None:
    with pytest.raises(ValueError, match=message):
        extragradient(
            multilinear(MATCHING_PENNIES), starts, ExtragradientConfig(iterations=iterations)
        )


@pytest.mark.parametrize(
    ("utility", "message"),
    [
        (lambda x: x.sum((1, 2, 3)), r"utility must return shape .*\(3, 2\), got \(3,\)"),
        (lambda x: x[..., 0], r"utility must return shape .*\(3, 2\), got \(3, 2, 1\)"),
        (lambda x: x[:, :1, 0, 0], r"utility must return shape .*\(3, 2\), got \(3, 1\)"),
        (lambda x: x.detach()[..., 0, 0], "utility must be differentiable"),
        (lambda x: WEIGHT * x.detach()[..., 0, 0], "utility must be differentiable"),
    ],
)
def test_malformed_utilities_are_refused(utility: Utility, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extragradient(utility, GOOD)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({"iterations": bad}, "iterations must be an integer") for bad in (-1, 1.5, True, "2")),
        *(({"lr": bad}, "lr must be") for bad in (0, -0.1, torch.inf, torch.nan, "0.1", None)),
        ({"step": "adamw"}, "step must be one of 'adam', 'sgd', got 'adamw'"),
        ({"projection": "simplex"}, "projection must be one of 'softmax', 'euclidean'"),
    ],
)
def test_malformed_configurations_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExtragradientConfig(**wrong)
