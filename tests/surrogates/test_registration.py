"""A surrogate registered from outside: its contract, the benchmark on it, and bad registrations."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch import nn

from dnl import fit
from dnl.bench import main
from dnl.layers import PATTERN_GRADIENTS
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.surrogates import SURROGATES, Architecture, Shape, Surrogate, register
from dnl.training.recipes import PAPER, RECIPE_NAMES
from games import synthetic_game
from tests.surrogates import test_fitting as fits
from tests.surrogates import test_surrogates as networks


def build(shape: Shape, sizes: Architecture) -> nn.Module:
    width = sizes.hidden[0]
    return nn.Sequential(nn.Linear(prod(shape[:3]), width), nn.Tanh(), nn.Linear(width, shape[0]))


FIELDS: dict[str, Any] = {
    "name": "tanh",
    "build": build,
    "recipes": dict.fromkeys(RECIPE_NAMES, PAPER),
    "per_sender": False,
    "label": "Tanh",
    "colour": "#123456",
    "marker": "8",
}


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a surrogate that is registered for the time of a test."""
    register(Surrogate(**FIELDS))
    yield FIELDS["name"]
    del SURROGATES._entries[FIELDS["name"]]


def test_networks_keep_the_contract(name: str) -> None:
    for batch in ((), (5,), (2, 3), (0,)):
        for dtype in networks.DTYPES:
            networks.test_one_number_per_row_in_the_dtype_of_the_network(name, 8, batch, dtype)
    networks.test_a_row_does_not_depend_on_the_others(name, PATTERN_GRADIENTS[0])
    networks.test_every_parameter_learns(name, PATTERN_GRADIENTS[0])
    networks.test_initialisation_comes_from_the_global_seed(name)
    networks.test_gradients_equal_finite_differences_inside_a_region(name, 0)
    networks.test_networks_of_one_shape_stack_and_others_differ(name)


def test_fits_keep_the_contract(name: str, tmp_path: Path) -> None:
    fits.test_stacked_equals_single(fits.contested(3), fits.TINY, name)
    fits.test_stacked_equals_single(fits.mixed(), fits.MIXED, name)
    fits.test_own_gradients_at_once_are_those_of_each_sender(name)
    fits.test_every_surrogate_is_trained_on_the_game_s_data_stream(name)
    fits.test_gradient_in_the_policies_is_the_slope(name)
    fits.test_storage_is_exact(name, "float64", tmp_path)


def test_the_benchmark_runs_on_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = "--senders 2 --signals 2 --states 2 --actions 2 --instances 1 --samples 50 --epochs 1"
    tiny += f" --starts 2 --deviations 1 --quiet --out {tmp_path} --surrogates"
    assert cli.run(main, "dnl.bench", [*tiny.split(), "relu", name]) == 0
    rows = pd.read_csv(tmp_path / "results.csv")
    assert rows["surrogate"].tolist() == ["relu", name]
    assert set(rows["status"]) == {"ok"}
    assert (tmp_path / "figures" / "welfare_contested.png").exists()
    assert cli.run(main, "dnl.bench", [*tiny.split(), "tan"]) == 2
    assert f"'follower-dnl', '{name}', got 'tan'" in capsys.readouterr().err


def test_figures_list_it_after_the_library_s_own(name: str) -> None:
    styles = palette.surrogate_styles(["unknown"])
    assert set(styles) == {*SURROGATES, "unknown"}
    assert list(styles)[-2:] == [name, "unknown"]
    assert list(SURROGATES)[-1] == name
    assert styles[name] == palette.Style("Tanh", "#123456", "8")
    assert len({style.colour for style in styles.values()}) == len(styles)


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(field: str) -> None:
    kept = {name: value for name, value in FIELDS.items() if name != field}
    with pytest.raises(ValueError, match=f"^{field} must "):
        register(Surrogate(**kept))
    assert "tanh" not in SURROGATES


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("name", ""),
        ("name", 3),
        ("build", "tanh"),
        ("recipes", PAPER),
        ("recipes", {"paper": PAPER}),
        ("recipes", {"paper": PAPER, "tuned": 0.01}),
        ("per_sender", "no"),
        ("refusal", True),
        ("label", b"Tanh"),
        ("colour", "blue"),
        ("colour", 0x123456),
        ("marker", None),
    ],
)
def test_a_field_of_a_wrong_kind_is_named(field: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} must .*got "):
        register(Surrogate(**FIELDS | {field: wrong}))
    assert "tanh" not in SURROGATES


def test_names_are_taken_once(name: str) -> None:
    for taken in (name, "relu"):
        before = SURROGATES[taken]
        with pytest.raises(ValueError, match=f"name '{taken}' is taken"):
            register(Surrogate(**FIELDS | {"name": taken}))
        assert SURROGATES[taken] is before
    other: Any = "relu"
    with pytest.raises(ValueError, match="entry must be a Surrogate, got 'relu'"):
        register(other)


def test_the_registry_is_changed_by_registration_only() -> None:
    view: Any = SURROGATES
    with pytest.raises(TypeError):
        view["mine"] = SURROGATES["relu"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda shape, sizes: 3, "what build of surrogate 'bad' returns must be a Module, got 3"),
        (
            lambda shape, sizes: nn.Linear(prod(shape[:3]), 3),
            r"surrogate 'bad' must predict \(B, 2\) utilities .*, got shape \(1, 3\) for B=1",
        ),
    ],
)
def test_networks_that_cannot_serve_are_refused_by_the_surrogate_s_name(
    build: Any, message: str
) -> None:
    register(Surrogate(**FIELDS | {"name": "bad", "build": build}))
    try:
        with pytest.raises(ValueError, match=message):
            fit(synthetic_game(2, 2, 2, 2, seed=0), "bad", fits.TINY)
    finally:
        del SURROGATES._entries["bad"]
