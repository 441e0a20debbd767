"""Figures of a benchmark: read a folder's `results.csv`, write one set of PNGs per law.

Pandas functions compute what a figure shows; the `*_figure` functions draw it and return a
matplotlib `Figure`. A *series* has one colour: a surrogate, or a comparison value (`FULL`, `NONE`,
`STARTS`), which counts once per game however many surrogates ran on it. A surrogate has a best end
point only in games where one passed the sampled verification; the figures say that averages of
these are over a selection of games. "Not refuted" speaks of sampled deviations and certifies
nothing. Intervals are 95 % Student-t intervals of the mean over games. None is drawn for fewer than
three games: for two it would be 12.7 standard errors to either side and hide everything else.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import t as student_t

from dnl.benchmark.rows import KEYS, RESULTS
from dnl.reporting import palette
from dnl.reporting.figures import write_figure
from dnl.reporting.palette import Style
from dnl.runtime.records import make_writable

_COMPARISONS = (palette.FULL_REVELATION, palette.NO_INFORMATION, palette.RANDOM)
FULL, NONE, STARTS = (style.label for style in _COMPARISONS)
PREFIXES = {FULL: "fr", NONE: "ni", STARTS: "start"}  # series -> prefix of its columns
GAME = list(KEYS[:-1])  # the columns that tell one game from another: all keys but the surrogate
MAX_SIZES = 12  # more sizes than this are averaged by number of signals

_OUTCOMES = ["best", *PREFIXES.values()]
_NUMBERS = [*GAME[1:], "mse", "unexplained", "radius", "starts", "not_refuted"]
_NUMBERS += ["starts_not_refuted", *(f"{prefix}_welfare" for prefix in _OUTCOMES)]
_PER_SENDER = ["payoff_range", *(f"{prefix}_utility" for prefix in _OUTCOMES)]
_MEAN = "Mean over games and its 95 % interval (from three games on)"
_Words = tuple[str, str, str]  # title, label of the vertical axis, small print
_Values = Callable[[pd.DataFrame], pd.DataFrame]  # good rows -> long form
_DrawRow = Callable[[pd.DataFrame, Sequence[Axes]], str]


def read_results(folder: Path | str) -> pd.DataFrame:
    """All rows of `folder/results.csv`, failed ones included.

    Raises OSError if there is no such file, and ValueError naming the columns that it lacks or that
    hold something other than numbers, or saying that no row has status "ok".
    """
    path = Path(folder) / RESULTS
    table = pd.read_csv(path, dtype={"law": str, "surrogate": str, "status": str})
    _check(path, table, _NUMBERS, ["law", "surrogate", "status", "constant"])
    good = table[table["status"] == "ok"]
    if good.empty:
        raise ValueError(f"{path}: none of its {len(table)} rows has status 'ok'")
    senders = range(int(good["n_senders"].max()))
    _check(path, table, [f"{name}_{n}" for name in _PER_SENDER for n in senders], [])
    # The blanks of failed rows leave a column of mixed types.
    return table.assign(constant=table["constant"].astype(str) == "True")


def _check(path: Path, table: pd.DataFrame, numbers: list[str], others: Sequence[str]) -> None:
    missing = [column for column in [*others, *numbers] if column not in table]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}")
    text = [column for column in numbers if not pd.api.types.is_numeric_dtype(table[column])]
    if text:
        raise ValueError(f"{path} holds something other than numbers in {', '.join(text)}")


def mean_and_interval(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean of column `value` over the rows of equal `by`, in the unit of `value`.

    Returns the columns `by`, `mean`, `half_width` (of the 95 % Student-t interval of the mean; NaN
    below three values) and `count`. NaN values are left out; nothing else: mean NaN, count 0.
    """
    result = table.groupby(list(by))[value].agg(["mean", "std", "count"]).reset_index()
    freedom = (result["count"] - 1).where(result["count"] >= 3)
    quantile = student_t.ppf(0.975, freedom)
    result["half_width"] = quantile * result["std"] / result["count"] ** 0.5
    return result[[*by, "mean", "half_width", "count"]]


def outcomes(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Good `rows` in long form, for the `quantity` "welfare", "utility_0", ... in raw units.

    Returns the columns of `rows`, `series` and `value`: per surrogate and game the best end point
    not refuted (NaN where none was), and per game `FULL`, `NONE` and `STARTS` (mean over starts).
    """
    games = rows.drop_duplicates(GAME)
    parts = [rows.assign(series=rows["surrogate"], value=rows[f"best_{quantity}"])]
    for series, prefix in PREFIXES.items():
        parts.append(games.assign(series=series, value=games[f"{prefix}_{quantity}"]))
    return pd.concat(parts, ignore_index=True)


def above_full_revelation(rows: pd.DataFrame) -> pd.DataFrame:
    """How far outcomes lie above full revelation, in good `rows` of one number of senders.

    Returns the columns `series`, `x` ("sender 0", ..., "welfare") and `value`: utility less utility
    under full revelation, as a fraction of the sender's payoff range; for the welfare, of the sum
    of these ranges. NaN where no end point passed or the range is 0.
    """
    senders = range(int(rows["n_senders"].iloc[0]))
    ranges = [f"payoff_range_{n}" for n in senders]
    groups = [(f"sender {n}", f"utility_{n}", [ranges[n]]) for n in senders]
    parts = []
    for x, quantity, scale in [*groups, ("welfare", "welfare", ranges)]:
        long = outcomes(rows, quantity)
        long = long[long["series"] != FULL]
        span = long[scale].sum(axis=1)
        value = (long["value"] - long[f"fr_{quantity}"]) / span.where(span > 0)
        parts.append(pd.DataFrame({"series": long["series"], "x": x, "value": value}))
    return pd.concat(parts, ignore_index=True)


def pass_percentages(rows: pd.DataFrame) -> pd.DataFrame:
    """Percentage not refuted, of end points per surrogate and game and of random starts (`STARTS`)
    per game: the columns of good `rows`, `series` and `value`."""
    games = rows.drop_duplicates(GAME)
    ends = rows.assign(series=rows["surrogate"], value=100 * rows["not_refuted"] / rows["starts"])
    value = 100 * games["starts_not_refuted"] / games["starts"]
    return pd.concat([ends, games.assign(series=STARTS, value=value)], ignore_index=True)


def verdict(rows: pd.DataFrame) -> str:
    """What a reader of good `rows` must be told, "" if nothing: that no end point passed, or whose
    end points pass no more often than the random starts of the same games."""
    # Counts, not percentages, so that rounding cannot break a tie.
    passed = rows.groupby("surrogate", sort=False)[["not_refuted", "starts_not_refuted"]].sum()
    if not passed["not_refuted"].any():
        share = 100 * passed["starts_not_refuted"].sum() / rows["starts"].sum()
        return f"No end point passed verification ({share:.3g} % of the random starts did)"
    worse = passed.index[passed["starts_not_refuted"] >= passed["not_refuted"]]
    styles = palette.surrogate_styles(worse)
    names = ", ".join(styles[name].label for name in worse)
    return f"Random starts pass at least as often as the end points of {names}" if names else ""


def _styles(results: pd.DataFrame) -> dict[str, Style]:
    """Styles by series, surrogates first; from the whole table, so that laws agree."""
    comparisons = {style.label: style for style in _COMPARISONS}
    return palette.surrogate_styles(results["surrogate"]) | comparisons


def error_figure(results: pd.DataFrame, law: str, value: str = "mse") -> Figure:
    """Fit of the surrogates against the numbers of signals, states and actions.

    `value` is "mse", in squared units of utility, or "unexplained", the fraction of variance (1:
    explains nothing), which leaves games of constant utilities out; the headings count them.
    """
    styles, relative = _styles(results), value == "unexplained"
    words = ("Approximation error of the surrogates", "mean squared error (utility²)", _MEAN)
    if relative:
        words = ("Variance that the surrogates leave unexplained", "fraction unexplained", _MEAN)

    def draw_row(rows: pd.DataFrame, panels: Sequence[Axes]) -> str:
        constant = len(rows[rows["constant"]].drop_duplicates(GAME))
        summaries = []
        for panel, column in zip(panels, ("n_signals", "n_states", "n_actions"), strict=True):
            shown = rows[~rows["constant"]] if relative else rows
            summaries.append(summary := mean_and_interval(shown, ["surrogate", column], value))
            for name in [name for name in styles if name in set(rows["surrogate"])]:
                style, part = styles[name], summary[summary["surrogate"] == name]
                label, colour, marker = style.label, style.colour, style.marker
                x, mean, half = part[column], part["mean"], part["half_width"]
                panel.fill_between(x, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
                # Bars too where there is a single size, which has no width to shade.
                bars = half if len(part) == 1 else None
                panel.errorbar(x, mean, bars, color=colour, marker=marker, label=label)
            panel.set(xticks=sorted(set(rows[column])), xlabel=f"number of {column[2:]}")
            if relative:
                panel.axhline(1.0, color="black", ls="--", lw=1, label="1 = explains nothing")
        _vertical_range(panels[0], pd.concat(summaries), relative)
        return f", {constant} constant {'left out' if relative else 'included'}" * (constant > 0)

    return _compose(results, law, words, draw_row, columns=3)


def utilities_figure(results: pd.DataFrame, law: str) -> Figure:
    """`above_full_revelation`; the number at a bar is the number of games averaged."""
    note = f"{_MEAN}.\nNumbers: games averaged; for a surrogate, those where an end point passed"
    unit = "utility − full revelation\n(fraction of payoff range)"
    words = ("Utility of the best end point not refuted", unit, note)
    return _grouped(results, law, words, above_full_revelation, "count")


def welfare_figure(results: pd.DataFrame, law: str) -> Figure:
    """Welfare (sum of utilities, raw units) by size. A hollow marker averages only some of the
    games of its size: those where an end point passed."""
    note = f"{_MEAN}.\nHollow: an end point passed in only some of the games of this size"
    words = ("Welfare of the best end point not refuted", "welfare (sum of utilities)", note)
    return _grouped(results, law, words, lambda rows: outcomes(rows, "welfare"), None)


def verification_figure(results: pd.DataFrame, law: str) -> Figure:
    """Percentage of end points, and of random starts, that sampled deviations did not refute, by
    size. The number at a bar is its height."""
    radii = sorted(set(results["radius"][results["law"] == law].dropna()))
    note = f"{_MEAN}.\nDeviations within radius {', '.join(f'{r:g}' for r in radii)}"
    words = ("Profiles that sampled deviations did not refute", "not refuted (% of profiles)", note)
    return _grouped(results, law, words, pass_percentages, "mean")


def _vertical_range(panel: Axes, summary: pd.DataFrame, relative: bool) -> None:
    half = summary["half_width"].fillna(0)
    top, lowest = float((summary["mean"] + half).max()), float(summary["mean"].min())
    if lowest > 0 and top < math.inf and not (relative and top < 3):
        # An interval can reach below 0, where no logarithmic axis goes: cut at most a decade down.
        foot = float((summary["mean"] - half).clip(lower=lowest / 10).min())
        panel.set(yscale="log", ylim=(foot / 1.1, top * 1.1))
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
    elif top < math.inf:
        panel.set_ylim(0, 1.05 * (max(top, 1.0) if relative or top == 0 else top))


def _with_size(long: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """`long`, sorted by size, with the size as text in column `x`; and what `x` is."""
    columns, label = ["n_signals", "n_states", "n_actions"], "size (signals, states, actions)"
    if len(long[columns].drop_duplicates()) > MAX_SIZES:
        columns, label = ["n_signals"], "number of signals (all states and actions)"
    text = long[columns].astype(int).astype(str).agg(",".join, axis=1)
    long = long.assign(x=text if len(columns) == 1 else "(" + text + ")")
    return long.sort_values(columns, kind="stable"), label


def _grouped(
    results: pd.DataFrame, law: str, words: _Words, values: _Values, numbers: str | None
) -> Figure:
    """Means of `values(good rows)`, the series side by side at every `x` (default: the size): bars
    with the column `numbers` of `mean_and_interval` in print, or markers if that is None."""
    styles = _styles(results)

    def draw_row(rows: pd.DataFrame, panels: Sequence[Axes]) -> str:
        (panel,), long, axis = panels, values(rows), ""
        if "x" not in long:
            long, axis = _with_size(long)
        order = list(dict.fromkeys(long["x"]))
        shown = [name for name in styles if name in set(long["series"])]
        width, crowded = 0.84 / len(shown), len(order) * len(shown) > 36
        turn, font = (90, 8) if crowded else (0, 10)
        means = mean_and_interval(long, ["x", "series"], "value").set_index(["series", "x"])
        for i, name in enumerate(shown):
            style, part = styles[name], means.loc[name].reindex(order)
            label, colour, marker = style.label, style.colour, style.marker
            mean, half = part["mean"], part["half_width"]
            at = [k + width * (i - (len(shown) - 1) / 2) for k in range(len(order))]
            if numbers is None:
                panel.errorbar(at, mean, half, fmt=marker, color=colour)
                few = mean.where(part["count"] < means.loc[STARTS].reindex(order)["count"])
                panel.plot(at, few, marker, color=colour, markerfacecolor="white", zorder=3)
                panel.plot([], [], marker, color=colour, label=label)
                continue
            mean, half = mean.fillna(0), half.fillna(0)  # a number also where no bar is
            bars = panel.bar(at, mean, 0.9 * width, yerr=half, color=colour, label=label)
            printed = [_brief(float(number)) for number in part[numbers]]
            panel.bar_label(bars, printed, padding=2, rotation=turn, fontsize=font)
        panel.margins(y=0.25 if crowded else 0.12)  # room for the numbers
        if numbers == "mean":
            panel.set_ylim(0, max(panel.get_ylim()[1], 0.1))
        if numbers == "count":
            panel.axhline(0.0, color="black", linewidth=1, label="0 = full revelation")
        panel.set_xticks(range(len(order)), order, rotation=30 if len(order) > 8 else 0)
        panel.set(xlim=(-0.5, len(order) - 0.5), xlabel=axis)
        return f"\n{verdict(rows)}".rstrip()

    return _compose(results, law, words, draw_row, columns=1)


def _brief(number: float) -> str:
    if math.isnan(number):
        return ""
    return "<0.1" if 0 < number < 0.05 else f"{number:.{0 if number.is_integer() else 1}f}"


def _compose(
    results: pd.DataFrame, law: str, words: _Words, draw_row: _DrawRow, columns: int
) -> Figure:
    """Per number of senders a row of panels, which `draw_row` fills, returning more heading."""
    rows = results[results["law"] == law]
    if rows.empty:
        raise ValueError(f"no row of law {law!r}; there are {sorted(set(results['law']))}")
    failed = rows["status"] != "ok"
    counts = sorted({int(n) for n in rows["n_senders"]})
    figure = Figure(figsize=(10.0, 1.2 + 3.2 * len(counts)), layout="constrained")
    grid = figure.subplots(len(counts), columns, squeeze=False, sharey="row")
    for n, panels in zip(counts, grid, strict=True):
        good = rows[~failed & (rows["n_senders"] == n)]
        more = draw_row(good, panels) if len(good) else ": no row of status 'ok'"
        games = len(good.drop_duplicates(GAME))
        panels[columns // 2].set_title(f"{n} senders, {games} games{more}", fontsize=11)
        panels[0].set_ylabel(words[1])
        for panel in panels:
            if good.empty:
                panel.set(xticks=[], yticks=[])
            panel.grid(axis="y", color="0.9")
            panel.set_axisbelow(True)
            panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{words[0]}, law “{law}”", fontsize=13)
    note = words[2] + f". Failed rows left out: {failed.sum()}" * bool(failed.any())
    pairs = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in figure.axes]
    entries = {label: handle for panel in pairs for handle, label in panel}
    options = {"title": note, "title_fontsize": 9, "frameon": False}
    options["ncols"] = 6 if len(entries) <= 6 else 4  # what the width holds
    legend = figure.legend(entries.values(), entries, loc="outside lower center", **options)
    legend.get_title().set_multialignment("center")
    return figure


FIGURES: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "approximation_error": error_figure,
    "unexplained_variance": lambda results, law: error_figure(results, law, "unexplained"),
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
