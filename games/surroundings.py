"""Results that do not depend on what a process has set for the whole of torch.

Autocast, TF32, the default dtype, the default device, `torch.no_grad` and `torch.inference_mode`
affect all code that is called within them. Public functions whose results must not depend on them
suspend them with these contexts.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
AUTOCAST = ("cpu", "cuda", "mps", "xpu", "hpu", "xla")  # devices whose products it may round


class _Setting(Generic[T]):
    """A setting of the whole process that has another value within `with`.

    Threads share it. So the first to come changes it, and the last to leave puts it back.

    Args:
        read: its value.
        write: sets it.
        own: the value to have instead of what was read.
    """

    def __init__(
        self, read: Callable[[], T], write: Callable[[T], object], own: Callable[[T], T]
    ) -> None:
        self.read, self.write, self.own = read, write, own
        self.lock, self.users, self.before = Lock(), 0, read()

    def __enter__(self) -> None:
        with self.lock:
            if not self.users:
                self.before = self.read()
                if self.own(self.before) != self.before:
                    self.write(self.own(self.before))
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users and self.own(self.before) != self.before:
                self.write(self.before)


def _products(backend: Any) -> _Setting[str]:
    """Of float32 matrices: TF32 and bfloat16 keep three digits."""
    return _Setting(
        lambda: backend.fp32_precision,
        lambda precision: setattr(backend, "fp32_precision", precision),
        lambda before: "ieee" if before in ("tf32", "bf16") else before,
    )


_CUDA_PRODUCTS = _products(torch.backends.cuda.matmul)
_CPU_PRODUCTS = _products(torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
_DTYPE = _Setting(torch.get_default_dtype, torch.set_default_dtype, lambda before: torch.float32)


@contextmanager
def without_autocast() -> Iterator[None]:
    """Within it, no product is rounded by `torch.autocast`, on any device."""
    on = [device for device in AUTOCAST if torch.is_autocast_enabled(device)]
    for device in on:
        torch.set_autocast_enabled(device, False)
    try:
        yield
    finally:
        for device in on:
            torch.set_autocast_enabled(device, True)


@contextmanager
def full_precision() -> Iterator[None]:
    """Within it, products are computed in the dtype of their factors, by all digits of it.

    Neither autocast nor what the process allows for its networks (TF32, bfloat16) rounds them: that
    would move every cliff and call near ties wrongly. A backward pass that begins outside is
    protected by `contract`.
    """
    with without_autocast(), _CUDA_PRODUCTS, _CPU_PRODUCTS:
        yield


def contract(equation: str, *operands: Tensor) -> Tensor:
    """`torch.einsum` in full precision, and its backward pass too, wherever that takes place.

    Args:
        equation: with an arrow. Each index of an operand occurs in another one or in the output.
        operands: of one dtype.
    """
    if _needs_protection(*operands):
        result: Tensor = _Contraction.apply(equation, *operands)
        return result
    with full_precision():
        return torch.einsum(equation, *operands)


def matrix_product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """`left (..., I, J) @ right (..., J, K)` like `contract`; in `out` where that is given."""
    if _needs_protection(left, right):
        return contract("...ij,...jk->...ik", left, right)
    with full_precision():
        return torch.matmul(left, right, out=out)


def _needs_protection(*operands: Tensor) -> bool:
    """Whether there may be a backward pass that somebody's settings round."""
    return (
        operands[0].dtype == torch.float32
        and torch.is_grad_enabled()
        and any(operand.requires_grad for operand in operands)
    )


class _Contraction(torch.autograd.Function):
    """See `contract`. A gradient of it is another one, which can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(equation: str, *operands: Tensor) -> Tensor:
        with full_precision():
            return torch.einsum(equation, *operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.equation, *operands = inputs
        ctx.save_for_backward(*operands)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        operands = ctx.saved_tensors
        inputs, _, output = ctx.equation.partition("->")
        indices = inputs.split(",")

        def along(place: int) -> Tensor | None:
            if not ctx.needs_input_grad[1 + place]:
                return None
            others = [i for i in range(len(operands)) if i != place]
            names = ",".join([*(indices[i] for i in others), output])
            return contract(f"{names}->{indices[place]}", *(operands[i] for i in others), gradient)

        return (None, *map(along, range(len(operands))))


@contextmanager
def differentiable() -> Iterator[None]:
    """Within it, gradients can be computed, and no product is rounded by autocast.

    `torch.no_grad` and `torch.inference_mode` around it do not matter.
    """
    with without_autocast(), torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Within it, new tensors may be used in gradients later, also inside `torch.inference_mode`."""
    with torch.inference_mode(False), torch.set_grad_enabled(torch.is_grad_enabled()):
        yield


def ordinary(tensor: Tensor) -> Tensor:
    """`tensor` detached; a copy where it was made in inference mode and can have no gradient."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()


@contextmanager
def single_by_default() -> Iterator[None]:
    """Within it, new floating point tensors are float32 unless told otherwise."""
    with _DTYPE:
        yield


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Within it, torch is as it is in a new process, as far as results depend on it.

    Gradients on, no inference mode, no autocast, the default dtype float32 and the default device
    the CPU. What rounds products of float32 for the sake of speed (TF32) stays as it is.
    """
    with ExitStack() as stack:
        stack.enter_context(differentiable())
        stack.enter_context(single_by_default())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
