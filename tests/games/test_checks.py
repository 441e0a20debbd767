"""Values in error messages: as Python shows them, and never long."""

import numpy as np
import pytest
import torch

from games.checks import (
    LARGEST,
    keys,
    one_of,
    open_share,
    positive_integer,
    positive_number,
    radius,
    shown,
)


@pytest.mark.parametrize("value", [1, -2.5, "text", None, True, [0.25, 0.75], (1, "a"), {"a": [1]}])
def test_short_values_are_shown_as_python_does(value: object) -> None:
    assert shown(value) == repr(value)


def test_tensors_are_shown_as_lists() -> None:
    assert shown(torch.tensor([0.25, 0.75])) == "[0.25, 0.75]"
    assert shown(torch.tensor(3)) == "3"
    assert shown(torch.zeros(10**6)).startswith("[0.0, 0.0, 0.0, ")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        [0.5] * 10**6,
        [[[1.0] * 100] * 100] * 100,
        tuple(range(10**5)),
        {i: i for i in range(10**5)},
        10**4000,
        10**5000,
        np.zeros(10**6),
        torch.zeros(100, 100, 100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_long_values_are_abbreviated(value: object) -> None:
    assert len(shown(value)) <= 400


def test_a_value_that_holds_itself_or_is_deep_is_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(shown(deep)) < 400


def test_whole_numbers_that_nothing_holds_are_refused() -> None:
    assert positive_integer("seed", LARGEST) == 2**63 - 1
    for value in (2**63, 10**400):
        with pytest.raises(ValueError, match=r"seed must be below 2\*\*63, got [0-9]+"):
            positive_integer("seed", value)
    with pytest.raises(ValueError, match="radius must be finite and above 0, got 1000"):
        positive_number("radius", 10**400)
    with pytest.raises(ValueError, match="share must be a number above 0 and below 1, got 1000"):
        open_share("share", 10**400)


@pytest.mark.parametrize("value", [1e-9, 0.005, np.float64(0.5), 1, 1.0])
def test_radii_reach_from_above_0_to_1(value: float) -> None:
    assert radius("radius", value) == value
    assert type(radius("radius", value)) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2, "radius must be at most 1, the largest change of a probability, got 2"),
        (1.0000001, r"radius must be at most 1, .*, got 1\.0000001"),
        (10**400, "radius must be finite and above 0, got 1000"),
        (0, "radius must be finite and above 0, got 0"),
        (-0.5, r"radius must be finite and above 0, got -0\.5"),
        (float("nan"), "radius must be finite and above 0, got nan"),
        (True, "radius must be a number above 0, got True"),
        (None, "radius must be a number above 0, got None"),
        ("0.1", r"radius must be a number above 0, got '0\.1'"),
    ],
)
def test_other_radii_are_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        radius("radius", value)


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("contestd", "got 'contestd': did you mean 'contested'?"),
        ("papers", "got 'papers': did you mean 'paper'?"),
        ("zzz", "got 'zzz'"),
        ("", "got ''"),
        (None, "got None"),
        (["paper"], "got ['paper']"),
    ],
)
def test_a_near_miss_is_answered_with_what_may_be_meant(value: object, end: str) -> None:
    with pytest.raises(ValueError, match="law must be one of") as error:
        one_of("law", value, ("paper", "contested"))
    assert str(error.value) == f"law must be one of 'paper', 'contested', {end}"
    one_of("law", "paper", ("paper", "contested"))


def test_a_long_misspelt_word_and_many_choices_stay_short() -> None:
    many = tuple(f"choice {i}" for i in range(10_000))
    with pytest.raises(ValueError, match=r"'choice 39' and 9960 more, got 'xxx") as error:
        one_of("choice", "x" * 10**6, many)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prior": 1, "size": 2}, None),
        ({"prior": 1, "size": 2, "name": 3}, None),
        ({"prior": 1}, "missing key 'size'"),
        ({"piror": 1, "size": 2}, "unknown key 'piror': did you mean 'prior'?"),
        ({"prior": 1, "priors": 1}, "unknown key 'priors': the keys are 'prior', 'size', 'name'"),
        ({"prior": 1, "size": 2, 3: 4}, "unknown key 3: the keys are 'prior', 'size', 'name'"),
    ],
)
def test_keys_that_are_missing_or_unknown_are_named(record: object, message: str | None) -> None:
    if message is None:
        keys("file", record, ("prior", "size"), ("name",))
        return
    with pytest.raises(ValueError, match=r"^file: ") as error:
        keys("file", record, ("prior", "size"), ("name",))
    assert str(error.value) == f"file: {message}"


def test_a_record_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="file must hold the keys 'prior', 'size', got list"):
        keys("file", ["prior", "size"], ("prior", "size"))
