"""Checks at the public edge: each names the argument and prints what came."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from reprlib import Repr
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from games.surroundings import ordinary_tensors

Array = Any  # whatever torch.as_tensor takes: nested lists, numpy arrays, tensors

Kind = TypeVar("Kind")
LARGEST = 2**63 - 1  # the largest whole number that tensors, tables and random streams hold
_NO_NUMBERS = (str, bytes, np.flexible, np.datetime64, np.timedelta64, np.complexfloating)
MAX_LISTED = 40  # choices in a message
SUM_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


_brief = Repr()
_brief.maxlevel = 4
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = _brief.maxfrozenset = 8
_brief.maxstring = _brief.maxother = 200
_brief.maxlong = 40
_LONGEST = 400  # characters of a value in a message


def shown(value: object) -> str:
    """`value` as an error message prints it: as Python does, but abbreviated where it is long."""
    try:
        if isinstance(value, Tensor):
            many = value.ndim > 0 and value.shape[0] > _brief.maxlist
            value = (value[: _brief.maxlist + 1] if many else value).tolist()
        text = _brief.repr(value)
    except (ValueError, RuntimeError):  # a number of 5000 digits, a tensor without numbers, ...
        text = f"<{type(value).__name__}>"
    half = _LONGEST // 2 - 3
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


def as_float_tensor(name: str, value: Array) -> Tensor:
    """`value` as a float32 tensor where it is one already, else float64; finite, detached copy."""
    if isinstance(value, Tensor):
        if value.is_complex():
            raise ValueError(f"{name} must be real, got {value.dtype}")
        _check_dense(name, value)
        with ordinary_tensors():
            tensor = value.detach().clone()
    else:
        tensor = _numbers(name, value)
    if tensor.dtype != torch.float32:
        with ordinary_tensors():
            tensor = tensor.to(torch.float64)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, got {shown(tensor)}")
    return tensor


def as_tensor(name: str, value: Array) -> Tensor:
    """`value` itself if it is a tensor, with its gradient; else its numbers as a float64 tensor."""
    if not isinstance(value, Tensor):
        return _numbers(name, value)
    _check_dense(name, value)
    return value


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.is_meta or tensor.layout != torch.strided:
        raise ValueError(
            f"{name} must be a dense tensor that holds numbers, got one of layout {tensor.layout} "
            f"on {tensor.device}"
        )


def _numbers(name: str, value: Array) -> Tensor:
    """The numbers in nested lists or in an array that is no tensor, float64; text is no number."""
    nested = isinstance(value, list | tuple)
    try:
        entries = np.asarray(value, dtype=object if nested else None)
        kind = entries.dtype.kind
        numbers = all(map(_is_number, entries.flat)) if kind == "O" else kind in "biuf"
        if not numbers or np.ma.is_masked(value):
            raise TypeError("entries are no real numbers")
        with ordinary_tensors():
            return torch.tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError, OverflowError, RecursionError, RuntimeError) as error:
        raise ValueError(f"{name} must be an array of numbers, got {shown(value)}") from error


def _is_number(entry: object) -> bool:
    """Whether an entry is a real number. Numpy would read numbers in text and in dates, too."""
    return hasattr(entry, "__float__") and not isinstance(entry, _NO_NUMBERS)


def moderate(name: str, tensor: Tensor) -> None:
    """Raise unless the squares of all entries can be represented: variances are computed of them.

    So entries may be up to about 10^153 (float32: 10^18).
    """
    largest = tensor.abs().max().item()
    limit = 0.1 * torch.finfo(tensor.dtype).max ** 0.5
    if largest > limit:
        raise ValueError(f"{name} must not exceed {limit:.0e} in size, got {largest:.3g}")


def common_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as float32 if all are, else as float64; without negative zeros."""
    single = all(tensor.dtype == torch.float32 for tensor in tensors)
    dtype = torch.float32 if single else torch.float64
    with ordinary_tensors():
        return tuple(tensor.to(dtype) + 0.0 for tensor in tensors)


def shape_error(name: str, axes: str, expected: Sequence[object], got: Tensor) -> ValueError:
    """The error for a tensor whose axes are not `axes` of the sizes `expected`."""
    sizes = ", ".join(str(size) for size in expected)
    return ValueError(f"{name} must have shape {axes} = ({sizes}), got {tuple(got.shape)}")


def positive_integer(name: str, value: object, least: int = 1) -> int:
    """`value` as an int of at least `least`; bool, non-integers and 2**63 are refused."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {shown(value)}")
    if int(value) > LARGEST:
        raise ValueError(f"{name} must be below 2**63, got {shown(value)}")
    return int(value)


def integer(name: str, value: object) -> int:
    """`value` as an int of either sign that a double holds exactly."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be an integer, got {shown(value)}")
    if abs(int(value)) > 2**53:
        raise ValueError(f"{name} must be at most 2**53 in size, got {shown(value)}")
    return int(value)


def number(name: str, value: object) -> float:
    """`value` as a finite float of either sign."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {shown(value)}")
    if not abs(_float(value)) < float("inf"):  # NaN compares false
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return float(value)


def positive_number(name: str, value: object, *, allow_zero: bool = False) -> float:
    """`value` as a finite float above zero (or at least zero)."""
    bound = "at least 0" if allow_zero else "above 0"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number {bound}, got {shown(value)}")
    number = _float(value)
    if not (number >= 0 if allow_zero else number > 0) or number == float("inf"):
        raise ValueError(f"{name} must be finite and {bound}, got {shown(value)}")
    return number


def open_share(name: str, value: object) -> float:
    """`value` as a float strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < _float(value) < 1:
        raise ValueError(f"{name} must be a number above 0 and below 1, got {shown(value)}")
    return float(value)


def _float(value: Real) -> float:
    """`value` as a float; infinite where it is a whole number of more than 308 digits."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise unless `value` is one of `choices`; the message offers the closest one."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name} must be one of {_listed(choices)}, got {shown(value)}{meant(value, choices)}"
        )


def meant(value: object, choices: Iterable[str]) -> str:
    """The end of a message: which of `choices` a misspelt `value` may stand for, if any does."""
    near = get_close_matches(value[:100], choices, 1) if isinstance(value, str) else []
    return f": did you mean {near[0]!r}?" if near else ""


def _listed(choices: Sequence[str]) -> str:
    """`choices` in a message, the first of many."""
    more = f" and {len(choices) - MAX_LISTED} more" if len(choices) > MAX_LISTED else ""
    return ", ".join(map(repr, choices[:MAX_LISTED])) + more


def names(argument: str, value: object, count: int) -> tuple[str, ...] | None:
    """`value` as a tuple of `count` different names; None stays None.

    A name is a string of printable characters that are not all spaces.
    """
    if value is None:
        return None
    items: object = value
    if hasattr(value, "tolist") and not isinstance(value, Tensor):
        items = value.tolist()  # of an array of numpy or pandas
    wanted = f"{argument} must be None or {count} different names"
    if not isinstance(items, list | tuple):
        raise ValueError(f"{wanted} in a list or tuple, got {shown(value)}")
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"{wanted}, each a string, got {shown(item)} in {shown(items)}")
        if not item.strip() or not item.isprintable():
            raise ValueError(f"{wanted}, each printable and not blank, got {shown(item)}")
    if len(items) != count:
        raise ValueError(f"{wanted}, got {len(items)}: {shown(items)}")
    twice = [item for position, item in enumerate(items) if item in items[:position]]
    if twice:
        raise ValueError(f"{wanted}, got {shown(twice[0])} twice in {shown(items)}")
    return tuple(map(str, items))


def index(argument: str, value: object, count: int, names: Sequence[str] | None = None) -> int:
    """The index from 0 to `count - 1` that `value` is, or is the name of."""
    named = () if names is None else tuple(names)
    if isinstance(value, str) and value in named:
        return named.index(value)
    number = -1 if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
    if 0 <= number < count:
        return number
    choice = f" or one of {_listed(named)}" if named else ""
    raise ValueError(
        f"{argument} must be an index in 0..{count - 1}{choice}, got {shown(value)}"
        f"{meant(value, named)}"
    )


def sequence(name: str, value: object) -> tuple[Any, ...]:
    """`value` as a tuple if it is a tuple or a list."""
    if not isinstance(value, tuple | list):
        raise ValueError(f"{name} must be a tuple or a list, got {shown(value)}")
    return tuple(value)


def filled(name: str, value: object) -> str:
    """`value` if it is a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a string that is not empty, got {shown(value)}")
    return value


def function(name: str, value: object) -> None:
    """Raise unless `value` can be called."""
    if not callable(value):
        raise ValueError(f"{name} must be callable, got {shown(value)}")


def instance(name: str, value: object, kind: type[Kind]) -> Kind:
    """`value` if it is a `kind`."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {a(kind.__name__)}, got {shown(value)}")
    return value


def a(noun: str) -> str:
    """A noun with its article: "a game", "an action"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def distributions(name: str, rows: Tensor) -> None:
    """Raise unless every row `rows[..., :]` is a distribution (up to rounding)."""
    if rows.dtype not in SUM_TOLERANCE:
        raise ValueError(f"{name} must be float32 or float64, got {rows.dtype}")
    tolerance = SUM_TOLERANCE[rows.dtype]
    values = rows.detach()
    wrong = ~((values >= -tolerance).all(-1) & ((values.sum(-1) - 1).abs() <= tolerance))
    if wrong.any():  # NaN compares false, so it ends up here too
        index = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"{name} must hold distributions (entries >= 0, sum 1 within {tolerance:g}), "
            f"got {shown(values[index])} (sum {values[index].sum().item():.9g}) at row {index}"
        )


def device(name: str, value: object) -> torch.device:
    """`value` as a device of this machine that holds numbers."""
    try:
        wanted = torch.device(value)  # type: ignore[call-overload]
        if wanted.type == "cuda" and 0 < torch.cuda.device_count() <= (wanted.index or 0):
            raise ValueError(f"there are {torch.cuda.device_count()} CUDA devices")
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name} must be a device of this machine, such as 'cpu', got {shown(value)}: {reason}"
        ) from error
    if wanted.type == "meta":
        raise ValueError(f"{name} must hold numbers, got {shown(value)}")
    return wanted


def radius(name: str, value: object) -> float:
    """`value` as a radius of deviations: above 0 and at most 1.

    It bounds the change of each probability, so 1 allows every deviation.
    """
    number = positive_number(name, value)
    if number > 1:
        raise ValueError(
            f"{name} must be at most 1, the largest change of a probability, got {shown(value)}"
        )
    return number


def keys(where: str, value: object, needed: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Raise unless `value` is a dictionary with all keys `needed` and no other but `optional`.

    Args:
        where: what the message begins with, e.g. the file that `value` comes from.
    """
    if not isinstance(value, dict):
        listed = _listed(needed)
        raise ValueError(f"{where} must hold the keys {listed}, got {type(value).__name__}")
    known = (*needed, *optional)
    for key in value:
        if key not in known:
            near = meant(key, [name for name in known if name not in value])
            hint = near or f": the keys are {_listed(known)}"
            raise ValueError(f"{where}: unknown key {shown(key)}{hint}")
    for key in needed:
        if key not in value:
            raise ValueError(f"{where}: missing key {key!r}")


def profiles(name: str, value: object, n_leaders: int, n_rows: int, n_entries: int) -> None:
    """Raise unless `value` is a tensor of profiles `([B,] N, S, M)` of these sizes."""
    expected = (n_leaders, n_rows, n_entries)
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}")
    if value.ndim not in (3, 4) or value.shape[-3:] != expected:
        raise shape_error(name, "(B, N, S, M)", ("B", *expected), value)
    distributions(name, value)
