"""Each sender's gradient of its own utility in its own policy."""

from collections.abc import Callable

import torch
from torch import Tensor

from games import checks
from games.surroundings import differentiable, ordinary

Utility = Callable[[Tensor], Tensor]
_NO_GRADIENT = "utility must be differentiable in the policies, got no gradient"


@differentiable()
def own_gradient(utility: Utility, policies: Tensor) -> Tensor:
    """Each sender's gradient of its own utility in its own policy, shaped like `policies`.

    The same under `torch.no_grad`, `torch.inference_mode` and `torch.autocast`.

    Args:
        utility: differentiable, `(..., N, S, M) -> (..., N)`. If it has a method `own_gradient`
            that computes the result without a backward pass for each sender, that is used.
        policies: `(..., N, S, M)`.

    Raises:
        ValueError: if either returns another shape, or the utility is not differentiable.
    """
    checks.function("utility", utility)
    if not isinstance(policies, Tensor) or not policies.is_floating_point() or policies.ndim < 3:
        raise ValueError(
            f"policies must be a tensor (..., N, S, M) of floating point numbers, got "
            f"{checks.shown(policies)}"
        )
    at_once = getattr(utility, "own_gradient", None)
    if at_once is None:
        return _one_by_one(utility, policies)
    own = at_once(policies)
    if not isinstance(own, Tensor) or own.shape != policies.shape:
        got = tuple(own.shape) if isinstance(own, Tensor) else type(own).__name__
        raise ValueError(
            f"utility.own_gradient must return shape {tuple(policies.shape)}, got {got}"
        )
    return own.detach()


def _one_by_one(utility: Utility, policies: Tensor) -> Tensor:
    """Own gradients by a backward pass for each sender."""
    at = ordinary(policies).requires_grad_()
    values = utility(at)
    n_senders = policies.shape[-3]
    if not isinstance(values, Tensor):
        raise ValueError(f"utility must return a tensor, got {type(values).__name__}")
    if values.shape != at.shape[:-2]:
        raise ValueError(
            f"utility must return shape (..., N) = {tuple(at.shape[:-2])}, "
            f"got {tuple(values.shape)}"
        )
    if not values.requires_grad:
        raise ValueError(_NO_GRADIENT)
    own = torch.empty_like(policies)
    for n in range(n_senders):
        (gradient,) = torch.autograd.grad(
            values[..., n].sum(), at, retain_graph=n < n_senders - 1, allow_unused=True
        )
        if gradient is None:  # the utility depends on other tensors only
            raise ValueError(_NO_GRADIENT)
        own[..., n, :, :] = gradient[..., n, :, :]
    return own
