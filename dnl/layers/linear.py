"""A linear layer of one network, or of a whole stack of networks."""

from typing import cast

import torch
from torch import Tensor, nn

from dnl.layers import shapes
from games import checks


class Linear(nn.Linear):
    """`nn.Linear` that may be given the weights of many networks in place of its own.

    With those of `V` networks, weight `(V, out, in)` and bias `(V, out)`, it maps `(V, B, in)` to
    `(V, B, out)`: one batch of matrix products, where `torch.vmap` takes many small steps.

    Args:
        in_features, out_features: at least 1.
        bias: whether it adds one.
    """

    stackable = True  # see `dnl.layers.stack.NetworkStack`

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(
            checks.positive_integer("in_features", in_features),
            checks.positive_integer("out_features", out_features),
            checks.instance("bias", bias, bool),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in) -> (..., out)`, or as the class says."""
        shapes.rows("x", x, self.in_features, self.weight)
        if self.weight.ndim == 2:
            return super().forward(x)
        if x.ndim != 3 or len(x) != len(self.weight):
            raise checks.shape_error(
                "x", "(V, B, in_features)", (len(self.weight), "B", self.in_features), x
            )
        bias = cast("Tensor | None", self.bias)
        if bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(bias.unsqueeze(-2), x, self.weight.mT)
