"""A linear layer whose weights are computed from a context: the last layer of a hyper-network."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dnl.layers import shapes
from games import checks

# Largest number of products (rows x context x inputs) that an emitted layer holds at a time, for
# each of a CPU's threads: 1.25 MiB of float32 stay in a core's cache; on a GPU the bound only keeps
# memory finite.
CHUNK_PRODUCTS = {"cpu": 5 * 2**16, "cuda": 2**27}


class EmittedLinear(nn.Module):
    """A linear layer whose weights and bias are emitted, affinely, by a context vector.

    `y = W(c) x + b(c)` with `W(c) = W_0 + sum_j c_j W_j` and `b(c)` likewise: the last layer of a
    hyper-network and the layer that it emits in one. With one context per sample, `W(c)` would be a
    full matrix per sample. But `y` is linear in the products `c_j x_i`, so it is one matrix
    product of those with a fixed `(out, (C + 1) * in)` matrix; that is what is computed.

    Given the weights and biases of many layers in place of its own, `(V, out, C + 1, in)` and
    `(V, out, C + 1)`, it maps `(V, B, in)` and `(V, B, C)` to `(V, B, out)`, as `Linear` does.

    Args:
        in_features, out_features: of the emitted layer.
        context_features: `C`, features of the context.

    Initialisation: `W_0` and `b_0` like `nn.Linear`, the others smaller by sqrt(C), so that the
    layer starts near an ordinary one with a contribution of the context of the same order.
    """

    stackable = True  # see `dnl.layers.stack.NetworkStack`

    def __init__(self, in_features: int, out_features: int, context_features: int) -> None:
        super().__init__()
        self.in_features = checks.positive_integer("in_features", in_features)
        self.out_features = checks.positive_integer("out_features", out_features)
        self.context_features = checks.positive_integer(
            "context_features", context_features, least=0
        )
        self.weight = nn.Parameter(torch.empty(out_features, context_features + 1, in_features))
        self.bias = nn.Parameter(torch.empty(out_features, context_features + 1))
        bound = in_features**-0.5
        with torch.no_grad():
            for parameter in (self.weight, self.bias):
                parameter.uniform_(-bound, bound)
                parameter[:, 1:] /= max(context_features, 1) ** 0.5

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`x (..., in)`, `context (..., C)` -> `(..., out)`, or as the class says."""
        shapes.rows("x", x, self.in_features, self.weight, "in")
        shapes.rows("context", context, self.context_features, self.weight, "C")
        if x.shape[:-1] != context.shape[:-1]:
            raise ValueError(
                "x (..., in) and context (..., C) must have the same leading axes, "
                f"got {tuple(x.shape)} and {tuple(context.shape)}"
            )
        n_layers = self.weight.shape[:-3]  # none: one layer
        if n_layers and (x.ndim != 3 or x.shape[:1] != n_layers):
            raise ValueError(f"x must be ({n_layers[0]}, B, in), got {tuple(x.shape)}")
        context = _with_constant(context)  # (..., C + 1)
        bias = context @ self.bias.mT
        if self.out_features < self.in_features:
            # Few outputs: multiply first, (..., in) -> (..., (C + 1) * out), then weigh by context.
            projection = self.weight.transpose(-3, -2).flatten(-3, -2)  # ((C + 1) * out, in)
            parts = (x @ projection.mT).unflatten(-1, (-1, self.out_features))
            return (context.unsqueeze(-2) @ parts).squeeze(-2) + bias
        weight = self.weight.flatten(-2) if n_layers else self.weight.flatten(-2).unsqueeze(0)
        shape = x.shape[:2] if n_layers else (1, x.shape[:-1].numel())
        y = _ContextProduct.apply(  # in the weights' precision, also under torch.autocast
            x.reshape(*shape, self.in_features).to(weight),
            context.reshape(*shape, self.context_features + 1).to(weight),
            weight,
        )
        return y.reshape(*x.shape[:-1], self.out_features) + bias

    @torch.no_grad()
    def scale_context(self, factor: float) -> None:
        """Multiply what the context contributes: 0 leaves an ordinary layer."""
        factor = checks.positive_number("factor", factor, allow_zero=True)
        self.weight[:, 1:] *= factor
        self.bias[:, 1:] *= factor

    def emit(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The emitted weights `(..., out, in)` and bias `(..., out)`: to look at, not to train."""
        shapes.rows("context", context, self.context_features, self.weight, "C")
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
    The axis `G` is that of a stack of networks, whose weights came at once or by `torch.vmap`.
    """

    @staticmethod
    def forward(x: Tensor, context: Tensor, weight: Tensor) -> Tensor:
        chunks = _Chunks(x, context)
        n_rows, (x, context) = x.shape[1], chunks.padded(x, context)
        y = x.new_empty(*x.shape[:2], weight.shape[1])
        blocks = chunks.blocks(weight, context.unsqueeze(-1), x.unsqueeze(-2), y)
        with torch.autocast(x.device.type, enabled=False):
            for _, w, parts in blocks:
                for context_, x_, y_ in parts:
                    torch.bmm(chunks.products(context_, x_).flatten(-2), w.mT, out=y_)
        return y[:, :n_rows]

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
        chunks = _Chunks(x, context)
        n_rows, (dy, x, context) = x.shape[1], chunks.padded(dy, x, context)
        dx, dcontext, dweight = (t.new_empty(t.shape) for t in (x, context, weight))
        blocks = chunks.blocks(
            weight, context.unsqueeze(-1), x.unsqueeze(-2), dy, dx.unsqueeze(-2), dcontext
        )
        sums = weight.new_empty(chunks.lanes, *weight.shape[1:])
        for groups, w, parts in blocks:
            dw = dweight[groups] if chunks.lanes == 1 else sums
            for i, (context_, x_, d, dx_, dcontext_) in enumerate(parts):
                if need_weight:
                    products = chunks.products(context_, x_).flatten(-2)
                    torch.baddbmm(dw, d.mT, products, beta=min(i, 1), out=dw)
                if need_x or need_context:
                    dproducts = chunks.room(context_, x_)
                    torch.bmm(d, w, out=dproducts.flatten(-2))
                    dproducts = dproducts.flatten(0, 1)  # (rows, C, I)
                if need_x:
                    torch.bmm(context_.flatten(0, 1).mT, dproducts, out=dx_.flatten(0, 1))
                if need_context:  # a row times a transpose: several times faster than mat-vec
                    row = dcontext_.flatten(0, 1).unsqueeze(1)
                    torch.bmm(x_.flatten(0, 1), dproducts.mT, out=row)
            if need_weight and chunks.lanes > 1:
                torch.sum(sums, 0, keepdim=True, out=dweight[groups])
        return (
            dx[:, :n_rows] if need_x else None,
            dcontext[:, :n_rows] if need_context else None,
            dweight if need_weight else None,
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


class _Chunks:
    """How the work is cut: by groups, several with all of their rows, or by rows of one group.

    On a CPU the rows at hand are cut once more, into lanes, one for each thread, and multiplied as
    a batch: threads that share one narrow product wait for each other, and for what the others have
    in their caches. Rows of zeros make all chunks equal.
    """

    def __init__(self, x: Tensor, context: Tensor) -> None:
        n_groups, n_rows, n_inputs = x.shape
        per_row = n_inputs * context.shape[-1]
        threads = torch.get_num_threads() if x.device.type == "cpu" else 1
        budget = threads * CHUNK_PRODUCTS.get(x.device.type, CHUNK_PRODUCTS["cpu"])
        most_rows = max(1, budget // max(1, per_row))
        self.groups = max(1, min(n_groups, most_rows // max(1, n_rows)))
        self.parts = max(1, math.ceil(n_rows / most_rows))
        self.lanes = max(1, min(threads, n_rows, most_rows)) if self.groups == 1 else 1
        self.rows = math.ceil(n_rows / (self.parts * self.lanes))
        self.padding = self.parts * self.lanes * self.rows - n_rows
        self.memory = x.new_empty(self.groups * self.lanes * self.rows * per_row)

    def padded(self, *of_rows: Tensor) -> list[Tensor]:
        """Tensors `(G, B, F)` with rows of zeros at the end."""
        return [functional.pad(t, (0, 0, 0, self.padding)) if self.padding else t for t in of_rows]

    def blocks(
        self, weight: Tensor, *of_rows: Tensor
    ) -> Iterator[tuple[slice, Tensor, Iterator[tuple[Tensor, ...]]]]:
        """Groups, their weights `(g, O, C * I)` and their chunks.

        Args:
            weight: `(G, O, C * I)`.
            of_rows: tensors `(G, B, ...)` of which each chunk has views `(g, b, ...)`.
        """
        parts: list[list[Sequence[Tensor]]]
        if self.groups > 1:
            weights = weight.split(self.groups)
            parts = [[[block] for block in t.split(self.groups)] for t in of_rows]
        else:
            sizes = (self.parts, self.lanes, self.rows)
            weights = weight.unsqueeze(1).expand(-1, self.lanes, -1, -1).unbind()
            parts = [[block.unbind() for block in t.unflatten(1, sizes).unbind()] for t in of_rows]
        for i, (w, *own) in enumerate(zip(weights, *parts, strict=True)):
            yield slice(i * self.groups, (i + 1) * self.groups), w, zip(*own, strict=True)

    def room(self, context: Tensor, x: Tensor) -> Tensor:
        """The memory for products `(g, b, C, I)`, the same for all chunks."""
        shape = (*x.shape[:2], context.shape[-2], x.shape[-1])
        return self.memory[: math.prod(shape)].view(shape)

    def products(self, context: Tensor, x: Tensor) -> Tensor:
        """Those of `context (g, b, C, 1)` and `x (g, b, 1, I)`, there."""
        return torch.mul(context, x, out=self.room(context, x))


def _with_constant(context: Tensor) -> Tensor:
    return torch.cat([context.new_ones((*context.shape[:-1], 1)), context], -1)
