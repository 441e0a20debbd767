"""Values in error messages: as Python shows them, and never long."""

import numpy as np
import pytest
import torch

from games.checks import LARGEST, positive_integer, positive_number, shown


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
