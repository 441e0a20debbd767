"""A linear layer of one network, or of a whole stack of networks."""

from typing import cast

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    """`nn.Linear` that may be given the weights of many networks in place of its own.

    With those of `V` networks, weight `(V, out, in)` and bias `(V, out)`, it maps `(V, B, in)` to
    `(V, B, out)`: one batch of matrix products, where `torch.vmap` takes many small steps.
    """

    stackable = True  # see `dnl.layers.stack.NetworkStack`

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in) -> (..., out)`, or as the class says."""
        if self.weight.ndim == 2:
            return super().forward(x)
        bias = cast("Tensor | None", self.bias)
        if bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(bias.unsqueeze(-2), x, self.weight.mT)
