"""The figure of `growth.py`: seconds and memory against every axis, and the slopes."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from dnl.reporting.palette import surrogate_styles
from experiments.shared.stages import STAGES

AXES = {
    "n_senders": "senders N",
    "n_signals": "signals M",
    "n_states": "states S",
    "n_actions": "actions A",
    "n_games": "games G",
    "count": "count, times the base's",
}
STYLES = {  # colour and marker of a stage
    "simulation": ("#000000", "p"),
    "estimation": ("#999933", "*"),
    "its least squares": ("#882255", "X"),
    "extra-gradient": ("#44AA99", "v"),
    "verification": ("#888888", "h"),
} | {name: (style.colour, style.marker) for name, style in surrogate_styles(()).items()}
COLUMNS = {
    "seconds": "seconds",
    "theory": "theory",
    "added_mib": "memory",
}  # columns of slopes and their headings
PLACES = (0.34, 0.62, 0.92)  # right ends of these columns, as shares of a panel


def draw(
    lines: Mapping[tuple[str, str], pd.DataFrame],
    slopes: pd.DataFrame,
    counts: Mapping[str, int],
    title: str,
) -> Figure:
    """Draw log-log panels of seconds (dotted: theory, through the last point) and of memory.

    Args:
        lines: by axis and stage, with columns `value`, `seconds`, `added_mib` and `work`.
        slopes: columns `axis`, `stage` and those of `COLUMNS`.
        counts: of each stage at the base size.
        title: title of the figure.
    """
    axes = list(dict.fromkeys(axis for axis, _ in lines))
    figure = Figure(figsize=(2.2 + 2.4 * len(axes), 11.5), layout="constrained")
    grid = figure.subplots(3, len(axes), sharey="row", squeeze=False, height_ratios=(4, 4, 2.4))
    for (axis, stage), line in lines.items():
        seconds, memory, _ = grid[:, axes.index(axis)]
        colour, marker = STYLES[stage]
        style: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": 5,
            "linewidth": 1.3,
        }
        seconds.plot(line["value"], line["seconds"], **style)
        memory.plot(line["value"], line["added_mib"], **style)
        theory = line["work"] * (line["seconds"].iloc[-1] / line["work"].iloc[-1])
        seconds.plot(line["value"], theory, ":", color=colour, linewidth=0.9)
    for column, axis in enumerate(axes):
        values = lines[axis, next(iter(counts))]["value"]
        for panel in grid[:2, column]:
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xticks(values, [f"{value:g}" for value in values])
            panel.xaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.grid(alpha=0.25, linewidth=0.6)
            panel.set_xlabel(AXES[axis])
        _table(grid[2, column], slopes[slopes["axis"] == axis], names=column == 0)
    for panel, label in zip(grid[:2, 0], ("processor seconds", "memory added, MiB"), strict=True):
        panel.set_ylabel(label)
    figure.suptitle(title, fontsize=15)
    figure.legend(
        handles=[
            Line2D([], [], color=STYLES[stage][0], marker=STYLES[stage][1], label=label)
            for stage, label in (
                (stage, f"{stage}: {count:,} {STAGES[stage].unit}")
                for stage, count in counts.items()
            )
        ],
        loc="outside lower center",
        ncols=5,
        frameon=False,
    )
    return figure


def _table(panel: Axes, slopes: pd.DataFrame, names: bool) -> None:
    """The slopes of one axis, one line per stage; `names` adds the stages' names."""
    panel.axis("off")
    panel.set_ylim(len(slopes) - 0.5, -1.5)
    where: dict[str, Any] = {
        "va": "center",
        "transform": panel.get_yaxis_transform(),
        "fontsize": 10,
    }
    for x, head in zip(PLACES, COLUMNS.values(), strict=True):
        panel.text(x, -1, head, ha="right", **where)
    if names:
        panel.text(-0.04, -1, "slopes", ha="right", **where)
    for y, (_, row) in enumerate(slopes.iterrows()):
        colour, _ = STYLES[row["stage"]]
        for x, name in zip(PLACES, COLUMNS, strict=True):
            panel.text(x, y, f"{round(row[name], 1) + 0.0:.1f}", ha="right", color=colour, **where)
        if names:
            panel.text(-0.04, y, row["stage"], ha="right", color=colour, **where)
