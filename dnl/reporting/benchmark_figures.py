"""Figures of a benchmark: read a folder's `results.csv`, write one set of PNGs per law.

The functions of `benchmark_numbers` compute what the figures and the summary show; the `*_figure`
functions draw it and return a matplotlib `Figure`, with one row of panels per number of senders.
Series stand side by side, in the palette's order and styles: a marker is the mean over games, its
bar the 95 % Student-t interval of this mean (from three games on), and a dot is one game (drawn
where there are at most `MOST_DOTS` at one place).
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from dnl.reporting import palette
from dnl.reporting.benchmark_numbers import (
    GAME,
    SIZE,
    above_full_revelation,
    compared,
    constant,
    counted,
    fit_errors,
    games_compared,
    mean_and_interval,
    pass_percentages,
    read_results,
    verdict,
    welfare_gains,
)
from dnl.reporting.figures import write_figure
from dnl.runtime.records import make_writable

MAX_SIZES = 12  # more sizes than this are averaged by number of signals
MOST_DOTS = 40  # games at one place that are shown one by one
HEADING = 116  # most characters of a line above a panel
LOGARITHMIC = 100.0  # ratio of the largest and the smallest value from which an axis is logarithmic

_MEANS = "Marker: mean over games. Bar: its 95 % Student-t interval (from three games on)."
_CONSTANT = "1: the error of the best constant"
_DOTS = " Dot: one game."
_CUT = "\nBars are cut at 0, and left out on a logarithmic axis where they reach it."
_Words = tuple[str, str, str]  # title, label of the vertical axis, small print
_DrawRow = Callable[[pd.DataFrame, Sequence[Axes]], str]


def error_figure(results: pd.DataFrame, law: str, value: str = "mse") -> Figure:
    """Show how far the networks' predictions are off, against signals, states and actions.

    A panel averages over all games of one number of signals (states, actions), whatever their other
    sizes. Games of constant utilities are left out: there is nothing to predict. An axis is
    logarithmic where the games differ by a factor of `LOGARITHMIC`. Intervals are cut at 0, and not
    drawn on a logarithmic axis where they reach it.

    Args:
        results: rows of `read_results`.
        law: of the games.
        value: "mse": mean squared error on fresh samples, in squared units of utility, mean over
            senders; "unexplained": the same as a fraction of the utility's variance, so that 1 is
            the error of the best constant.
    """
    relative = value == "unexplained"
    words = ("Mean squared error of the networks", "mean squared error (utility²)", _MEANS + _CUT)
    if relative:
        words = (
            "Variance that the networks leave unexplained",
            "fraction unexplained",
            _MEANS + _CUT,
        )

    def draw_row(rows: pd.DataFrame, panels: Sequence[Axes]) -> str:
        left_out = len(rows[constant(rows)].drop_duplicates(GAME))
        long = fit_errors(rows, value)
        drawn = long.loc[long["value"] > 0, "value"]
        logarithmic = len(drawn) == len(long) and drawn.max() > LOGARITHMIC * drawn.min()
        for panel, column in zip(panels, SIZE, strict=True):
            if logarithmic:
                panel.set_yscale("log")
                panel.yaxis.set_major_formatter("{x:g}")
                panel.yaxis.set_minor_formatter(NullFormatter())
            if relative:
                panel.axhline(1.0, color="black", ls="--", lw=1, label=_CONSTANT)
            sizes = {int(size): f"{size:.0f}" for size in sorted(set(long[column]))}
            values = long.assign(x=long[column].astype(int))
            _side_by_side(panel, values, sizes, within=(0.0, math.inf))
            panel.set_xlabel(f"number of {column[2:]}")
        if not logarithmic:
            panels[0].set_ylim(0, max(panels[0].get_ylim()[1], 1.05 * relative))
        return f" ({left_out} of constant utilities left out)" * bool(left_out)

    return _compose(results, law, words, draw_row, columns=3)


def utilities_figure(results: pd.DataFrame, law: str) -> Figure:
    """Show what each sender gains over full revelation at the profiles that networks lead to.

    It draws `above_full_revelation`: the utility at a network's best end point that sampled
    deviations did not refute, less that of full revelation in the same game, as a fraction of the
    sender's payoff range; beside it no information and the mean of all random starts. All series
    are averaged over the same games: those of `compared`, which the heading counts.
    """
    note = "Networks: the best end point not refuted. Random starts: the mean of all of them.\n"
    unit = "utility − full revelation\n(fraction of payoff range)"
    words = ("Senders' gains over full revelation", unit, note + _MEANS)

    def draw_row(rows: pd.DataFrame, panels: Sequence[Axes]) -> str:
        senders = int(rows["n_senders"].iloc[0])
        ticks = {x: x for x in [*(f"sender {n}" for n in range(senders)), "welfare"]}
        _side_by_side(panels[0], above_full_revelation(rows), ticks)
        panels[0].axhline(0.0, color="black", linewidth=1, label="0: full revelation")
        return f"\n{games_compared(rows)}\n{verdict(rows)}".rstrip()

    return _compose(results, law, words, draw_row)


def welfare_figure(results: pd.DataFrame, law: str) -> Figure:
    """Show the welfare above full revelation of the profiles that networks lead to, by size.

    It draws `welfare_gains`: the sum of the senders' utilities (raw units) at a network's best end
    point that sampled deviations did not refute, less that of full revelation in the same game;
    beside it the best random start not refuted, the mean of all random starts, and no information.
    All series are averaged over the same games: those of `compared`; below each size stands how
    many they are.
    """
    note = "Networks: the best end point not refuted.\n"
    words = ("Welfare above full revelation", "welfare − full revelation\n(utility)", note + _MEANS)

    def draw_row(rows: pd.DataFrame, panels: Sequence[Axes]) -> str:
        columns, axis = _sizes(rows)
        games, here = (
            _with_size(some.drop_duplicates(GAME), columns)["x"].value_counts(sort=False)
            for some in (rows, compared(rows))
        )
        ticks = {
            size: f"{size}\n{here.get(size, 0)} of {counted(int(count), 'game')}"
            for size, count in games.items()
        }
        gains = _with_size(welfare_gains(rows), columns)
        _side_by_side(panels[0], gains, ticks)
        panels[0].axhline(0.0, color="black", linewidth=1, label="0: full revelation")
        panels[0].set_xlabel(axis)
        return f"\n{games_compared(rows)}\n{verdict(rows)}".rstrip()

    return _compose(results, law, words, draw_row)


def verification_figure(results: pd.DataFrame, law: str) -> Figure:
    """Show the percentage of profiles that sampled deviations did not refute, by size.

    It draws `pass_percentages`: of the end points of each network, and of the random starts, in
    every game of the size. Intervals are cut at 0 and 100.
    """
    radii = sorted(set(results["radius"][results["law"] == law].dropna()))
    note = f"Deviations within radius {', '.join(f'{r:g}' for r in radii)}.\n{_MEANS}"
    note += " Cut at 0 and 100."
    words = ("Profiles that sampled deviations did not refute", "not refuted (% of profiles)", note)

    def draw_row(rows: pd.DataFrame, panels: Sequence[Axes]) -> str:
        columns, axis = _sizes(rows)
        long = _with_size(pass_percentages(rows), columns)
        counts = long.drop_duplicates(GAME)["x"].value_counts(sort=False)
        ticks = {x: f"{x}\n{counted(int(count), 'game')}" for x, count in counts.items()}
        _side_by_side(panels[0], long, ticks, within=(0.0, 100.0))
        panels[0].set(xlabel=axis, ylim=(-4, 104))
        return f"\n{verdict(rows)}".rstrip()

    return _compose(results, law, words, draw_row)


def _sizes(rows: pd.DataFrame) -> tuple[list[str], str]:
    """The columns that tell sizes apart in a figure of `rows`, and the name of this axis."""
    if len(rows[SIZE].drop_duplicates()) > MAX_SIZES:
        return SIZE[:1], "number of signals (all states and actions)"
    return SIZE, "size (signals, states, actions)"


def _with_size(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """`rows` in the order of sizes, with the size as text in column `x`."""
    rows = rows.sort_values(columns, kind="stable")
    values = rows[columns].astype(int).itertuples(index=False)
    texts = [",".join(map(str, value)) for value in values]
    return rows.assign(x=texts if len(columns) == 1 else [f"({text})" for text in texts])


def _side_by_side(
    panel: Axes,
    long: pd.DataFrame,
    ticks: dict[Any, str],
    within: tuple[float, float] | None = None,
) -> None:
    """Draw `long`: at every `x` its series side by side, each with its games, mean and interval.

    Args:
        panel: to draw in; its scale is set already.
        long: columns `series`, `x` and `value`; series without any value take no place.
        ticks: label of every `x`, in order.
        within: ends beyond which intervals are cut.
    """
    order, long = list(ticks), long.dropna(subset="value")
    styles = palette.styles(long["series"])
    means = mean_and_interval(long, ["x", "series"], "value").set_index(["series", "x"])
    width = 0.8 / max(len(styles), 1)
    small = len(order) * len(styles) > 24
    for i, (name, style) in enumerate(styles.items()):
        shift = width * (i - (len(styles) - 1) / 2)
        for k, x in enumerate(order):
            games = long["value"][(long["series"] == name) & (long["x"] == x)]
            if 1 < len(games) <= MOST_DOTS:
                at = [k + shift + 0.28 * width] * len(games)
                panel.plot(at, games, ".", color=style.colour, alpha=0.5, ms=5.5, mew=0, zorder=1)
        part = means.loc[name].reindex(order)
        at = [k + shift for k in range(len(order))]
        mean, half = part["mean"], part["half_width"].fillna(0.0)
        low, high = mean - half, mean + half
        if within is not None:
            low, high = low.clip(*within), high.clip(*within)
        if panel.get_yscale() == "log":  # an interval that reaches 0 has no lower end there
            low, high = low.where(low > 0, mean), high.where(low > 0, mean)
        panel.errorbar(
            at,
            mean,
            [mean - low, high - mean],
            label=style.label,
            ms=5 if small else 7,
            elinewidth=1.2 if small else 1.8,
            capsize=2,
            zorder=3,
            **style.marks,
        )
    panel.set_xticks(range(len(order)), list(ticks.values()))
    panel.set_xlim(-0.5, max(len(order), 1) - 0.5)
    for between in range(1, len(order)):
        panel.axvline(between - 0.5, color="0.9", linewidth=0.8, zorder=0)


def _compose(
    results: pd.DataFrame, law: str, words: _Words, draw_row: _DrawRow, columns: int = 1
) -> Figure:
    """Per number of senders a row of panels, which `draw_row` fills, returning more heading."""
    title, vertical, note = words
    rows = results[results["law"] == law]
    if rows.empty:
        raise ValueError(f"no row of law {law!r}; there are {sorted(set(results['law']))}")
    failed = rows["status"] != "ok"
    counts = sorted({int(n) for n in rows["n_senders"]})
    figure = Figure(figsize=(10.0, 1.4 + 3.6 * len(counts)), layout="constrained")
    grid = figure.subplots(len(counts), columns, squeeze=False, sharey="row")
    for n, panels in zip(counts, grid, strict=True):
        good = rows[~failed & (rows["n_senders"] == n)]
        more = draw_row(good, panels) if len(good) else ": no row of status 'ok'"
        games = len(good.drop_duplicates(GAME))
        heading = f"{counted(n, 'sender')}, {counted(games, 'game')}{more}"
        lines = [textwrap.fill(line, HEADING) for line in heading.splitlines()]
        panels[columns // 2].set_title("\n".join(lines), fontsize=9)
        panels[0].set_ylabel(vertical)
        for panel in panels:
            if good.empty:
                panel.set(xticks=[], yticks=[])
            panel.grid(axis="y", color="0.9")
            panel.set_axisbelow(True)
            panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}, law “{law}”", fontsize=13)
    dots = any(line.get_marker() == "." for panel in figure.axes for line in panel.lines)
    note += _DOTS * dots + f" Failed rows left out: {failed.sum()}." * bool(failed.any())
    pairs = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in figure.axes]
    entries = {label: handle for panel in pairs for handle, label in panel}
    lines = [label for label, handle in entries.items() if isinstance(handle, Line2D)]
    entries |= {label: entries.pop(label) for label in lines}  # lines after the series
    options = {"title": note, "title_fontsize": 9, "frameon": False}
    options["ncols"] = 6 if len(entries) <= 6 else 4  # what the width holds
    legend = figure.legend(entries.values(), entries, loc="outside lower center", **options)
    legend.get_title().set_multialignment("center")
    return figure


def unexplained_figure(results: pd.DataFrame, law: str) -> Figure:
    """`error_figure` of the fraction of variance that the networks leave unexplained."""
    return error_figure(results, law, "unexplained")


FIGURES: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "approximation_error": error_figure,
    "unexplained_variance": unexplained_figure,
    "sender_utilities": utilities_figure,
    "welfare": welfare_figure,
    "not_refuted": verification_figure,
}


def draw(folder: Path | str, out: Path | str | None = None) -> list[Path]:
    """Draw every figure of `FIGURES` for each law of `folder/results.csv`.

    Writes `{figure}_{law}.png` into `out` (default `folder/figures`), over older ones, and returns
    their paths. Raises as `read_results` does, and OSError if `out` cannot be written.
    """
    results = read_results(folder)
    target = Path(folder) / "figures" if out is None else Path(out)
    make_writable(target)
    paths = []
    for law in dict.fromkeys(results["law"]):
        for name, function in FIGURES.items():
            path = target / f"{name}_{''.join(c if c.isalnum() else '-' for c in law)}.png"
            write_figure(path, function(results, law))
            paths.append(path)
    return paths
