"""Fitted surrogates as bytes; everything read is checked before anything is built from it.

The bytes are a torch archive of tensors and plain values, without code. No tensor in it may be
larger than the archive, and sizes are compared before memory is allocated: the author of a file
cannot make us use more memory than its size.
"""

import io
import pickle
import pickletools
import reprlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NoReturn

import torch
from torch import Tensor

from dnl.layers.stack import NetworkStack
from dnl.runtime.settings import without_retired
from dnl.surrogates.config import DTYPES, FitConfig
from dnl.surrogates.registry import (
    SURROGATES,
    Architecture,
    make_surrogate,
    network_shape,
    networks_per_game,
)
from dnl.training.recipes import Recipe
from games import checks

FORMAT = 1
FIELDS = (
    *("surrogate", "mean", "scale", "mse", "unexplained", "constant"),
    *("parameter_count", "fit_seconds", "game", "shape", "seed"),
)
CALLS = (
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
)
# What torch.load raises for other bytes.
_MALFORMED = (
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def packed(content: Mapping[str, Any]) -> bytes:
    """A surrogate's fields, configuration and network weights as bytes."""
    data = io.BytesIO()
    torch.save({"format": FORMAT, **content}, data)
    return data.getvalue()


def unpacked(data: bytes) -> dict[str, Any]:
    """The arguments of a `FittedSurrogate`, from bytes that `packed` returned.

    Raises:
        ValueError: for a malformed field, with its name and value.
    """
    content = _values(data)
    version = content.get("format")
    if type(version) is not int or version != FORMAT:
        _refuse("format", str(FORMAT), version)
    names = {"format", "networks", "config", *FIELDS}
    if content.keys() != names:
        missing, unknown = sorted(names - content.keys()), sorted(content.keys() - names, key=repr)
        raise ValueError(f"fields must be {sorted(names)}, got {missing=} and {unknown=}")
    found = {name: content[name] for name in FIELDS}
    if type(found["surrogate"]) is not str or found["surrogate"] not in SURROGATES:
        _refuse("surrogate", f"one of {list(SURROGATES)}", found["surrogate"])
    _check_shape(found["shape"])
    for name in ("parameter_count", "seed"):
        checks.positive_integer(name, found[name], least=0)
    checks.positive_number("fit_seconds", found["fit_seconds"], allow_zero=True)
    if type(found["game"]) is not str:
        _refuse("game", "a string", found["game"])
    n_senders = found["shape"][0]
    for name, (what, right) in _PER_SENDER.items():
        value = _tensor(name, found[name], (n_senders,), len(data))
        if not right(value):
            _refuse(name, what, value.tolist())
    found["config"] = config = _config(content["config"])
    found["networks"] = _networks(
        content["networks"], found["surrogate"], found["shape"], config, len(data)
    )
    trained = [p for p in found["networks"].parameters() if p.requires_grad]
    count = sum(p[0].numel() for p in trained)
    if found["parameter_count"] != count:
        _refuse("parameter_count", str(count), found["parameter_count"])
    return found


def _values(data: bytes) -> dict[str, Any]:
    """The archive's content; only its size is checked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(data):
                raise ValueError("the archive must not be compressed")
            (structure,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            _check_calls(archive.read(structure))
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _MALFORMED as error:
        raise ValueError(f"it is no archive of torch's, {error}") from error
    if type(content) is not dict:
        raise ValueError(f"it must hold a dictionary, got {type(content).__name__}")
    return content


def _check_calls(structure: bytes) -> None:
    """Raise unless a pickle builds only tensors and dictionaries.

    `torch.load` also allows a few harmless types, of any size.
    """
    for operation, argument, _ in pickletools.genops(structure):
        if operation.name in ("GLOBAL", "STACK_GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            if (module, name) not in CALLS and not (module == "torch" and name.endswith("Storage")):
                raise ValueError(f"it must hold tensors and plain values, got {argument}")


def _floating(tensor: Tensor) -> bool:
    return tensor.dtype in DTYPES.values()


# What each tensor `(N,)` must hold. Errors are NaN where they could not be measured.
_PER_SENDER: Mapping[str, tuple[str, Callable[[Tensor], bool]]] = {
    "mean": ("finite numbers", lambda t: _floating(t) and bool(t.isfinite().all())),
    "scale": (
        "finite numbers above 0",
        lambda t: _floating(t) and bool((t.isfinite() & (t > 0)).all()),
    ),
    "mse": ("numbers of at least 0", lambda t: _floating(t) and not (t < 0).any()),
    "unexplained": ("numbers of at least 0", lambda t: _floating(t) and not (t < 0).any()),
    "constant": ("truth values", lambda t: t.dtype == torch.bool),
}


def _check_shape(shape: object) -> None:
    """Raise unless it is `(N, M, S, A)`."""
    if (
        not isinstance(shape, tuple)
        or len(shape) != 4
        or any(type(size) is not int or not 1 <= size < 2**31 for size in shape)
    ):
        _refuse("shape", "four integers (N, M, S, A) of at least 1", shape)


def _tensor(name: str, value: object, size: tuple[int, ...], most: int) -> Tensor:
    """`value` if it is a dense CPU tensor of this size with at most `most` bytes."""
    if not isinstance(value, Tensor):
        _refuse(name, f"a tensor of shape {size}", value)
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        _refuse(name, "a dense tensor", shown=f"{value.layout} on {value.device}")
    if tuple(value.shape) != size:
        _refuse(name, f"a tensor of shape {size}", shown=f"shape {tuple(value.shape)}")
    if value.numel() * value.element_size() > most:
        _refuse(name, "no larger than the file", shown=f"shape {tuple(value.shape)}")
    return value.detach()


def _config(content: object) -> FitConfig:
    """The configuration, with device "auto"."""
    options = {"recipe": "paper", "architecture": {}} | _options("config", content, FitConfig)
    sizes = options["architecture"]
    if isinstance(sizes, dict):
        sizes = without_retired(sizes)
    with _naming("config.architecture"):
        architecture = Architecture(**_options("config.architecture", sizes, Architecture))
    recipe = options["recipe"]
    if isinstance(recipe, dict):
        with _naming("config.recipe"):
            recipe = Recipe(**_options("config.recipe", recipe, Recipe))
    with _naming("config"):
        own = {"architecture": architecture, "recipe": recipe, "device": "auto"}
        return FitConfig(**options | own)


def _options(name: str, content: object, kind: type) -> dict[str, Any]:
    """`content` if it is a dictionary of fields of `kind`; missing ones will have defaults."""
    known = [field.name for field in fields(kind)]
    if not isinstance(content, dict) or not set(content) <= set(known):
        _refuse(name, f"a dictionary of {known}", content)
    return content


class _naming:
    """Puts the name of a field before any error message about it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, TypeError, AttributeError, OverflowError, RuntimeError)):
            message = str(error)
            if not message.startswith("config"):
                message = f"{self.name}: {message}"
            raise ValueError(message) from error


def _networks(
    state: object, surrogate: str, shape: tuple[int, int, int, int], config: FitConfig, most: int
) -> NetworkStack:
    """The networks with these weights."""
    if not isinstance(state, dict):
        _refuse("networks", "a dictionary of tensors", state)
    architecture = config.architecture
    layers = len(architecture.hidden) + len(architecture.hyper)
    if layers > 64 + len(state):  # a layer that is used has tensors of its own
        _refuse("config.architecture", f"as deep as its {len(state)} tensors", layers)
    with _naming("config.architecture"):
        *_, values = network_shape(surrogate, shape, architecture)
    count = networks_per_game(surrogate, shape[0])
    assert isinstance(values, tuple)
    sizes = {f"stacked.{name.replace('.', '/')}": (count, *size) for name, size in values}
    if state.keys() != sizes.keys():
        _refuse("networks", f"tensors called {sorted(sizes)}", sorted(state, key=repr))
    dtype = DTYPES[config.dtype]
    for name, size in sizes.items():
        value = _tensor(f"networks[{name!r}]", state[name], size, most)
        if value.dtype != dtype:
            _refuse(f"networks[{name!r}]", f"of dtype {dtype}", shown=str(value.dtype))
        if not value.isfinite().all():
            _refuse(f"networks[{name!r}]", "finite", value[~value.isfinite()][:3].tolist())
    with torch.device("meta"):  # structure without values, which the state then provides
        networks = NetworkStack([make_surrogate(surrogate, shape, architecture)] * count)
    networks.load_state_dict(state, assign=True)
    return networks


def _refuse(name: str, right: str, got: object = None, shown: str | None = None) -> NoReturn:
    raise ValueError(f"{name} must be {right}, got {shown or reprlib.repr(got)}")
