"""Euclidean projection onto the simplex."""

import torch
from torch import Tensor


def project_to_simplex(x: Tensor) -> Tensor:
    """The nearest distribution to each row, in Euclidean distance: `(..., M) -> (..., M)`.

    By sorting (Held, Wolfe and Crowder, 1974): subtract from every entry the one constant that
    makes the positive parts sum to 1. Differentiable almost everywhere; rows may be of any scale.
    """
    # A shift of the row changes nothing, and with the largest entry at 0 nothing overflows.
    x = x - x.amax(-1, keepdim=True)
    ordered = x.sort(-1, descending=True).values
    counts = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    shifts = (ordered.cumsum(-1) - 1) / counts  # the constant, were the first k entries positive
    support = (ordered > shifts).sum(-1, keepdim=True)  # at least 1
    return (x - shifts.gather(-1, support - 1)).clamp_min(0)
