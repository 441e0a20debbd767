"""The text at the end of a run, on tables made by hand."""

import math
from typing import Any

import pandas as pd
import pytest

from dnl.benchmark.rows import columns
from dnl.reporting.benchmark_text import summarise

NOTHING = "NOTHING PASSED"
RANDOM = "Random starts pass as often as the end points on "


def row(instance: int, surrogate: str, **values: Any) -> dict[str, Any]:
    """A good row: 1 of 10 random starts and 5 of 10 end points not refuted, 1 above FR."""
    return {
        "law": "contested",
        "n_senders": 2,
        "n_signals": 2,
        "n_states": 2,
        "n_actions": 2,
        "instance": instance,
        "surrogate": surrogate,
        "status": "ok",
        "parameter_count": 8961,
        "mse": 2.0,
        "unexplained": 0.25,
        "constant": False,
        "fit_seconds": 1.0,
        "radius": 0.005,
        "starts": 10,
        "not_refuted": 5,
        "starts_not_refuted": 1,
        "best_welfare": 4.0,
        "fr_welfare": 3.0,
        "ni_welfare": 1.0,
        "start_welfare": 2.0,
        "game": f"game{instance}",
    } | values


def failed(instance: int, surrogate: str, error: str) -> dict[str, Any]:
    keys = ("law", "n_senders", "n_signals", "n_states", "n_actions", "instance", "surrogate")
    good = row(instance, surrogate)
    return {name: good[name] for name in keys} | {"status": "error", "error": error}


def text(*rows: dict[str, Any]) -> str:
    return summarise(pd.DataFrame(list(rows), columns=columns(2)))


def passing(*counts: int, starts: int = 1, **values: Any) -> list[dict[str, Any]]:
    """Rows of ReLU, one per game, of whose 10 end points `counts` are not refuted."""
    extra = {"starts_not_refuted": starts} | values
    return [row(i, "relu", not_refuted=count, **extra) for i, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("rows", "nothing", "random"),
    [
        (passing(5), 0, []),
        (passing(0), 1, []),
        (passing(0, 0, starts=0), 1, []),
        (passing(0, 1, starts=0), 0, []),
        (passing(1), 0, ["relu (10.0% against 10.0%)"]),
        (passing(2), 0, []),
        (passing(2, starts=3), 0, ["relu (30.0% against 20.0%)"]),
        # Shares are of all games together: 2 of 20 against 2 of 20, then 3 of 20.
        (passing(2, 0), 0, ["relu (10.0% against 10.0%)"]),
        (passing(3, 0), 0, []),
        # The random starts are each game's, whatever the number of surrogates.
        ([*passing(1), row(0, "dnl", not_refuted=2)], 0, ["relu (10.0% against 10.0%)"]),
        ([*passing(0), row(0, "dnl")], 0, []),
        ([*passing(0), row(0, "dnl", not_refuted=0)], 1, []),
        ([*passing(1), row(0, "dnl", not_refuted=1)], 0, ["relu (10", "dnl (10"]),
        # Every law and number of senders stands for itself.
        ([*passing(0), row(0, "relu", n_senders=4)], 1, []),
        ([*passing(0), row(0, "relu", law="paper", not_refuted=0, game="other")], 2, []),
        # Failed rows count for nothing.
        ([*passing(0), failed(1, "relu", "no")], 1, []),
        ([*passing(5), failed(1, "relu", "no")], 0, []),
    ],
)
def test_plain_findings_appear_when_they_hold(
    rows: list[dict[str, Any]], nothing: int, random: list[str]
) -> None:
    summary = text(*rows)
    assert summary.count(NOTHING) == nothing
    assert summary.count(RANDOM) == len(random)
    for words in random:
        assert f"{RANDOM}{words}" in summary


def line_of(summary: str, surrogate: str) -> list[str]:
    (line,) = [line for line in summary.splitlines() if line.strip().startswith(surrogate)]
    return line.split()


def test_numbers_of_a_line() -> None:
    summary = text(
        row(0, "relu", mse=1.0, unexplained=0.5, not_refuted=0, best_welfare=math.nan),
        row(1, "relu", mse=3.0, unexplained=math.nan, constant=True, best_welfare=2.5),
        row(2, "relu", mse=8.0, unexplained=0.25, best_welfare=7.5, fit_seconds=4.0),
    )
    assert line_of(summary, "relu") == [
        "relu",
        "8,961",
        "4",  # mean error
        "0.375",  # of the games that are not constant
        "2.0",
        "33.3%",  # 10 of 30 end points
        "2/3",
        "+2.000",  # mean of -0.5 and 4.5
        "1/3",
    ]
    assert "contested law, 2 senders, 3 games (1 constant, not in the unexplained" in summary
    assert "radius 0.005" in summary
    assert "full revelation 3.000, no information 1.000, random starts 2.000" in summary
    assert "10.0% of random starts are not refuted" in summary


def test_where_there_is_no_number_there_is_a_dash() -> None:
    nan = math.nan
    summary = text(row(0, "relu", unexplained=nan, constant=True, not_refuted=0, best_welfare=nan))
    assert line_of(summary, "relu")[3] == "-"
    assert line_of(summary, "relu")[-2:] == ["-", "0/1"]
    assert "nan" not in summary


def test_games_are_counted_once_and_constant_ones_named_only_where_there_are() -> None:
    summary = text(row(0, "relu"), row(0, "dnl"), row(1, "relu"), row(1, "dnl"))
    assert "contested law, 2 senders, 2 games, radius" in summary
    assert "constant" not in summary


def test_failures_are_named() -> None:
    rows = [failed(0, "relu", "ValueError: a"), failed(1, "relu", "ValueError: a")]
    summary = text(*rows, failed(2, "relu", "OSError: b"), row(3, "relu"))
    assert "3 rows failed: OSError: b; ValueError: a" in summary
    assert "contested law, 2 senders, 1 games" in summary
    assert "failed" not in text(row(0, "relu"))


def test_a_table_of_failures_only() -> None:
    assert text(failed(0, "relu", "ValueError: a")).strip() == "1 rows failed: ValueError: a"


def exact_lines(summary: str) -> dict[str, list[str]]:
    """Of the block "exact verification": the numbers after each name."""
    assert "\nexact verification\n" in summary
    lines = summary.split("\nexact verification\n")[1].splitlines()[1:]
    fields = [line.replace("random starts", "random-starts").split() for line in lines]
    return {name: numbers for name, *numbers in fields if name in {"relu", "dnl", "random-starts"}}


def test_exact_verification_by_hand() -> None:
    """Ten starts a game. What is above: welfare over FR's 3 and NI's by 1e-6 x (4 + 6) = 1e-5."""
    common = {"payoff_range_0": 4.0, "payoff_range_1": 6.0, "starts_not_refuted": 4}
    common |= {"starts_certified": 2, "starts_undecided": 1, "certified_start_welfare": 3.5}
    relu = [
        row(0, "relu", certified=3, undecided=1, certified_welfare=3.5, **common),
        row(1, "relu", certified=0, undecided=0, finished_welfare=4.0, **common),
        # Above full revelation, but not above no information.
        row(2, "relu", certified=5, undecided=0, certified_welfare=3.5, ni_welfare=4.0, **common),
        row(3, "relu", certified=1, undecided=4, certified_welfare=3.0 + 9e-6, **common),
    ]
    one = row(0, "dnl", certified=5, undecided=0, certified_welfare=3.0 + 2e-5, **common)
    lines = exact_lines(text(*relu, one))
    # 3 + 0 + 5 + 1 of 40; 20 - 9 - 5 refuted exactly; 0 + 1 + 0 + 4 undecided.
    assert lines["relu"] == ["22.5%", "6", "5", "1/4", "1/4"]
    assert lines["dnl"] == ["50.0%", "0", "0", "1/1", "0/1"]
    # Each of the four games once, though the first has two surrogates; above in all but the third.
    assert lines["random-starts"] == ["20.0%", "4", "4", "3/4", "0/4"]


def test_tables_without_exact_verification_say_nothing_of_it() -> None:
    assert "exact verification" not in text(row(0, "relu"))
    old = pd.DataFrame([row(0, "relu", best_start_welfare=math.nan)])
    assert "certified" not in old
    assert "exact verification" not in summarise(old)


def test_rounding_is_not_above_full_revelation() -> None:
    """Of payoff ranges 4 and 6, 1e-6 of the sum: a game with constant utilities beats nothing."""
    ranges = {"payoff_range_0": 4.0, "payoff_range_1": 6.0}
    gains = (1e-14, 9e-6, 1.1e-5)
    rows = [
        row(i, "relu", best_welfare=3 + gain, best_start_welfare=3 + gain, **ranges)
        for i, gain in enumerate(gains)
    ]
    said = text(*rows)
    assert said.count("1/3") == 2
    assert "is above FR in 1/3 games" in said
