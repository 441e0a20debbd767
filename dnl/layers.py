"""Layers of discontinuous networks: activation patterns and what they may steer.

Plain `nn.Module`s on `(..., features)` tensors; they know nothing of games or of training. The DNL
of "Multi-Sender Persuasion" (section 4.1) in three lines, for any input with cliffs:

    >>> import torch
    >>> from dnl.layers import DiscontinuousMLP
    >>> network = DiscontinuousMLP(in_features=8, out_features=1)
    >>> network(torch.rand(5, 8)).shape
    torch.Size([5, 1])
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

PATTERN_GRADIENTS = ("none", "straight-through")

# Largest number of products (rows x context x inputs) that an emitted layer holds at a time:
# 2 MiB of float32 stay in a CPU's caches; on a GPU the bound only keeps memory finite.
CHUNK_PRODUCTS = {"cpu": 2**19, "cuda": 2**27}


class ActivationPattern(nn.Module):
    """The 0/1 pattern of units with a positive pre-activation (Definition 4), `(..., H)` to same.

    Args:
        gradient: `"none"`: the pattern is piecewise constant and passes no gradient, the text read
            literally. `"straight-through"`: the same hard pattern forward, the derivative of the
            sigmoid backward, so that what the pattern steers can move the cliffs. The gradient is
            then not that of the function; do not use it where an exact one is needed.
    """

    def __init__(self, gradient: str = "none") -> None:
        super().__init__()
        if gradient not in PATTERN_GRADIENTS:
            raise ValueError(f"gradient must be one of {PATTERN_GRADIENTS}, got {gradient!r}")
        self.gradient = gradient

    def forward(self, preactivation: Tensor) -> Tensor:
        """Pattern of `preactivation`, of the same shape and dtype."""
        hard = (preactivation > 0).to(preactivation.dtype)
        if self.gradient == "none":
            return hard
        soft = preactivation.sigmoid()
        return hard + (soft - soft.detach())  # in brackets: exactly `hard` in value

    def extra_repr(self) -> str:
        return f"gradient={self.gradient!r}"


class PatternedMLP(nn.Module):
    """ReLU layers that return their last activations and the activation pattern of all of them.

    Args:
        sizes: features of the input and of each hidden layer, at least two numbers.
        pattern_gradient: see `ActivationPattern`.
    """

    def __init__(self, sizes: Sequence[int], pattern_gradient: str = "none") -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.pattern = ActivationPattern(pattern_gradient)
        self.pattern_features = sum(sizes[1:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(..., sizes[0])` to activations `(..., sizes[-1])`, pattern `(..., sum(sizes[1:]))`."""
        patterns = []
        for layer in self.layers:
            x = layer(x)
            patterns.append(self.pattern(x))
            x = functional.relu(x)
        return x, torch.cat(patterns, -1)


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
        y = _ContextProduct.apply(
            x.reshape(1, rows, self.in_features),
            context.reshape(1, rows, self.context_features + 1),
            self.weight.flatten(1).unsqueeze(0),
        )
        return y.reshape(*x.shape[:-1], self.out_features) + bias

    def emit(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The emitted weights `(..., out, in)` and bias `(..., out)`: to look at, not to train."""
        context = _with_constant(context)
        return torch.einsum("...c,oci->...oi", context, self.weight), context @ self.bias.mT

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"context_features={self.context_features}"
        )


class PatternBias(nn.Sequential):
    """A bias from a small network of an activation pattern: the discontinuity of DeLU.

    Maps `(..., pattern_features)` to `(..., out_features)`.

    Args:
        pattern_features: features of the pattern.
        out_features: of the bias.
        hidden: widths of the network's hidden layers.
    """

    def __init__(
        self, pattern_features: int, out_features: int, hidden: Sequence[int] = (32, 32)
    ) -> None:
        widths = [pattern_features, *hidden]
        super().__init__(relu_mlp(widths), nn.Linear(widths[-1], out_features))


class DiscontinuousMLP(nn.Module):
    """DNL: the lower part's activation pattern decides the weights of the upper part.

    Inputs of one pattern share one upper network, which is a piecewise linear function of its own;
    across a boundary between patterns the upper network changes, so the output jumps.

    Args:
        in_features, out_features: of the whole network.
        lower: widths of the lower part's hidden layers, at least one.
        upper: widths of the upper part's hidden layers, at least one: with none, a piece would be
            linear (paper, section 4.1).
        hyper: widths of the hyper-network's hidden layers, at least one.
        pattern_gradient: see `ActivationPattern`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lower: Sequence[int] = (64,),
        upper: Sequence[int] = (64, 64),
        hyper: Sequence[int] = (32, 32),
        pattern_gradient: str = "none",
    ) -> None:
        super().__init__()
        for name, widths in (("lower", lower), ("upper", upper), ("hyper", hyper)):
            if not widths or any(width < 1 for width in widths):
                raise ValueError(f"{name} must hold at least one width of at least 1, got {widths}")
        self.lower = PatternedMLP([in_features, *lower], pattern_gradient)
        self.hyper = relu_mlp([self.lower.pattern_features, *hyper])
        widths = [lower[-1], *upper, out_features]
        self.upper = nn.ModuleList(EmittedLinear(a, b, hyper[-1]) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., out_features)`."""
        x, pattern = self.lower(x)
        context = self.hyper(pattern)
        for layer in self.upper[:-1]:
            x = functional.relu(layer(x, context))
        return self.upper[-1](x, context)

    def emitted(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the upper part at each input `(..., in_features)`."""
        _, pattern = self.lower(x)
        context = self.hyper(pattern)
        return [layer.emit(context) for layer in self.upper if isinstance(layer, EmittedLinear)]


def relu_mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers between `sizes`, each followed by a ReLU."""
    steps: list[nn.Module] = []
    for a, b in pairwise(sizes):
        steps += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*steps)


class _ContextProduct(torch.autograd.Function):
    """`y[g, b, o] = sum_{c,i} weight[g, o, c * I + i] context[g, b, c] x[g, b, i]`, in chunks.

    The products of context and input are formed chunk by chunk, in the backward pass again, so
    that they stay in the caches and no `(G, B, C * I)` array is kept for the backward pass.
    Stacks of networks (`torch.func.vmap`) become the axis `G`.
    """

    @staticmethod
    def forward(x: Tensor, context: Tensor, weight: Tensor) -> Tensor:
        return torch.cat(
            [
                torch.cat(
                    [torch.bmm(_products(x[g, b], context[g, b]), weight[g].mT) for b in rows], 1
                )
                for g, rows in _chunks(x, context)
            ]
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, context, weight = ctx.saved_tensors
        need_x, need_context, need_weight = ctx.needs_input_grad
        # Nothing that is saved is written in place: torch.func may map over dy alone (jacobians).
        dx: list[Tensor] = []
        dcontext: list[Tensor] = []
        dweight: list[Tensor] = []
        for g, rows in _chunks(x, context):
            dx_rows, dcontext_rows, dw = [], [], None
            for b in rows:
                d = dy[g, b]
                if need_weight:
                    products = _products(x[g, b], context[g, b])
                    dw = dw.baddbmm_(d.mT, products) if dw is not None else d.mT @ products
                if need_x or need_context:
                    dproducts = torch.bmm(d, weight[g])
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
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, context: Tensor, weight: Tensor
    ) -> tuple[Tensor, int]:
        x, context, weight = (
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((x, context, weight), in_dims, strict=True)
        )
        y = _ContextProduct.apply(x.flatten(0, 1), context.flatten(0, 1), weight.flatten(0, 1))
        return y.unflatten(0, (info.batch_size, -1)), 0


def _products(x: Tensor, context: Tensor) -> Tensor:
    return (context.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)  # (g, b, C * I)


def _with_constant(context: Tensor) -> Tensor:
    return torch.cat([context.new_ones((*context.shape[:-1], 1)), context], -1)


def _chunks(x: Tensor, context: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of groups, each with slices of rows: at least one of each, empty or not."""
    n_groups, n_rows = x.shape[:2]
    budget = CHUNK_PRODUCTS.get(x.device.type, CHUNK_PRODUCTS["cpu"])
    per_row = x.shape[-1] * context.shape[-1]
    most = max(1, budget // per_row)
    pieces = max(1, -(-n_rows // most))
    rows = max(1, -(-n_rows // pieces))  # of equal size: a short last chunk would be slow
    groups = max(1, budget // (per_row * rows))
    for g in range(0, max(n_groups, 1), groups):
        yield slice(g, g + groups), [slice(b, b + rows) for b in range(0, max(n_rows, 1), rows)]
