"""Figures of one equilibrium: its policies, its utilities and the receiver's posteriors.

The `*_figure` functions draw and return a matplotlib `Figure`; `draw` writes them all.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dnl.equilibria import Equilibrium
from dnl.reporting import palette
from dnl.reporting.equilibrium_text import outcomes, reactions
from dnl.reporting.figures import write_figure

MAX_NUMBERS = 120  # most cells of a heat map in which numbers are printed
_Points = NDArray[np.float64]

_BARS = {
    "equilibrium": palette.OURS.colour,
    "full revelation": palette.FULL_REVELATION.colour,
    "no information": palette.NO_INFORMATION.colour,
}
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])  # of states 0, 1, 2
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 12}
_TEXT_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2}
_AREA = 900.0  # of the marker of a belief of probability 1, in square points


def policies_figure(equilibrium: Equilibrium) -> Figure:
    """Heat maps of the policies, one panel per sender: states x signals."""
    game, policies = equilibrium.game, equilibrium.policies
    columns = min(game.n_senders, 4)
    rows = math.ceil(game.n_senders / columns)
    width, height = 1.3 + 0.55 * max(game.n_signals, 3), 1.3 + 0.42 * game.n_states
    size = (min(max(columns * width + 1.2, 5.5), 16), min(max(rows * height + 0.8, 3.2), 24))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    colors = ScalarMappable(Normalize(0, 1), "Blues")
    few = game.n_states * game.n_signals <= MAX_NUMBERS
    for n, panel in enumerate(panels):
        if n >= game.n_senders:
            panel.set_axis_off()
            continue
        panel.imshow(policies[n].numpy(), cmap=colors.cmap, norm=colors.norm, aspect="auto")
        panel.set(title=f"sender {n}", xlabel="signal")
        panel.set_xticks(_ticks(game.n_signals))
        names = [f"{s}  ({game.prior[s]:.2f})" for s in _ticks(game.n_states)]
        panel.set_yticks(_ticks(game.n_states), names)
        panel.set_xticks(np.arange(game.n_signals - 1) + 0.5, minor=True)
        panel.set_yticks(np.arange(game.n_states - 1) + 0.5, minor=True)
        panel.grid(which="minor", color="white", linewidth=1.5)
        panel.tick_params(which="both", length=0)
        panel.spines[:].set_visible(False)
        if n % columns == 0:
            panel.set_ylabel("state  (prior)")
        for s, m in np.ndindex(*policies[n].shape) if few else ():
            value = float(policies[n, s, m])
            if value > 0:
                ink = "white" if value > 0.6 else "black"
                panel.text(m, s, _share(value), ha="center", va="center", color=ink, fontsize=9)
    figure.colorbar(colors, ax=figure.axes, label="probability", shrink=0.9, aspect=24)
    figure.suptitle(f"Policies (found by {equilibrium.source})", fontsize=12)
    return figure


def utilities_figure(equilibrium: Equilibrium) -> Figure:
    """Utility of every sender, the welfare and the receiver, beside the two comparison values."""
    values = outcomes(equilibrium)
    groups = [[name for name in values if name != "receiver"], ["receiver"]]
    size = (min(3.0 + 1.15 * len(values), 16), 4.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=[len(groups[0]) + 0.3, 1.3])
    for panel, names in zip(panels, groups, strict=True):
        for k, (label, color) in enumerate(_BARS.items()):
            heights = [values[name][k] for name in names]
            at = np.arange(len(names)) + 0.28 * (k - 1)
            bars = panel.bar(at, heights, 0.26, color=color, label=label)
            digits = [_brief(height) for height in heights]
            panel.bar_label(bars, digits, padding=2, fontsize=8, rotation=90)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.margins(y=0.22)  # room for the numbers
        panel.grid(axis="y", color="0.9")
        panel.set_axisbelow(True)
        panel.tick_params(axis="x", length=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].axvline(len(groups[0]) - 1.5, color="0.6", linestyle=":", linewidth=1)
    panels[0].set_ylabel("expected utility")
    figure.suptitle("Utilities (welfare: the senders' sum)", fontsize=12)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def beliefs_figure(equilibrium: Equilibrium) -> Figure:
    """The receiver's posteriors over its regions of best actions, for two or three states.

    Raises:
        ValueError: for another number of states.
    """
    game = equilibrium.game
    if game.n_states not in (2, 3):
        raise ValueError(f"beliefs are drawn for 2 or 3 states, got {game.n_states}")
    beliefs: dict[tuple[tuple[float, ...], int], float] = {}
    for reaction in reactions(game, equilibrium.policies):
        # Joint signals of equal posterior and action share a marker.
        key = (tuple((reaction.posterior + 0.0).round(decimals=9).tolist()), reaction.action)
        beliefs[key] = beliefs.get(key, 0.0) + reaction.probability
    points = np.array([point for point, _ in beliefs])
    actions, probability = [action for _, action in beliefs], np.array(list(beliefs.values()))
    draw_beliefs = _on_line if game.n_states == 2 else _in_triangle
    return draw_beliefs(
        game.receiver_utility.numpy(), game.prior.numpy(), points, actions, probability
    )


def _on_line(
    v: _Points, prior: _Points, points: _Points, actions: list[int], probability: _Points
) -> Figure:
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    panel = figure.subplots()
    top = 1.3 * float(probability.max())
    for action, start, stop in _intervals(v):
        panel.axvspan(start, stop, color=_color(action), alpha=0.18, linewidth=0)
        panel.axvline(start, color="white", linewidth=1.5)
        if stop - start > 0.04:
            panel.text((start + stop) / 2, 0.93 * top, str(action), **_CENTRED, bbox=_TEXT_BOX)
    for point, action, share in zip(points, actions, probability, strict=True):
        panel.vlines(point[1], 0, share, color=_color(action), linewidth=2)
        panel.scatter(point[1], share, 60, _color(action), edgecolors="black", zorder=3)
    panel.axvline(prior[1], color="black", linestyle="--", linewidth=1, label="prior")
    panel.set(xlim=(-0.02, 1.02), ylim=(0, top), ylabel="probability")
    panel.set_xlabel("posterior probability of state 1")
    panel.spines[["top", "right"]].set_visible(False)
    _finish(figure, actions)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    return figure


def _in_triangle(
    v: _Points, prior: _Points, points: _Points, actions: list[int], probability: _Points
) -> Figure:
    figure = Figure(figsize=(6.8, 6.4), layout="constrained")
    panel = figure.subplots()
    for action in range(v.shape[1]):
        corners = _region(v, action) @ _CORNERS
        if len(corners):
            panel.fill(*corners.T, color=_color(action), alpha=0.22, linewidth=0)
            panel.fill(*corners.T, fill=False, edgecolor="white", linewidth=1.5)
            _name_region(panel, corners, action, points @ _CORNERS)
    panel.fill(*_CORNERS.T, fill=False, edgecolor="0.35", linewidth=1.2)
    order = np.argsort(-probability)  # small markers on top of large ones
    x, y = (points[order] @ _CORNERS).T
    panel.scatter(
        x,
        y,
        _AREA * probability[order],
        [_color(actions[k]) for k in order],
        edgecolors="black",
        zorder=3,
        clip_on=False,
    )
    mark: dict[str, Any] = {
        "color": "black",
        "marker": "+",
        "s": 90,
        "linewidths": 1.8,
        "zorder": 4,
    }
    x, y = prior @ _CORNERS
    panel.scatter(x, y, **mark, label="prior")
    for state, (x, y) in enumerate(_CORNERS):
        below = y == 0
        panel.text(
            x,
            y - 0.05 if below else y + 0.05,
            f"state {state}",
            ha="center",
            va="top" if below else "bottom",
        )
    panel.set(aspect="equal", xlim=(-0.08, 1.08), ylim=(-0.1, 0.96))
    panel.set_axis_off()
    _finish(figure, actions)
    panel.legend(loc="upper right", frameon=False)
    sizes = [
        panel.scatter([], [], _AREA * share, "0.8", edgecolors="black", label=f"{share:g}")
        for share in (0.05, 0.2, 0.5)
    ]
    areas = {"title": "probability", "labelspacing": 1.2, "borderpad": 0.8}
    figure.legend(
        handles=sizes, loc="upper left", bbox_to_anchor=(0.03, 0.9), frameon=False, **areas
    )
    return figure


def _finish(figure: Figure, actions: list[int]) -> None:
    """Add titles, and a legend entry for each action that is taken."""
    panel = figure.axes[0]
    figure.suptitle("What the receiver believes, and does", fontsize=12)
    panel.set_title("shaded and numbered: the receiver's best action", fontsize=9)
    for action in sorted(set(actions)):
        label = f"takes action {action}"
        panel.plot([], [], "o", color=_color(action), markeredgecolor="black", label=label)


def _intervals(v: _Points) -> list[tuple[int, float, float]]:
    """Best action, start and stop of each interval of P(state 1), for `v (2, A)`."""
    slope, cuts = v[1] - v[0], {0.0, 1.0}
    for a, b in np.ndindex(v.shape[1], v.shape[1]):
        if slope[a] != slope[b]:
            cuts.add(float((v[0, b] - v[0, a]) / (slope[a] - slope[b])))
    found: list[tuple[int, float, float]] = []
    for start, stop in pairwise(sorted(cut for cut in cuts if 0 <= cut <= 1)):
        best = int((v[0] + (start + stop) / 2 * slope).argmax())
        same = bool(found) and found[-1][0] == best
        found.append((best, found.pop()[1] if same else start, stop))
    return found


def _region(v: _Points, action: int) -> _Points:
    """Corners `(C, 3)` of the beliefs at which `action` is best, the lowest of equal actions."""
    corners = np.eye(3)
    for other in range(v.shape[1]):
        edge = v[:, action] - v[:, other]
        if other == action or (not edge.any() and other > action):
            continue
        height = corners @ edge if edge.any() else -np.ones(len(corners))
        kept = []
        for k in range(len(corners)):  # Sutherland and Hodgman's clipping
            here, there = height[k - 1], height[k]
            if (here >= 0) != (there >= 0):
                share = here / (here - there)
                kept.append((1 - share) * corners[k - 1] + share * corners[k])
            if there >= 0:
                kept.append(corners[k])
        corners = np.array(kept).reshape(-1, 3)
    return corners


def _name_region(panel: Axes, corners: _Points, action: int, markers: _Points) -> None:
    """Write the action's number where the region is wide and free of markers."""
    mixes = np.random.default_rng(0).dirichlet(np.ones(len(corners)), 400) @ corners
    gaps = [np.linalg.norm(mixes[:, None] - markers, axis=2).min(1)]
    for start, stop in zip(corners, np.roll(corners, -1, 0), strict=True):
        along = stop - start
        length = np.hypot(*along)
        if length > 1e-9:
            offset = mixes - start
            gaps.append(1.5 * abs(along[0] * offset[:, 1] - along[1] * offset[:, 0]) / length)
    room = np.minimum.reduce([*gaps, np.full(len(mixes), 0.12)])
    # The most central of the places with enough room.
    middle = np.linalg.norm(mixes - corners.mean(0), axis=1)
    best = int(np.lexsort((middle, -room))[0])
    if room[best] > 0.025:
        x, y = mixes[best]
        panel.text(x, y, str(action), **_CENTRED)


def _color(action: int) -> str:
    # From the thirteenth action on colours repeat; regions also carry the action's number.
    return palette.COLOURS[action % len(palette.COLOURS)]


def _ticks(count: int) -> list[int]:
    return list(range(0, count, math.ceil(count / 20)))


def _share(value: float) -> str:
    text = f"{value:.2f}"
    return "1" if value == 1 else "<.01" if text == "0.00" else text.removeprefix("0")


def _brief(value: float) -> str:
    return f"{value:.3g}"


def draw(equilibrium: Equilibrium, folder: Path | str, prefix: str = "") -> list[Path]:
    """Write `{prefix}policies.png`, `utilities.png` and, for two or three states, `beliefs.png`.

    Returns their paths. Raises OSError if `folder`, made where it is missing, cannot be written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    figures = {"policies": policies_figure, "utilities": utilities_figure}
    if equilibrium.game.n_states in (2, 3):
        figures["beliefs"] = beliefs_figure
    paths = []
    for name, function in figures.items():
        paths.append(target / f"{prefix}{name}.png")
        write_figure(paths[-1], function(equilibrium))
    return paths
