"""Settings of the whole of torch that may be in force where somebody calls the library."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

Surroundings = Callable[[], AbstractContextManager[Any]]


def autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=torch.bfloat16)


@contextmanager
def autocast_of_old() -> Iterator[None]:
    """Switched on for the whole process, without a context."""
    torch.set_autocast_enabled("cpu", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cpu", False)


@contextmanager
def default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SURROUNDINGS: dict[str, Surroundings] = {
    "autocast": autocast,
    "autocast switched on": autocast_of_old,
    "default dtype": default_dtype,
    "default device": default_device,
    "no grad": torch.no_grad,
    "grad switched off": lambda: torch.set_grad_enabled(False),
    "inference mode": torch.inference_mode,
    "deterministic": deterministic,
}
