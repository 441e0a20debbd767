"""A device that is not there, to test without a GPU that what runs on one is in the right place.

Tensors on `DEVICE` say that they are there, are held on the CPU, and refuse what CUDA's refuse: to
meet tensors that are here. (Single numbers may be, and indices, and what is copied.) So a result is
the CPU's to the last bit, or an error shows where something was left behind. Speed, memory and
CUDA's own arithmetic it cannot show.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def device_count(self) -> int:
        return 0  # so that nobody who looks for what this machine has keeps its random state


_setup_privateuseone_for_python_backend("elsewhere", _Backend())
DEVICE = torch.device("elsewhere", 0)
MOVES = ("aten::copy_", "aten::_to_copy")
JOINS = ("aten::cat", "aten::stack")
INDEXES = ("aten::index.", "aten::index_put", "aten::_index_put_impl_")


class Elsewhere(Tensor):
    """A tensor on `DEVICE`, with the strides of what holds its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Within it, tensors can be made on `DEVICE` and sent there."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # a tensor of numbers is made here and then sent
    try:
        with _Mode():
            yield DEVICE
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves = tree_leaves((args, kwargs))
    there = [x for x in leaves if isinstance(x, Elsewhere)]
    name = func.name()
    if there and name not in MOVES:
        _refuse(func, name, args, leaves)
    asked = kwargs.get("device")
    goes_there = bool(there) if asked is None else torch.device(asked).type == DEVICE.type
    if goes_there and any(isinstance(x, torch.Generator) for x in leaves):
        raise RuntimeError(f"{name}: a generator here draws for a tensor elsewhere")
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    args, kwargs = tree_map(lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs))
    known = {id(x.held): x for x in there}  # what is written in place stays the tensor that it is

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor) or not goes_there:
            return x
        return known.get(id(x)) if id(x) in known else Elsewhere(x)

    return tree_map(back, func(*args, **kwargs))


def _refuse(func: Any, name: str, args: Any, leaves: list[Any]) -> None:
    indices = tree_leaves(args[1]) if name.startswith(INDEXES) else []
    written = args[0] if func._schema.is_mutable else None
    here = [
        x
        for x in leaves
        if isinstance(x, Tensor)
        and not isinstance(x, Elsewhere)
        and not any(x is index for index in indices)
        and (x.ndim or x is written or name.startswith(JOINS))
    ]
    if here:
        shapes = [tuple(x.shape) for x in here]
        raise RuntimeError(f"{name}: tensors of shapes {shapes} are here, others elsewhere")
