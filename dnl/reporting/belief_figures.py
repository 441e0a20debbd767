"""What the receiver believes and does: posteriors over the regions of its best actions."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from dnl.equilibria import Equilibrium
from dnl.reporting.figure_marks import (
    CENTRED,
    MAX_NUMBERS,
    action_colour,
    action_marker,
    of_equilibrium,
    share,
    wrapped,
)
from dnl.reporting.messages import account
from dnl.reporting.reactions import MAX_JOINT_MESSAGES, Case
from games import PersuasionGame

MAX_ROWS = 12  # posteriors shown in a table, the likeliest first
MAX_COLUMNS = 12  # states shown in a table, the likeliest first; the others are summed
TITLE = "What the receiver believes, and does"
_Points = NDArray[np.float64]

_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])  # of states 0, 1, 2
_AREA = 900.0  # of the marker of a belief of probability 1, in square points


@of_equilibrium
def beliefs_figure(equilibrium: Equilibrium) -> Figure:
    """The receiver's posteriors, their probabilities and the actions that they lead to.

    For two states on a line, for three in a triangle, over the regions in which an action is the
    receiver's best. For more states, whose regions no plane figure shows, as a table: a row for
    each of the likeliest posteriors, a column for each of the likeliest states. The figure says
    what it leaves out.
    """
    game = equilibrium.game.to("cpu")
    cases = account(game, equilibrium.policies).cases
    if cases is None:
        return _too_many()
    if game.n_states == 2:
        return _on_line(game, cases)
    return _in_triangle(game, cases) if game.n_states == 3 else _in_table(game, cases)


def _too_many() -> Figure:
    figure = Figure(figsize=(7.5, 2), layout="constrained")
    panel = figure.subplots()
    panel.set_axis_off()
    words = f"More than {MAX_JOINT_MESSAGES:,} combinations of messages are possible: not drawn."
    panel.text(0.5, 0.5, words, **CENTRED, transform=panel.transAxes)
    figure.suptitle(TITLE, fontsize=12)
    return figure


def _on_line(game: PersuasionGame, cases: Sequence[Case]) -> Figure:
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    panel = figure.subplots()
    top = 1.25 * max(case.probability for case in cases)
    intervals = _intervals(game.receiver_utility.double().numpy())
    taken = np.array([float(game.prior[1]), *(float(case.posterior[1]) for case in cases)])
    for action, start, stop in intervals:
        panel.axvspan(start, stop, color=action_colour(action), alpha=0.45, linewidth=0)
        panel.axvline(start, color="white", linewidth=1.5)
        label = game.labels.actions[action]
        if stop - start > 0.02 * len(label):
            inset = 0.01 * len(label)
            places = np.linspace(start + inset, stop - inset, 21)
            free = abs(places[:, None] - taken).min(1).clip(max=inset + 0.02)
            middle = abs(places - (start + stop) / 2)
            panel.text(places[np.lexsort((middle, -free))[0]], 0.94 * top, label, **CENTRED)
    for case in cases:
        x, marker = float(case.posterior[1]), action_marker(game, case.action)
        panel.vlines(x, 0, case.probability, color="black", linewidth=1.5)
        panel.plot(x, case.probability, **marker, markersize=9, zorder=3, clip_on=False)
    prior = float(game.prior[1])
    panel.axvline(prior, color="black", linestyle="--", linewidth=1)
    panel.set(xlim=(-0.02, 1.02), ylim=(0, top), ylabel="probability of the belief")
    panel.set_xlabel(f"posterior probability of {game.labels.states[1]}")
    panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(TITLE, fontsize=12)
    _legend(figure, game, cases, [action for action, _, _ in intervals])
    return figure


def _in_triangle(game: PersuasionGame, cases: Sequence[Case]) -> Figure:
    figure = Figure(figsize=(8.6, 6.2), layout="constrained")
    panel = figure.subplots()
    v = game.receiver_utility.double().numpy()
    points = np.array([case.posterior.numpy() for case in cases]) @ _CORNERS
    prior = game.prior.double().numpy() @ _CORNERS
    marks = np.array([*points, prior])
    best = []
    for action in range(game.n_actions):
        corners = _region(v, action) @ _CORNERS
        if len(corners):
            best.append(action)
            panel.fill(*corners.T, color=action_colour(action), alpha=0.45, linewidth=0)
            panel.fill(*corners.T, fill=False, edgecolor="white", linewidth=1.5)
            _name_region(panel, corners, game.labels.actions[action], marks)
    panel.fill(*_CORNERS.T, fill=False, edgecolor="0.35", linewidth=1.2)
    for case, (x, y) in zip(cases, points, strict=True):  # small markers on top of large ones
        style = action_marker(game, case.action)
        panel.scatter(
            x,
            y,
            _AREA * case.probability,
            style["color"],
            marker=style["marker"],
            edgecolors="black",
            zorder=3,
            clip_on=False,
        )
    panel.plot(*prior, "k+", markersize=10, markeredgewidth=1.8, zorder=4)
    for state, (x, y) in zip(game.labels.states, _CORNERS, strict=True):
        low = y == 0
        align: dict[str, Any] = {"ha": "center", "va": "top" if low else "bottom"}
        panel.text(x, y - 0.06 if low else y + 0.05, wrapped(state, 22), **align)
    panel.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.16, 1.0))
    panel.set_axis_off()
    figure.suptitle(TITLE, fontsize=12)
    _legend(figure, game, cases, best)
    sizes = [
        panel.scatter([], [], _AREA * size, "0.8", edgecolors="black", label=f"{size:g}")
        for size in (0.05, 0.2, 0.5)
    ]
    figure.legend(
        handles=sizes,
        loc="outside right lower",
        title="probability\nof the belief",
        labelspacing=1.2,
        borderpad=0.8,
        frameon=False,
    )
    return figure


def _in_table(game: PersuasionGame, cases: Sequence[Case]) -> Figure:
    """A heat map: a row for the prior and for each posterior, a column for each state."""
    shown, rest = cases[:MAX_ROWS], cases[MAX_ROWS:]
    rows = np.array([game.prior.numpy(), *(case.posterior.numpy() for case in shown)])
    likeliest = rows.max(0).argsort(kind="stable")[::-1][:MAX_COLUMNS]
    states = sorted(likeliest.tolist())
    cells, labels = rows[:, states], [wrapped(game.labels.states[s], 18) for s in states]
    if len(states) < game.n_states:
        cells = np.column_stack([cells, 1 - cells.sum(1)])
        labels.append(f"{game.n_states - len(states)} others")
    left = ["prior"]
    left += [f"{game.labels.actions[c.action]} (probability {share(c.probability)})" for c in shown]
    width = 3.4 + 0.07 * max(map(len, left)) + 0.62 * len(labels)
    figure = Figure(figsize=(min(max(width, 7), 18), 2.6 + 0.42 * len(rows)), layout="constrained")
    panel = figure.subplots()
    image = panel.imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for border in range(1, len(rows)):
        panel.axhline(border - 0.5, color="black" if border == 1 else "white", linewidth=1.5)
    for s, m in np.ndindex(*cells.shape) if cells.size <= MAX_NUMBERS else ():
        if cells[s, m] > 0:
            ink = "white" if cells[s, m] > 0.6 else "black"
            panel.text(m, s, share(float(cells[s, m])), **CENTRED, color=ink, fontsize=9)
    for row, case in enumerate(shown, 1):
        marker = action_marker(game, case.action)
        panel.plot(-0.75, row, **marker, markersize=9, clip_on=False)
    panel.set_xlim(-1.0, len(labels) - 0.5)
    panel.set_yticks(range(len(rows)), left, fontsize=9)
    panel.set_xticks(range(len(labels)), labels, fontsize=9)
    if max(map(len, labels)) * len(labels) > 80:
        panel.set_xticks(
            range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor"
        )
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_xlabel("state")
    panel.set_ylabel("action that follows")
    figure.colorbar(image, ax=panel, label="probability of the state", aspect=24)
    left_out = ""
    if rest:
        total = sum(case.probability for case in rest)
        left_out = (
            f"\n{len(rest):,} less likely beliefs of probability {share(total)} are left out."
        )
    states_named = "the only state" if game.n_states == 1 else f"the {game.n_states} states"
    sentence = (
        f"Each row is a belief over {states_named}. Regions of best actions are drawn "
        f"for 2 or 3 states only.{left_out}"
    )
    figure.suptitle(TITLE, fontsize=12)
    panel.set_title(sentence, fontsize=9)
    return figure


def _legend(
    figure: Figure, game: PersuasionGame, cases: Sequence[Case], best: Sequence[int]
) -> None:
    """Explain regions, markers and the prior, at the right of the figure."""
    actions, panel = game.labels.actions, figure.axes[0]
    handles: list[Any] = [
        Patch(color=action_colour(a), alpha=0.45, label=wrapped(f"{actions[a]} is best", 26))
        for a in dict.fromkeys(best)
    ]
    for a in sorted({case.action for case in cases}):
        label = wrapped(f"belief that leads to {actions[a]}", 26)
        handles += panel.plot([], [], **action_marker(game, a), markersize=9, label=label)
    prior: dict[str, Any] = (
        {"linestyle": "--", "linewidth": 1}
        if game.n_states == 2
        else {"linestyle": "none", "marker": "+", "markersize": 10, "markeredgewidth": 1.8}
    )
    handles += panel.plot([], [], color="black", label="prior", **prior)
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)


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


def _name_region(panel: Axes, corners: _Points, label: str, markers: _Points) -> None:
    """Write the action's name where the region is wide and free of markers."""
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
    if room[best] > max(0.025, 0.009 * len(label)):
        x, y = mixes[best]
        panel.text(x, y, label, **CENTRED)
