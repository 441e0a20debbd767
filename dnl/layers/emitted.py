"""A linear layer whose weights a context emits: a hyper-network's last layer and its product."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Largest number of products (rows x context x inputs) that an emitted layer holds at a time:
# 2 MiB of float32 stay in a CPU's caches; on a GPU the bound only keeps memory finite.
CHUNK_PRODUCTS = {"cpu": 2**19, "cuda": 2**27}


class EmittedLinear(nn.Module):
    """A linear layer whose weights and bias are emitted, affinely, by a context vector.

    `y = W(c) x + b(c)` with `W(c) = W_0 + sum_j c_j W_j` and `b(c)` likewise: the last layer of a
    hyper-network and the layer that it emits in one. With one context per sample, `W(c)` would be a
    full matrix per sample. But `y` is linear in the products `c_j x_i`, so it is one matrix
    product of those with a fixed `(out, (C + 1) * in)` matrix; that is what is computed.

    Args:
        in_features, out_features: of the emitted layer.
        context_features: `C`, features of the context.

    Initialisation: `W_0` and `b_0` like `nn.Linear`, the others smaller by sqrt(C), so that the
    layer starts near an ordinary one with a contribution of the context of the same order.
    """

    def __init__(self, in_features: int, out_features: int, context_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.context_features = context_features
        self.weight = nn.Parameter(torch.empty(out_features, context_features + 1, in_features))
        self.bias = nn.Parameter(torch.empty(out_features, context_features + 1))
        bound = in_features**-0.5
        with torch.no_grad():
            for parameter in (self.weight, self.bias):
                parameter.uniform_(-bound, bound)
                parameter[:, 1:] /= max(context_features, 1) ** 0.5

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`x (..., in)`, `context (..., C)` -> `(..., out)`."""
        if x.shape[:-1] != context.shape[:-1]:
            raise ValueError(
                "x (..., in) and context (..., C) must have the same leading axes, "
                f"got {tuple(x.shape)} and {tuple(context.shape)}"
            )
        context = _with_constant(context)  # (..., C + 1)
        bias = context @ self.bias.mT
        if self.out_features < self.in_features:
            # Few outputs: multiply first, (..., in) -> (..., (C + 1) * out), then weigh by context.
            projection = self.weight.permute(1, 0, 2).flatten(0, 1)  # ((C + 1) * out, in)
            parts = (x @ projection.mT).unflatten(-1, (-1, self.out_features))
            return (context.unsqueeze(-2) @ parts).squeeze(-2) + bias
        rows = x.shape[:-1].numel()
        weight = self.weight.flatten(1).unsqueeze(0)
        y = _ContextProduct.apply(  # in the weights' precision, also under torch.autocast
            x.reshape(1, rows, self.in_features).to(weight),
            context.reshape(1, rows, self.context_features + 1).to(weight),
            weight,
        )
        return y.reshape(*x.shape[:-1], self.out_features) + bias

    @torch.no_grad()
    def scale_context(self, factor: float) -> None:
        """Multiply what the context contributes: 0 leaves an ordinary layer."""
        self.weight[:, 1:] *= factor
        self.bias[:, 1:] *= factor

    def emit(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The emitted weights `(..., out, in)` and bias `(..., out)`: to look at, not to train."""
        context = _with_constant(context)
        return torch.einsum("...c,oci->...oi", context, self.weight), context @ self.bias.mT

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"context_features={self.context_features}"
        )


class _ContextProduct(torch.autograd.Function):
    """`y[g, b, o] = sum_{c,i} weight[g, o, c * I + i] context[g, b, c] x[g, b, i]`, in chunks.

    The products of context and input are formed chunk by chunk, in the backward pass again, so
    that they stay in the caches and no `(G, B, C * I)` array is kept for the backward pass. All
    chunks use the same memory: fresh pages for each could take as long as the arithmetic.
    Stacks of networks (`torch.func.vmap`) become the axis `G`.
    """

    @staticmethod
    def forward(x: Tensor, context: Tensor, weight: Tensor) -> Tensor:
        room = _room(x, context)
        y = []
        with torch.autocast(x.device.type, enabled=False):
            for g, rows in _chunks(x, context):
                parts = [_products(x[g, b], context[g, b], room) @ weight[g].mT for b in rows]
                y.append(torch.cat(parts, 1))
        return torch.cat(y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(dy.device.type, enabled=False):
            gradients: tuple[Tensor | None, ...] = _Gradients.apply(
                dy, *ctx.saved_tensors, ctx.needs_input_grad
            )
        return gradients

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        y = _ContextProduct.apply(*_folded(info, in_dims, inputs))
        return y.unflatten(0, (info.batch_size, -1)), 0


class _Gradients(torch.autograd.Function):
    """Those of `_ContextProduct` with respect to `x`, `context` and `weight`, where needed.

    A function of its own because `torch.func` may map over `dy` alone (jacobians), and mapped
    tensors cannot be written into memory that is at hand.
    """

    @staticmethod
    def forward(
        dy: Tensor, x: Tensor, context: Tensor, weight: Tensor, needed: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, ...]:
        need_x, need_context, need_weight = needed
        room = _room(x, context)  # for products, and then for their gradients
        dx: list[Tensor] = []
        dcontext: list[Tensor] = []
        dweight: list[Tensor] = []
        for g, rows in _chunks(x, context):
            dx_rows, dcontext_rows, dw = [], [], None
            for b in rows:
                d = dy[g, b]
                if need_weight:
                    products = _products(x[g, b], context[g, b], room)
                    dw = dw.baddbmm_(d.mT, products) if dw is not None else d.mT @ products
                if need_x or need_context:
                    shape = (*d.shape[:2], weight.shape[-1])
                    out = room[: math.prod(shape)].view(shape)
                    dproducts = torch.bmm(d, weight[g], out=out)
                    dproducts = dproducts.unflatten(-1, (context.shape[-1], x.shape[-1]))
                if need_x:
                    dx_rows.append((context[g, b].unsqueeze(-2) @ dproducts).squeeze(-2))
                if need_context:  # a row times a transpose: several times faster than mat-vec
                    dcontext_rows.append((x[g, b].unsqueeze(-2) @ dproducts.mT).squeeze(-2))
            if need_x:
                dx.append(torch.cat(dx_rows, 1))
            if need_context:
                dcontext.append(torch.cat(dcontext_rows, 1))
            if dw is not None:
                dweight.append(dw)
        return (
            torch.cat(dx) if need_x else None,
            torch.cat(dcontext) if need_context else None,
            torch.cat(dweight) if need_weight else None,
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        pass  # nobody differentiates twice

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Any
    ) -> tuple[tuple[Tensor | None, ...], tuple[int | None, ...]]:
        *tensors, needed = inputs
        found = _Gradients.apply(*_folded(info, in_dims[:-1], tensors), needed)
        apart = (None if t is None else t.unflatten(0, (info.batch_size, -1)) for t in found)
        return tuple(apart), tuple(None if t is None else 0 for t in found)


def _folded(info: Any, in_dims: Sequence[int | None], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors whose first axis, `G`, has taken in the one that is mapped over."""
    pairs = zip(tensors, in_dims, strict=True)
    batched = (
        t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
        for t, dim in pairs
    )
    return [t.flatten(0, 1) for t in batched]


def _room(x: Tensor, context: Tensor) -> Tensor:
    """Memory for the products of any chunk."""
    groups, rows = _chunk_sizes(x, context)
    return x.new_empty(groups * rows * x.shape[-1] * context.shape[-1])


def _products(x: Tensor, context: Tensor, room: Tensor) -> Tensor:
    """`(g, b, C * I)`, in `room`."""
    shape = (*x.shape[:-1], context.shape[-1], x.shape[-1])
    out = room[: math.prod(shape)].view(shape)
    return torch.mul(context.unsqueeze(-1), x.unsqueeze(-2), out=out).flatten(-2)


def _with_constant(context: Tensor) -> Tensor:
    return torch.cat([context.new_ones((*context.shape[:-1], 1)), context], -1)


def _chunk_sizes(x: Tensor, context: Tensor) -> tuple[int, int]:
    """Groups and rows of the largest chunk: at least one of each, and no more than there are."""
    n_groups, n_rows = x.shape[:2]
    budget = CHUNK_PRODUCTS.get(x.device.type, CHUNK_PRODUCTS["cpu"])
    per_row = x.shape[-1] * context.shape[-1]
    most = max(1, budget // per_row)
    pieces = max(1, -(-n_rows // most))
    rows = max(1, -(-n_rows // pieces))  # of equal size: a short last chunk would be slow
    return min(max(1, n_groups), max(1, budget // (per_row * rows))), rows


def _chunks(x: Tensor, context: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of groups, each with slices of rows: at least one of each, empty or not."""
    n_groups, n_rows = x.shape[:2]
    groups, rows = _chunk_sizes(x, context)
    for g in range(0, max(n_groups, 1), groups):
        yield slice(g, g + groups), [slice(b, b + rows) for b in range(0, max(n_rows, 1), rows)]
