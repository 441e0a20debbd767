"""The projection onto the simplex: optimality, identities, extreme scales, gradient."""

import pytest
import torch
from torch import Tensor

from dnl.gradients.simplex import project_to_simplex
from tests.references import simulation as reference

SCALES = [1e-9, 0.01, 0.3, 1.0, 10.0, 1e9]
ACCURACY = {torch.float64: 1e-12, torch.float32: 2e-6}


def normal(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, dtype=torch.float64, generator=generator)


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def rows(size: int, scale: float) -> Tensor:
    """Random rows, also far from 0 and with ties. `(32, size)`."""
    x = scale * normal(8, size, seed=size)
    return torch.cat([x, 1e9 + x, x - 1e9, scale * (2 * x / scale).round()])


@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_equals_bisection(size: int, scale: float, dtype: torch.dtype) -> None:
    x = rows(size, scale).to(dtype)
    got = project_to_simplex(x)
    expected = [reference.simplex_projection(row) for row in x]
    assert got.dtype == dtype
    assert_close(got.double(), torch.tensor(expected, dtype=torch.float64), ACCURACY[dtype])


@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize("scale", [*SCALES, 1e30])
@pytest.mark.parametrize("size", [1, 2, 10, 100])
def test_results_are_distributions(size: int, scale: float, dtype: torch.dtype) -> None:
    got = project_to_simplex((scale * normal(200, size)).to(dtype))
    assert (got >= 0).all()
    assert_close(got.sum(-1), torch.ones(200, dtype=dtype), ACCURACY[dtype])


# min |p - x|^2 over sum(p) = 1, p >= 0 is convex, so its optimum is where some t has
# p_i = x_i - t for every p_i > 0 and x_i <= t for the others.
@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("size", [2, 5, 30])
def test_conditions_of_optimality(size: int, scale: float) -> None:
    x = scale * normal(300, size)
    p = project_to_simplex(x)
    used = p > 0
    t = (x - p).masked_fill(~used, -torch.inf).amax(-1, keepdim=True)
    assert_close((x - p)[used], t.expand_as(x)[used])
    assert (x <= t + 1e-12)[~used].all()
    assert used.any(1).all()


def test_by_hand() -> None:
    table = [
        ([0.5, 0.5], [0.5, 0.5]),
        ([3.0, 1.0], [1.0, 0.0]),
        ([0.8, 0.6], [0.6, 0.4]),
        ([-5.0, -5.0, -5.5], [0.5, 0.5, 0.0]),
        ([1.0, 0.5, 0.0], [0.75, 0.25, 0.0]),
        ([0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
    ]
    for x, expected in table:
        got = project_to_simplex(torch.tensor(x, dtype=torch.float64))
        assert_close(got, torch.tensor(expected, dtype=torch.float64), 1e-15)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_identities(size: int) -> None:
    x = normal(100, size)
    p = project_to_simplex(x)
    assert_close(project_to_simplex(p), p)  # idempotent
    inside = x.softmax(-1)
    assert_close(project_to_simplex(inside), inside)
    vertices = torch.eye(size, dtype=torch.float64)
    assert torch.equal(project_to_simplex(vertices), vertices)
    assert_close(project_to_simplex(x + normal(100, 1, seed=1)), p)  # shifts of a row
    assert_close(project_to_simplex(x.flip(-1)), p.flip(-1))
    assert size > 1 or torch.equal(p, torch.ones_like(p))
    apart = (x - x.roll(1, 0)).norm(dim=-1)
    assert ((p - p.roll(1, 0)).norm(dim=-1) <= apart + 1e-12).all()  # no pair moves apart


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 5, 3), (2, 1, 2, 3), (0, 3)])
def test_batches_equal_row_by_row(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    before = x.clone()
    got = project_to_simplex(x)
    assert got.shape == shape
    assert torch.equal(x, before)
    for row, alone in zip(got.reshape(-1, 3), x.reshape(-1, 3), strict=True):
        assert torch.equal(row, project_to_simplex(alone))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_gradient_equals_finite_differences(size: int, scale: float) -> None:
    x = (scale * normal(20, size)).requires_grad_()
    assert torch.autograd.gradcheck(project_to_simplex, x)
