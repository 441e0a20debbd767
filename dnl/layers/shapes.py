"""Checks of the sizes and inputs of layers: each names the argument and prints what came."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from games import checks


def widths(name: str, value: object, least: int = 1) -> tuple[int, ...]:
    """`value` as a tuple of at least `least` widths, each an integer of at least 1."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(
            f"{name} must be a sequence of widths such as (64,), got {checks.shown(value)}"
        )
    fine = all(not isinstance(w, bool) and isinstance(w, Integral) and int(w) >= 1 for w in value)
    if not fine or len(value) < least:
        many = {0: "widths", 1: "at least one width"}.get(least, f"at least {least} widths")
        raise ValueError(f"{name} must hold {many} of at least 1, got {checks.shown(value)}")
    return tuple(map(int, value))


def floating(name: str, value: object) -> Tensor:
    """`value` if it is a tensor of floating point numbers."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise ValueError(f"{name} must hold floating point numbers, got {value.dtype}")
    return value


def wide(name: str, value: object, size: int, axis: str = "in_features") -> Tensor:
    """`value` if it is a floating point tensor `(..., size)`."""
    tensor = floating(name, value)
    if tensor.ndim == 0 or tensor.shape[-1] != size:
        raise checks.shape_error(name, f"(..., {axis})", ("...", size), tensor)
    return tensor


def rows(name: str, value: object, size: int, like: Tensor, axis: str = "in_features") -> None:
    """Raise unless `value` is `(..., size)`, of the dtype and on the device of `like`."""
    alike(name, wide(name, value, size, axis), like)


def alike(name: str, value: Tensor, like: Tensor) -> None:
    """Raise unless `value` has the dtype and the device of the weights `like`.

    Under `torch.autocast`, which converts both, any floating dtype will do.
    """
    if value.device != like.device:
        raise ValueError(f"{name} must be on the layer's device, {like.device}, got {value.device}")
    if value.dtype != like.dtype and not torch.is_autocast_enabled(value.device.type):
        raise ValueError(f"{name} must have the layer's dtype, {like.dtype}, got {value.dtype}")


def table(name: str, value: object, axes: str, *expected: Any) -> Tensor:
    """`value` if it is a floating point tensor whose axes are `axes` of the sizes `expected`.

    A string in place of a size stands for any size.
    """
    tensor = floating(name, value)
    if tensor.ndim != len(expected) or any(
        size != got
        for size, got in zip(expected, tensor.shape, strict=True)
        if not isinstance(size, str)
    ):
        raise checks.shape_error(name, axes, expected, tensor)
    return tensor


def samples(x: object, y: object, inputs: int | str = "in", outputs: int | str = "out") -> None:
    """Raise unless `x (B, in)` and `y (B, out)` are equally many samples, at least one."""
    count = len(table("x", x, "(B, in)", "B", inputs))
    table("y", y, "(B, out)", count, outputs)
    if not count:
        raise ValueError("x must hold at least one sample, got none")
