"""The numbers of a benchmark's summary and figures, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from dnl.reporting import benchmark_numbers as numbers
from tests.cases.benchmark import one_game


def test_mean_and_interval_of_hand_computed_values() -> None:
    table = pd.DataFrame(
        {
            "x": ["a"] * 4 + ["b"] * 2 + ["c"] * 2,
            "value": [1.0, 2.0, 3.0, math.nan, 5.0, 7.0, math.nan, math.nan],
        }
    )
    result = numbers.mean_and_interval(table, ["x"], "value").set_index("x")
    assert result["mean"].tolist() == pytest.approx([2.0, 6.0, math.nan], nan_ok=True)
    assert result["count"].tolist() == [3, 2, 0]
    # Standard deviation 1, three values; t of two degrees of freedom is 4.303 in any table.
    assert result.loc["a", "half_width"] == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert result.loc[["b", "c"], "half_width"].isna().all()


@pytest.mark.parametrize(("count", "t"), [(4, 3.182), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_half_width_is_students_t_times_the_standard_error(count: int, t: float) -> None:
    table = pd.DataFrame({"x": ["a"] * count, "value": np.arange(count, dtype=float)})
    error = table["value"].std() / math.sqrt(count)
    result = numbers.mean_and_interval(table, ["x"], "value")
    assert result["half_width"].item() == pytest.approx(t * error, rel=2e-4)


def test_comparison_values_count_once_per_game() -> None:
    other = {f"best_{name}": math.nan for name in ("welfare", "utility_0", "utility_1")}
    rows = pd.DataFrame([one_game(), one_game(surrogate="relu", **other), one_game(instance=1)])
    long = numbers.outcomes(rows, "welfare")
    counts = {"dnl": 2, "relu": 1, numbers.FULL: 2, numbers.NONE: 2}
    counts |= {numbers.MEAN_START: 2, numbers.BEST_START: 2}
    assert long.groupby("series")["value"].size().to_dict() == counts
    means = numbers.mean_and_interval(long, ["series"], "value").set_index("series")
    assert means["mean"].drop("relu").to_dict() == {
        "dnl": 4.0,
        numbers.FULL: 3.0,
        numbers.NONE: 2.0,
        numbers.MEAN_START: 1.0,
        numbers.BEST_START: 2.5,
    }
    assert means.loc["relu", "count"] == 0


NONE_LEFT = {"best_welfare": math.nan}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0, 1, 2]),
        ({(1, "relu"): NONE_LEFT}, [0, 2]),
        ({(1, "relu"): NONE_LEFT, (2, "dnl"): NONE_LEFT}, [0]),
        # A network that has none in any game does not empty the comparison of the others.
        ({(i, "relu"): NONE_LEFT for i in range(3)}, [0, 1, 2]),
        # The random starts are one of the series.
        ({(0, name): {"best_start_welfare": math.nan} for name in ("dnl", "relu")}, [1, 2]),
        ({(i, n): {**NONE_LEFT} for i in range(3) for n in ("dnl", "relu")}, [0, 1, 2]),
    ],
)
def test_outcomes_are_compared_in_the_games_where_all_have_one(
    changes: dict[tuple[int, str], dict[str, float]], expected: list[int]
) -> None:
    rows = [
        one_game(instance=i, surrogate=name, **changes.get((i, name), {}))
        for i in range(3)
        for name in ("dnl", "relu")
    ]
    missing = [row["surrogate"] for row in rows if math.isnan(row["best_welfare"])]
    none = [name for name in ("dnl", "relu") if missing.count(name) == 3]
    found = numbers.compared(pd.DataFrame(rows))
    assert found["instance"].tolist() == [i for i in expected for _ in range(2)]
    text = numbers.games_compared(pd.DataFrame(rows))
    left = [{"dnl": "DNL", "relu": "ReLU"}[name] for name in none]
    assert text.endswith(f". None in any game: {', '.join(left)}" if left else ")")
    who = "a random start is" if len(left) == 2 else "all have a profile"
    assert text.startswith(f"Compared in {len(expected)} of 3 games, where {who} not refuted")


def test_utilities_above_full_revelation_are_fractions_of_the_payoff_range() -> None:
    long = numbers.above_full_revelation(pd.DataFrame([one_game()])).set_index(["series", "x"])
    value = long["value"]
    assert value["dnl", "sender 0"] == pytest.approx((3 - 1) / 4)
    assert math.isnan(value["dnl", "sender 1"])  # a payoff range of 0
    assert value["dnl", "welfare"] == pytest.approx((4 - 3) / (4 + 0))
    assert value[numbers.NONE, "sender 0"] == pytest.approx((0 - 1) / 4)
    assert value[numbers.MEAN_START, "welfare"] == pytest.approx((1 - 3) / 4)
    assert numbers.FULL not in long.index


def test_welfare_gains_are_in_units_of_utility() -> None:
    gains = numbers.welfare_gains(pd.DataFrame([one_game()])).set_index("series")["value"]
    expected = {"dnl": 1.0, numbers.BEST_START: -0.5, numbers.MEAN_START: -2.0, numbers.NONE: -1.0}
    assert gains.to_dict() == expected


def test_pass_percentages() -> None:
    rows = pd.DataFrame([one_game(), one_game(surrogate="relu", not_refuted=0)])
    value = numbers.pass_percentages(rows).set_index("series")["value"]
    assert value.to_dict() == {"dnl": 25.0, "relu": 0.0, numbers.STARTS: 50.0}


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ((3, 4), ""),
        # A tie.
        ((2, 3), "Random starts (50.0 % not refuted) do no worse than the end points of DNL"),
        ((1, 0), "do no worse than the end points of DNL (25.0 %), ReLU (0.0 %)"),
        ((0, 0), "Every end point of every network was refuted (50.0 % of the random starts were"),
    ],
)
def test_verdict_is_plain(kept: tuple[int, int], sentence: str) -> None:
    games = [one_game(not_refuted=kept[0]), one_game(surrogate="relu", not_refuted=kept[1])]
    told = numbers.verdict(pd.DataFrame(games))
    assert sentence in told
    assert bool(told) == bool(sentence)
