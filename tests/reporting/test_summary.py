"""The text at the end of a run, on tables made by hand."""

import math
from typing import Any

import pandas as pd
import pytest

from dnl.benchmark.rows import columns
from dnl.reporting.benchmark_text import summarise

NOTHING = "Every end point of every network was refuted"
RANDOM = "do no worse than the end points of "


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
        (passing(1), 0, ["10.0 % ReLU (10.0 %)"]),
        (passing(2), 0, []),
        (passing(2, starts=3), 0, ["30.0 % ReLU (20.0 %)"]),
        # Shares are of all games together: 2 of 20 against 2 of 20, then 3 of 20.
        (passing(2, 0), 0, ["10.0 % ReLU (10.0 %)"]),
        (passing(3, 0), 0, []),
        # The random starts are each game's, whatever the number of surrogates.
        ([*passing(1), row(0, "dnl", not_refuted=2)], 0, ["10.0 % ReLU (10.0 %)"]),
        ([*passing(0), row(0, "dnl")], 0, ["10.0 % ReLU (0.0 %)"]),
        ([*passing(0), row(0, "dnl", not_refuted=0)], 1, []),
        ([*passing(1), row(0, "dnl", not_refuted=1)], 0, ["10.0 % DNL (10.0 %), ReLU (10.0 %)"]),
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
        share, named = words.split(" % ", 1)
        assert f"Random starts ({share} % not refuted) {RANDOM}{named}.\n" in summary


def lines_of(summary: str, name: str) -> list[list[str]]:
    """The words after a name, in the lines that begin with it."""
    lines = [line.strip() for line in summary.splitlines()]
    return [line[len(name) :].split() for line in lines if line.startswith(f"{name} ")]


def test_numbers_of_a_line() -> None:
    summary = text(
        row(0, "relu", mse=1.0, unexplained=0.5, not_refuted=0, best_welfare=math.nan),
        row(1, "relu", mse=3.0, unexplained=math.nan, constant=True, best_welfare=2.5),
        row(2, "relu", mse=8.0, unexplained=0.25, best_welfare=7.5, fit_seconds=4.0),
    )
    fit, found = lines_of(summary, "ReLU")
    # The errors are those of the two games that are not constant.
    assert fit == ["8,961", "4.5", "0.375", "2.0"]
    # 10 of 30 end points; games with one; mean of -0.5 and 4.5; games above full revelation.
    assert found == ["33.3", "%", "2/3", "+2.000", "1/3"]
    assert "Errors leave out the games of constant utilities: 1." in summary
    assert "contested law, 2 senders, 3 games, radius 0.005" in summary
    assert (
        "Compared in 2 of 3 games, where all have a profile not refuted (games with one: ReLU 2)."
        in " ".join(summary.split())
    )
    assert "FR has mean welfare 3.000 there." in " ".join(summary.split())
    # What the networks are compared with, in the same games: 2 - 3 and 1 - 3.
    assert lines_of(summary, "Mean of all random starts") == [["-1.000"]]
    assert lines_of(summary, "No information") == [["-2.000"]]
    assert ["10.0", "%", "0/3", "-", "0/3"] in lines_of(summary, "Random starts")


def test_welfare_is_compared_in_the_same_games() -> None:
    """Full revelation is worth 3 in game 0 and 13 in game 1, where ReLU has no end point."""
    rows = [row(i, name) for i in range(2) for name in ("relu", "dnl")]
    rows[2] |= {"fr_welfare": 13.0, "not_refuted": 0, "best_welfare": math.nan}
    rows[3] |= {"fr_welfare": 13.0, "best_welfare": 5.0}
    summary = text(*rows)
    assert "Compared in 1 of 2 games, where" in summary
    assert "(games with one: DNL 2, ReLU 1)." in " ".join(summary.split())
    assert lines_of(summary, "DNL")[1][3:] == ["+1.000", "1/2"]
    assert lines_of(summary, "ReLU")[1][3:] == ["+1.000", "1/2"]
    assert lines_of(summary, "No information") == [["-2.000"]]
    assert "FR has mean welfare 3.000 there." in " ".join(summary.split())


def test_networks_stand_in_the_palette_s_order() -> None:
    summary = text(*(row(0, name) for name in ("relu", "zzz", "dnl", "delu")))
    lines = [line.split()[0] for line in summary.splitlines() if line.strip()]
    names = [name for name in lines if name in {"DNL", "DeLU", "ReLU", "zzz", "Random"}]
    assert names[:8] == ["DNL", "DeLU", "ReLU", "zzz"] * 2
    assert names[8] == "Random"


def test_where_there_is_no_number_there_is_a_dash() -> None:
    nan = math.nan
    summary = text(row(0, "relu", unexplained=nan, constant=True, not_refuted=0, best_welfare=nan))
    fit, found = lines_of(summary, "ReLU")
    assert fit[1:3] == ["-", "-"]
    assert found[-2:] == ["-", "0/1"]
    assert "nan" not in summary


def test_games_are_counted_once_and_constant_ones_named_only_where_there_are() -> None:
    summary = text(row(0, "relu"), row(0, "dnl"), row(1, "relu"), row(1, "dnl"))
    assert "contested law, 2 senders, 2 games, radius" in summary
    assert "constant" not in summary


def test_failures_are_named() -> None:
    rows = [failed(0, "relu", "ValueError: a"), failed(1, "relu", "ValueError: a")]
    summary = text(*rows, failed(2, "relu", "OSError: b"), row(3, "relu"))
    assert "3 rows failed: OSError: b; ValueError: a" in summary
    assert "contested law, 2 senders, 1 game, " in summary
    assert "failed" not in text(row(0, "relu"))


def test_a_table_of_failures_only() -> None:
    assert text(failed(0, "relu", "ValueError: a")).strip() == "1 row failed: ValueError: a"


def exact_lines(summary: str) -> dict[str, list[str]]:
    """Of the block about exact verification: the numbers after each name."""
    block = summary.split("\nExact verification of the profiles not refuted\n")[1]
    names = ("ReLU", "DNL", "Random starts")
    return {name: numbers for name in names for numbers in lines_of(block, name)[:1]}


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
    assert lines["ReLU"] == ["22.5", "%", "6", "5", "1/4", "1/4"]
    assert lines["DNL"] == ["50.0", "%", "0", "0", "1/1", "0/1"]
    # Each of the four games once, though the first has two surrogates; above in all but the third.
    assert lines["Random starts"] == ["20.0", "%", "4", "4", "3/4", "0/4"]


def test_tables_without_exact_verification_say_nothing_of_it() -> None:
    assert "xact verification" not in text(row(0, "relu"))
    old = pd.DataFrame([row(0, "relu", best_start_welfare=math.nan)])
    assert "certified" not in old
    assert "xact verification" not in summarise(old)


def test_rounding_is_not_above_full_revelation() -> None:
    """Of payoff ranges 4 and 6, 1e-6 of the sum: a game with constant utilities beats nothing."""
    ranges = {"payoff_range_0": 4.0, "payoff_range_1": 6.0}
    gains = (1e-14, 9e-6, 1.1e-5)
    rows = [
        row(i, "relu", best_welfare=3 + gain, best_start_welfare=3 + gain, **ranges)
        for i, gain in enumerate(gains)
    ]
    said = text(*rows)
    assert lines_of(said, "ReLU")[1][-1] == "1/3"
    assert lines_of(said, "Random starts")[0][-1] == "1/3"
