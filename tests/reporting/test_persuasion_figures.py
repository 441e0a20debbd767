"""Figures of "Learning to Persuade": what they average, from the stored tables."""

import numpy as np
import pytest

from dnl.reporting import palette
from experiments import (
    persuasion_known,
    persuasion_learners,
    persuasion_messages,
    persuasion_unknown,
)
from tests.cases.artists import dots, half_widths, interval, legend_of, line, table

PERSUADE = "learning_to_persuade"


def test_known_receivers_average_shares_game_by_game() -> None:
    rows, points = (table(f"{PERSUADE}/known/{name}.csv") for name in ("games", "curves"))
    figure = persuasion_known.utility_figure(rows, points)
    left, middle, right = figure.axes
    assert legend_of(figure) == [
        "optimum (linear program)",
        "optimum in the paper's own games (its table 1)",
        "gradients, our way",
        "gradients, the paper's way",
    ]
    utility = line(left, "gradients, our way")
    assert utility[:, 1].tolist() == pytest.approx(rows.groupby("size")["ours"].mean().tolist())
    shares = [np.asarray(drawn.get_ydata()) for drawn in middle.lines[:2]]
    for drawn, way, games in zip(shares, ("ours", "paper"), dots(middle), strict=True):
        share = rows[way] / rows["optimum"]
        assert drawn.tolist() == pytest.approx(share.groupby(rows["size"]).mean().tolist())
        assert games[:, 1].tolist() == pytest.approx(share.tolist())
    last = points[(points["way"] == "ours") & (points["iteration"] == 1000)]["share"].mean()
    assert np.asarray(right.lines[0].get_ydata())[-1] == pytest.approx(last)


def test_few_messages_have_intervals_over_games() -> None:
    rows, points = (table(f"{PERSUADE}/messages/{name}.csv") for name in ("games", "curves"))
    figure = persuasion_messages.share_figure(rows, points)
    left, right = figure.axes
    ways = ["gradients", "exact", "alternating", "bound"]
    assert legend_of(figure) == [persuasion_messages.LABELS[way] for way in ways]
    groups = [games for _, games in rows.groupby("messages")]
    for way in ways[:3]:
        label, shares = persuasion_messages.LABELS[way], [games[f"{way}_share"] for games in groups]
        drawn = line(left, label)[:, 1].tolist()
        assert drawn == pytest.approx([share.mean() for share in shares])
        assert half_widths(left, label) == pytest.approx([interval(share) for share in shares])
    assert "25 games and its 95 % interval" in left.get_title()
    low, high = right.get_ylim()
    assert low < points["share"].mean() < 1 < high  # the bound is not on the frame


def test_learners_have_the_same_games_and_the_published_ones_beside() -> None:
    rows = table(f"{PERSUADE}/learners/games.csv")
    figure = persuasion_learners.utility_figure(rows)
    left, right = figure.axes
    styles = palette.styles(persuasion_learners.METHODS)
    assert legend_of(figure) == [
        "Optimum for a known receiver",
        *(s.label for s in styles.values()),
    ]
    for method, style in styles.items():
        games = rows[rows["method"] == method].groupby("size")["utility"]
        assert line(left, style.label)[:, 1].tolist() == pytest.approx(games.mean().tolist())
        expected = [interval(utility) for _, utility in games]
        assert half_widths(left, style.label) == pytest.approx(expected)
    published = [drawn for drawn in right.lines if len(np.asarray(drawn.get_ydata()))]
    assert np.asarray(published[0].get_ydata()).tolist() == [
        utilities[1] for utilities in persuasion_learners.PAPER.values()
    ]


def test_queries_end_where_the_table_ends() -> None:
    rows = table(f"{PERSUADE}/unknown/games.csv")
    figure = persuasion_unknown.query_figure(rows)
    assert legend_of(figure) == [
        "Ours, asking the receiver",
        "The paper's method",
        "The paper's method, as published",
    ]
    for axes, size in zip(figure.axes, persuasion_unknown.DRAWN, strict=True):
        marks = [drawn for drawn in axes.lines if len(np.asarray(drawn.get_xdata())) == 1]
        for method, mark in zip(("asking", "alternating"), marks, strict=False):
            own = rows[(rows["size"] == size) & (rows["method"] == method)]
            best = [float(steps.split(":")[-1]) for steps in own["best_ratios"]]
            ((x, y),) = np.asarray(mark.get_xydata()).tolist()
            assert (x, y) == (own["queries"].max(), pytest.approx(np.mean(best)))
        assert np.asarray(marks[2].get_ydata())[0] == persuasion_unknown.PAPER[size][0]
