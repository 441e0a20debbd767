"""Figures of one equilibrium: what the senders say, utilities, and what the receiver believes.

The `*_figure` functions draw and return a matplotlib `Figure`; `draw` writes them all. An action
has the same colour and marker in all of them.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dnl.equilibria import Equilibrium
from dnl.reporting import palette
from dnl.reporting.belief_figures import beliefs_figure
from dnl.reporting.equilibrium_text import outcomes
from dnl.reporting.figure_marks import (
    CENTRED,
    MAX_NUMBERS,
    action_marker,
    of_equilibrium,
    share,
    wrapped,
)
from dnl.reporting.figures import write_figure
from dnl.reporting.messages import Speaker, account, alike, listed
from games import PersuasionGame

__all__ = ["beliefs_figure", "draw", "policies_figure", "utilities_figure"]

HEAT = "Blues"
PANELS = 4  # at most, in a row
MAX_WIDTH, MAX_HEIGHT = 18.0, 24.0  # of a page, in inches
ROOM_OF_NAME = 0.18  # inches that the name of a message needs beside the next
_BARS = {
    "equilibrium": palette.OURS.colour,
    "full revelation": palette.FULL_REVELATION.colour,
    "no information": palette.NO_INFORMATION.colour,
}


@of_equilibrium
def policies_figure(equilibrium: Equilibrium) -> Figure:
    """Probabilities of the messages in each state: a heat map for each policy.

    Signals with the same likelihood ratios are one message, senders of one policy share a panel,
    and senders that say nothing are named below. Above a message stands the action that it leads
    to, if it is the same whatever the others say. States of prior 0 are left out.
    """
    game, told = equilibrium.game, account(equilibrium.game, equilibrium.policies)
    speaking = [group for group in alike(told.speakers) if not group[0].is_silent]
    silent = [speaker.name for speaker in told.speakers if speaker.is_silent]
    columns = max(1, min(len(speaking), PANELS))
    rows = max(1, math.ceil(len(speaking) / columns))
    states = [s for s in range(game.n_states) if game.prior[s] > 0]
    most = max((len(group[0].messages) for group in speaking), default=3)
    named = max(len(line) for s in states for line in _state(game, s).split("\n"))
    width = 1.6 + 0.09 * named + columns * (0.6 + 0.62 * max(most, 3))
    height = 1.2 + rows * (1.5 + 0.42 * max(len(states), 2)) if speaking else 2.0
    figure = Figure(
        figsize=(min(max(width, 6), MAX_WIDTH), min(height, MAX_HEIGHT)), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    scale = Normalize(0, 1)
    for k, panel in enumerate(panels):
        if k >= len(speaking):
            panel.set_axis_off()
            continue
        page = min(width, MAX_WIDTH) - 1.6 - 0.09 * named
        room = (page / columns - 0.6) / len(speaking[k][0].messages)  # inches for a column's name
        _policy(panel, game, speaking[k][0], states, scale, room)
        panel.set_title(wrapped(listed(one.name for one in speaking[k]), 34), fontsize=10)
        if k % columns == 0:
            panel.set_yticks(range(len(states)), [_state(game, s) for s in states], fontsize=9)
            panel.set_ylabel("state (prior)")
        else:
            panel.set_yticks([])
    if speaking:
        colors = ScalarMappable(scale, HEAT)
        figure.colorbar(colors, ax=list(panels), label="probability", shrink=0.9, aspect=24)
    else:
        words = "No sender says anything."
        panels[0].set_axis_off()
        panels[0].text(0.5, 0.5, words, **CENTRED, transform=panels[0].transAxes)
    figure.suptitle("What the senders say in each state", fontsize=12)
    _explain(figure, game, speaking, silent if speaking else [])
    return figure


def _policy(
    panel: Axes,
    game: PersuasionGame,
    speaker: Speaker,
    states: Sequence[int],
    scale: Normalize,
    room: float,
) -> None:
    policy = np.array([message.policy.numpy()[states] for message in speaker.messages]).T  # (S', L)
    panel.imshow(policy, cmap=HEAT, norm=scale, aspect="auto")
    for border in range(1, policy.shape[1]):
        panel.axvline(border - 0.5, color="white", linewidth=1.5)
    for border in range(1, policy.shape[0]):
        panel.axhline(border - 0.5, color="white", linewidth=1.5)
    for m, message in enumerate(speaker.messages):
        if message.action is not None:
            marker = action_marker(game, message.action)
            panel.plot(m, -0.85, **marker, markersize=8, clip_on=False)
    panel.set_ylim(len(states) - 0.5, -1.2)
    step = math.ceil(ROOM_OF_NAME / room)
    names = [wrapped(message.name, 16) for message in speaker.messages[::step]]
    longest = 0.062 * max(len(line) for name in names for line in name.split("\n"))  # inches
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    is_long = longest > room * step
    panel.set_xticks(
        range(0, policy.shape[1], step), names, fontsize=8, **turned if is_long else {}
    )
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for s, m in np.ndindex(*policy.shape) if policy.size <= MAX_NUMBERS else ():
        if policy[s, m] > 0:
            ink = "white" if policy[s, m] > 0.6 else "black"
            panel.text(m, s, share(float(policy[s, m])), **CENTRED, color=ink, fontsize=9)


def _explain(
    figure: Figure,
    game: PersuasionGame,
    speaking: Sequence[Sequence[Speaker]],
    silent: Sequence[str],
) -> None:
    """A legend of the actions that messages lead to, and the names of the silent senders."""
    shown = {message.action for group in speaking for message in group[0].messages}
    actions = sorted(action for action in shown if action is not None)
    panel = figure.axes[0]
    handles = [
        panel.plot([], [], **action_marker(game, a), label=f"leads to {game.labels.actions[a]}")[0]
        for a in actions
    ]
    title = f"says nothing: {listed(silent)}" if silent else None
    if handles or title:
        columns = min(max(len(handles), 1), 4)
        figure.legend(
            handles=handles,
            title=title and wrapped(title, 70),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=9,
            title_fontsize=9,
        )


def _state(game: PersuasionGame, state: int) -> str:
    return f"{wrapped(game.labels.states[state], 24)} ({share(float(game.prior[state]))})"


@of_equilibrium
def utilities_figure(equilibrium: Equilibrium) -> Figure:
    """Expected utility of every sender, the welfare and the receiver's utility.

    Each at the equilibrium, under full revelation and without information. The receiver has an
    axis of its own: its utility has another unit than the senders'.
    """
    values = outcomes(equilibrium)
    groups = [[name for name in values if name != "receiver"], ["receiver"]]
    size = (7.6, min(1.7 + 0.62 * len(values), MAX_HEIGHT))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(2, 1, height_ratios=[len(groups[0]), 1.15])
    for panel, names in zip(panels, groups, strict=True):
        for k, (label, color) in enumerate(_BARS.items()):
            lengths = [values[name][k] for name in names]
            at = np.arange(len(names)) + 0.27 * (k - 1)
            bars = panel.barh(at, lengths, 0.25, color=color, label=label)
            panel.bar_label(bars, [f"{value:.4g}" for value in lengths], padding=3, fontsize=8)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_yticks(range(len(names)), [wrapped(name, 24) for name in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.margins(x=0.16)  # room for the numbers
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
        panel.tick_params(axis="y", length=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].axhline(len(groups[0]) - 1.5, color="0.6", linestyle=":", linewidth=1)
    panels[1].set_xlabel("expected utility")
    figure.suptitle("Utilities (welfare: the sum of the senders')", fontsize=12)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw(equilibrium: Equilibrium, folder: Path | str, prefix: str = "") -> list[Path]:
    """Write `{prefix}policies.png`, `{prefix}utilities.png` and `{prefix}beliefs.png`.

    Returns their paths. Raises OSError if `folder`, made where it is missing, cannot be written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    figures = {
        "policies": policies_figure,
        "utilities": utilities_figure,
        "beliefs": beliefs_figure,
    }
    paths = []
    for name, function in figures.items():
        paths.append(target / f"{prefix}{name}.png")
        write_figure(paths[-1], function(equilibrium))
    return paths
