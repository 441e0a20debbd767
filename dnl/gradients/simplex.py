"""Euclidean projection onto the simplex."""

import torch
from torch import Tensor

from games import checks


def project_to_simplex(x: Tensor) -> Tensor:
    """The nearest distribution to each row, in Euclidean distance: `(..., M) -> (..., M)`.

    By sorting (Held, Wolfe and Crowder, 1974): subtract from every entry the one constant that
    makes the positive parts sum to 1. Differentiable almost everywhere; rows may be of any scale.

    Raises:
        ValueError: if `x` is no tensor of floating point numbers with at least one entry per row.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or not (x.ndim and x.shape[-1]):
        raise ValueError(
            f"x must be a tensor (..., M) of floating point numbers, got {checks.shown(x)}"
        )
    # A shift of the row changes nothing, and with the largest entry at 0 nothing overflows.
    x = x - x.amax(-1, keepdim=True)
    ordered = x.sort(-1, descending=True).values
    counts = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    shifts = (ordered.cumsum(-1) - 1) / counts  # the constant, were the first k entries positive
    support = (ordered > shifts).sum(-1, keepdim=True)  # at least 1
    return (x - shifts.gather(-1, support - 1)).clamp_min(0)
