"""The figure of `growth.py`: how fast time and memory grow, and seconds against N and M."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from dnl.reporting import palette
from experiments.shared.stages import STAGES

AXES = {
    "n_senders": "senders N",
    "n_signals": "signals M",
    "n_states": "states S",
    "n_actions": "actions A",
    "n_games": "games G",
    "count": "count",
}
DRAWN = ("n_senders", "n_signals")  # axes along which seconds are drawn
TABLES = {  # columns of slopes: titles
    "seconds": "seconds, measured",
    "theory": "multiplications, counted",
    "added_mib": "memory, measured",
}
STEEP = 2.0  # a stage whose counted work grows faster in N sums over joint signals


def growth_figure(lines: pd.DataFrame, slopes: pd.DataFrame, base: Sequence[int]) -> Figure:
    """Stages that sum over joint signals grow fast in N and M; verification less than its count.

    Above: the exponent b of a power law (quantity growing as size**b), of measured processor time,
    counted work and measured memory, for every stage (with its seconds at the base size) and every
    axis; least squares through the logarithms of the three largest sizes. Below: processor seconds
    against N and M, measured (solid) and in proportion to the counted work (dotted, through the
    last point). Each measurement is the least of a few runs: no averages and no intervals.

    Args:
        lines: columns `axis`, `value`, those of a key, `seconds` and `work`.
        slopes: columns `axis`, `stage`, `seconds`, `theory` and `added_mib`.
        base: N, M, S, A and G of the base size.
    """
    styles = palette.styles(lines["stage"])
    axes = [axis for axis in AXES if axis in set(lines["axis"])]
    drawn = [axis for axis in DRAWN if axis in axes]
    figure = Figure(figsize=(12.5, 10), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(5, 6), squeeze=False)[:, 0]
    image = None
    heat_maps = upper.subplots(1, len(TABLES), sharey=True)
    for panel, (column, title) in zip(heat_maps, TABLES.items(), strict=True):
        table = slopes.pivot(index="stage", columns="axis", values=column)
        image = _heat_map(panel, table.loc[list(styles), axes])
        panel.set_title(title, fontsize=11)
    counts = lines[lines["axis"] != "count"].groupby("stage")["count"].first()
    at_base = (lines[list(AXES)[:5]] == list(base)).all(axis=1) & (
        lines["count"] == lines["stage"].map(counts)
    )
    seconds = lines[at_base].groupby("stage")["seconds"].first()
    heat_maps[0].set_yticks(
        range(len(styles)),
        [
            f"{style.label}: {seconds[stage]:.2g} s for {counts[stage]:,} {STAGES[stage].unit}"
            for stage, style in styles.items()
        ],
    )
    assert image is not None
    upper.colorbar(image, ax=heat_maps, label="exponent b of size**b", shrink=0.9, extend="both")
    steep = set(slopes[(slopes["axis"] == "n_senders") & (slopes["theory"] > STEEP)]["stage"])
    groups = {
        "sum over joint signals": [stage for stage in styles if stage in steep],
        "do not": [stage for stage in styles if stage not in steep],
    }
    grid = lower.subplots(1, 2 * len(drawn), sharey=True, squeeze=False)[0]
    for panel, (axis, group) in zip(grid, ((a, g) for a in drawn for g in groups), strict=True):
        for stage in groups[group]:
            line = lines[(lines["axis"] == axis) & (lines["stage"] == stage)]
            _line(panel, line, styles[stage])
        values = sorted(set(lines.loc[lines["axis"] == axis, "value"]))
        panel.set(xscale="log", yscale="log", xlabel=AXES[axis])
        panel.set_xticks(values, [f"{value:g}" for value in values])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.set_title(f"stages that {group}", fontsize=11)
    grid[0].set_ylabel("processor seconds")
    entries: dict[str, Any] = {}
    for panel in grid:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    entries["in proportion to the count"] = Line2D([], [], color="grey", linestyle=":")
    lower.legend(entries.values(), entries, loc="outside lower center", ncols=5, frameon=False)
    n, m, s, a, g = base
    figure.suptitle(f"Growth around N = {n}, (M, S, A) = ({m}, {s}, {a}), G = {g}", fontsize=14)
    return figure


def _heat_map(panel: Axes, table: pd.DataFrame) -> AxesImage:
    """Exponents as colours and numbers, one line per stage and one column per axis."""
    image = panel.imshow(table, cmap="YlOrRd", vmin=0, vmax=8, aspect="auto")
    for y, row in enumerate(table.to_numpy()):
        for x, value in enumerate(row):
            colour = "white" if value > 5 else "black"
            text = f"{round(value, 1) + 0.0:.1f}"
            panel.text(x, y, text, ha="center", va="center", color=colour, fontsize=9)
    panel.set_xticks(range(table.shape[1]), [AXES[axis] for axis in table.columns], rotation=30)
    return image


def _line(panel: Axes, line: pd.DataFrame, style: palette.Style) -> None:
    """Seconds of one stage along one axis, and the counted work through the last point."""
    look = style.curve | {"linestyle": "-"}
    panel.plot(line["value"], line["seconds"], label=style.label, markersize=6, **look)
    theory = line["work"] * (line["seconds"].iloc[-1] / line["work"].iloc[-1])
    panel.plot(line["value"], theory, ":", color=style.colour, linewidth=1.1)
