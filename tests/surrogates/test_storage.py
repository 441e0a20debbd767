"""What a file of a fitted surrogate may hold, and what happens to one that holds anything else."""

import dataclasses
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dnl import FitConfig, FittedSurrogate, fit
from dnl.surrogates.registry import SURROGATES, Architecture
from dnl.training.recipes import Recipe
from games import didactic_game

STILL = FitConfig(
    samples=70,
    test_samples=50,
    epochs=1,
    architecture=Architecture(hidden=(9, 9, 9), hyper=(4, 4)),
    device="cpu",
)
Content = dict[str, Any]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def fitted() -> FittedSurrogate:
    return fit(didactic_game(), "relu", STILL)


@pytest.fixture
def content(fitted: FittedSurrogate, tmp_path: Path) -> Content:
    """What a good file holds."""
    fitted.save(tmp_path / "good.pt")
    found: Content = torch.load(tmp_path / "good.pt", weights_only=True)
    return found


class Allocations(TorchDispatchMode):
    """Watches how much memory the tensors that operations return take at most, in bytes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor) and value.device.type != "meta":
                self.largest = max(self.largest, value.untyped_storage().nbytes())
        return found


def load(content: object, folder: Path) -> FittedSurrogate:
    torch.save(content, folder / "made.pt")
    return FittedSurrogate.load(folder / "made.pt")


def refused(content: object, folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=rf"made\.pt holds no fitted surrogate: {message}"):
        load(content, folder)


# ---------------------------------------------------------------------------- what is right


def test_a_good_file_takes_little_more_memory_than_its_size(
    content: Content, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "made.pt")
    with Allocations() as allocations:
        FittedSurrogate.load(tmp_path / "made.pt")
    assert 0 < allocations.largest <= (tmp_path / "made.pt").stat().st_size


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_a_recipe_of_one_s_own_is_stored(surrogate: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        SURROGATES[surrogate].recipes["tuned"], batch_size=64, settle=False
    )
    config = dataclasses.replace(STILL, recipe=recipe)
    fitted = fit(didactic_game(), surrogate, config)
    fitted.save(tmp_path / "fit.pt")
    loaded = FittedSurrogate.load(tmp_path / "fit.pt")
    assert isinstance(loaded.config.recipe, Recipe)
    assert loaded.config == dataclasses.replace(config, device="auto")


def test_a_configuration_of_fewer_settings_has_defaults_for_the_others(
    content: Content, tmp_path: Path
) -> None:
    del content["config"]["lr"], content["config"]["architecture"]["prior"]
    loaded = load(content, tmp_path)
    assert loaded.config.lr is None
    assert loaded.config.architecture.prior == "learned"


def test_files_that_say_that_there_are_no_hidden_layers_are_read(
    content: Content, tmp_path: Path
) -> None:
    content["config"]["architecture"]["upper"] = ()  # as they were written up to version 0.1
    assert load(content, tmp_path).config == dataclasses.replace(STILL, device="auto")


def test_errors_may_be_unknown(content: Content, tmp_path: Path) -> None:
    unknown = content["mse"] * NAN
    assert load(content | {"mse": unknown}, tmp_path).mse.isnan().all()


# ---------------------------------------------------------------------------- what is wrong

N = 2  # senders of the game
TENSORS = {
    "a number": 1.0,
    "none": None,
    "a list": [1.0],
    "too long": torch.ones(N + 1, dtype=torch.float64),
    "two axes": torch.ones(N, 1, dtype=torch.float64),
    "integers": torch.ones(N, dtype=torch.int64),
    "complex": torch.ones(N, dtype=torch.complex64),
    "sparse": torch.ones(N, dtype=torch.float64).to_sparse(),
}


@pytest.mark.parametrize("name", ["mean", "scale", "mse", "unexplained", "constant"])
@pytest.mark.parametrize("wrong", TENSORS.values(), ids=TENSORS)
def test_tensors_of_another_kind_are_refused(
    name: str, wrong: object, content: Content, tmp_path: Path
) -> None:
    if isinstance(wrong, Tensor) and wrong.layout == torch.sparse_coo:
        refused(
            content | {name: wrong}, tmp_path, "it is no archive|it must hold tensors and plain"
        )
    else:
        refused(content | {name: wrong}, tmp_path, f"{name} must be ")


VALUES = [
    *(("mean", value) for value in (NAN, INF)),
    *(("scale", value) for value in (NAN, INF, 0.0, -1.0)),
    ("mse", -1.0),
    ("unexplained", -1.0),
]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_values_out_of_range_are_refused(
    name: str, value: float, content: Content, tmp_path: Path
) -> None:
    wrong = torch.full_like(content[name], value)
    refused(content | {name: wrong}, tmp_path, f"{name} must be .*numbers.* got ")


WRONG: dict[str, list[object]] = {
    "format": [0, 2, "1", None, torch.ones(2)],
    "surrogate": ["mlp", None, ["relu"], torch.ones(2)],
    "shape": [None, (1, 2, 2), [1, 2, 2, 2], (1, 2, 2, 0), (1, 2, 2, 2.0), (1, 2, 2, 2**70)],
    "parameter_count": [-1, 1.5, None, 3],
    "seed": [-1, 1.5, None, True],
    "fit_seconds": [-1.0, NAN, INF, None],
    "game": [None, 3],
    "networks": [None, [], {}, {3: 4}],
    "config": [None, [], {"epoch": 3}],
}


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name, several in WRONG.items() for wrong in several]
)
def test_other_fields_are_checked(
    name: str, wrong: object, content: Content, tmp_path: Path
) -> None:
    refused(content | {name: wrong}, tmp_path, f"{name} must ")


@pytest.mark.parametrize("name", ["mean", "shape", "config", "networks", "game"])
def test_a_missing_field_is_named(name: str, content: Content, tmp_path: Path) -> None:
    del content[name]
    refused(content, tmp_path, rf"fields must be .*missing=\['{name}'\]")


def test_an_unknown_field_is_named(content: Content, tmp_path: Path) -> None:
    refused(content | {"colour": 3}, tmp_path, r"fields must be .*unknown=\['colour'\]")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("epochs", 0, "config: epochs must be"),
        ("epochs", None, "config: epochs must be"),
        ("dtype", "float16", "config: dtype must be"),
        ("dtype", "float64", r"networks\['stacked.*'\] must be of dtype torch\.float64"),
        ("recipe", "mine", "config: recipe must be"),
        ("recipe", {"speed": 1}, "config.recipe must be"),
        ("recipe", {"lr": -1.0}, "config.recipe: lr must be"),
        ("recipe", {}, "config.recipe: "),
        ("recipe", {"lr": 0.1, "temperature": 3}, "config.recipe: "),
        ("architecture", None, "config.architecture must be a dictionary"),
        ("architecture", {"depth": 3}, "config.architecture must be a dictionary"),
        ("architecture", {"hidden": (8, 0)}, "config.architecture: hidden must"),
        ("architecture", {"hidden": None}, "config.architecture: hidden must"),
        ("architecture", {"upper": (4,)}, "config.architecture must be a dictionary"),
        ("architecture", {"hidden": (8,) * 10_000}, "config.architecture must be as deep"),
        (
            "architecture",
            {"hidden": (8, 8, 9)},
            r"networks\['stacked.*'\] must be a tensor of shape",
        ),
        ("architecture", {"hidden": (2**62,) * 3}, "config.architecture: |networks"),
    ],
    ids=str,
)
def test_configurations_are_checked(
    name: str, wrong: object, message: str, content: Content, tmp_path: Path
) -> None:
    content["config"][name] = wrong
    refused(content, tmp_path, message)


def nothing_finite(values: Tensor) -> Tensor:
    return values * NAN


def one_infinite(values: Tensor) -> Tensor:
    values.flatten()[-1] = INF
    return values


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nothing_finite, "must be finite"),
        (one_infinite, "must be finite"),
        (lambda values: values[:0], "must be a tensor of shape"),
        (lambda values: values.unsqueeze(0), "must be a tensor of shape"),
        (lambda values: values.double(), "must be of dtype torch.float32"),
        (lambda values: values.to(torch.int32), "must be of dtype torch.float32"),
        (lambda values: values.tolist(), "must be a tensor of shape"),
        (lambda values: None, "must be a tensor of shape"),
    ],
)
def test_damaged_weights_are_refused(
    damage: Callable[[Tensor], object], message: str, content: Content, tmp_path: Path
) -> None:
    state = content["networks"]
    name = next(iter(state))
    state[name] = damage(state[name])
    refused(content, tmp_path, rf"networks\['{name}'\] {message}")


# ---------------------------------------------------------------------------- memory


def test_large_networks_are_refused_before_there_is_memory_for_them(
    content: Content, tmp_path: Path
) -> None:
    content["config"]["architecture"]["hidden"] = (2**12, 2**12, 2**12)
    with Allocations() as allocations:
        refused(content, tmp_path, r"networks\['stacked.*'\] must be a tensor of shape")
    assert allocations.largest < 2**20


@pytest.mark.parametrize("width", [2**12, 2**20])
def test_weights_that_are_larger_than_the_file_are_refused(
    width: int, content: Content, tmp_path: Path
) -> None:
    # One number in the file, repeated by strides of 0.
    content["config"]["architecture"]["hidden"] = (width, width, width)
    one = torch.zeros(1)
    for name, value in content["networks"].items():
        size = [width if axis == 9 else axis for axis in value.shape]
        content["networks"][name] = one.expand(size)
    with Allocations() as allocations:
        refused(content, tmp_path, r"networks\['stacked.*'\] must be no larger than the file")
    assert allocations.largest < 2**20


def test_compressed_archives_are_refused(content: Content, tmp_path: Path) -> None:
    data = io.BytesIO()
    torch.save(content | {"padding": torch.zeros(2**20)}, data)
    with (
        zipfile.ZipFile(data) as plain,
        zipfile.ZipFile(tmp_path / "made.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for member in plain.namelist():
            small.writestr(member, plain.read(member))
    with pytest.raises(ValueError, match=r"made\.pt holds .*archive must not be compressed"):
        FittedSurrogate.load(tmp_path / "made.pt")


class Large:
    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (2**40,)


def test_calls_for_anything_but_tensors_are_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    torch.save({}, data)
    with (
        zipfile.ZipFile(data) as plain,
        zipfile.ZipFile(tmp_path / "made.pt", "w") as made,
    ):
        for member in plain.namelist():
            call = member.endswith("data.pkl")
            made.writestr(member, pickle.dumps(Large(), 2) if call else plain.read(member))
    with pytest.raises(ValueError, match=r"made\.pt holds .*got (__builtin__|builtins) bytearray"):
        FittedSurrogate.load(tmp_path / "made.pt")


# ---------------------------------------------------------------------------- writing


def test_a_failed_save_keeps_the_old_file(
    fitted: FittedSurrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fit.pt"
    fitted.save(path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        dataclasses.replace(fitted, seed=7).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["fit.pt"]


def test_save_writes_nothing_where_something_cannot_be_stored(
    fitted: FittedSurrogate, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "fit.pt")
    before = (tmp_path / "fit.pt").read_bytes()
    unstorable = dataclasses.replace(fitted, game=lambda: None)  # type: ignore[arg-type]
    with pytest.raises((AttributeError, pickle.PicklingError)):
        unstorable.save(tmp_path / "fit.pt")
    assert (tmp_path / "fit.pt").read_bytes() == before
