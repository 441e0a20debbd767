"""The receiver's reactions on the simplex: learned by posterior-dnl, and true.

Contested games of three states. The surrogate was trained on utilities of random profiles
only. Each of its choices gets the name of the action that it overlaps most with. The table holds
the reactions that the figure shows, so `experiments.redraw` fits nothing.
"""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dnl import FitConfig, FittedSurrogate, fit
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from games import PersuasionGame, checks, synthetic_game
from games.randomness import stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = ((2, 3, 3, 3), (2, 4, 3, 5))  # N, M, S, A
FIRST_INSTANCE = 100
DRAWN = 3  # games per size in the figure: the first ones
GRID = 120  # posteriors along an edge of the simplex
AGREES, DIFFERS = "#DDDDDD", "#000000"  # colours of posteriors
REACTIONS = ["true_reaction", "learned_reaction"]  # columns, filled for the games that are drawn
KEYS = ["n_senders", "n_signals", "n_states", "n_actions", "instance"]


def main(
    *,
    instances: int = 5,
    samples: int = 50_000,
    epochs: int = 10,
    out: Path = Path("results/learned_reaction"),
    small: bool = False,
) -> int:
    """Fit games of three states and compare reactions; finished games are not computed again.

    Args:
        instances: Games per size; their numbers start at 100.
        samples: Training profiles per game.
        epochs: Passes over them.
        out: Folder of the table and the figure.
        small: Run for a few seconds only.
    """
    for name, value in (("instances", instances), ("samples", samples), ("epochs", epochs)):
        checks.positive_integer(name, value)
    if small:
        instances, samples, epochs = 1, 2_000, 4
    keys = [
        (*size, instance)
        for size in SIZES[: 1 if small else None]
        for instance in range(FIRST_INSTANCE, FIRST_INSTANCE + instances)
    ]
    configuration = {"samples": samples, "epochs": epochs}
    rows = table_of(out, KEYS, keys, row_of, configuration, (samples, epochs), quiet=small)
    print(rows.drop(columns=REACTIONS).to_string(index=False))
    write_figures(out, figures(out))
    return 0


def fitted_to(key: Key, samples: int, epochs: int) -> tuple[PersuasionGame, FittedSurrogate]:
    """The game of `key` and its surrogate."""
    n, m, s, a, instance = (int(value) for value in key)
    game = synthetic_game(n, m, s, a, instance, "contested")
    config = FitConfig(samples=samples, epochs=epochs, test_samples=min(samples, 10_000))
    return game, fit(game, "posterior-dnl", config)


def row_of(key: Key, samples: int, epochs: int) -> Row:
    """The row of one game; with the reactions on the simplex if the game is drawn."""
    game, fitted = fitted_to(key, samples, epochs)
    probability, posterior, truth = joint_signals(game)
    learned = named(fitted.reaction(posterior, game.prior), truth, probability, game.n_actions)
    right = (learned == truth).double()
    row = dict(zip(KEYS, key, strict=True)) | {
        "unexplained": fitted.unexplained.mean().item(),
        "right": right.mean().item(),
        "right, by probability": (right @ probability / probability.sum()).item(),
    }
    if key[-1] >= FIRST_INSTANCE + DRAWN:
        return row | dict.fromkeys(REACTIONS)
    points = simplex()
    true_action = (points @ game.receiver_utility).argmax(1)
    both = torch.cat([fitted.reaction(t, game.prior) for t in (posterior, points)])
    weight = torch.cat([probability, torch.zeros(len(points), dtype=torch.float64)])
    names = named(both, torch.cat([truth, true_action]), weight, game.n_actions)
    reactions = (true_action, names[len(posterior) :])
    return row | dict(zip(REACTIONS, map(in_words, reactions), strict=True))


def joint_signals(game: PersuasionGame) -> tuple[Tensor, Tensor, Tensor]:
    """From 2,000 random profiles: probabilities `(B,)`, posteriors `(B, S)`, actions `(B,)`."""
    policies = game.sample_policies(2_000, stream("data", 0, game.identity, "reactions"))
    probability, posterior = game.posteriors(policies)
    return probability.flatten(), posterior.flatten(0, 1), game.receiver_action(policies).flatten()


def named(choice: Tensor, action: Tensor, weight: Tensor, n_actions: int) -> Tensor:
    """Name choices `(B,)` by the action that each meets most often, weighted by `weight (B,)`."""
    overlap = torch.zeros(int(choice.max()) + 1, n_actions, dtype=weight.dtype)
    overlap.index_put_((choice, action), weight, accumulate=True)
    return overlap.argmax(1)[choice]


def simplex() -> Tensor:
    """A grid of posteriors over three states, `(B, 3)`, without the edges."""
    steps = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    inside = first + second < 1
    first, second = first[inside], second[inside]
    return torch.stack([first, second, 1 - first - second], 1)


def in_words(actions: Tensor) -> str:
    """Write the actions `(B,)` of a grid into one cell: `action*count` for each run."""
    return " ".join(f"{action}*{len(list(run))}" for action, run in groupby(actions.tolist()))


def in_numbers(words: str) -> np.ndarray:
    """The actions that `in_words` wrote."""
    actions, counts = np.array([word.split("*") for word in words.split()], dtype=int).T
    return np.repeat(actions, counts)


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `games.csv`.

    Raises:
        OSError: if there is no table.
    """
    rows = read_table(folder / "games.csv").dropna(subset=REACTIONS)
    return {"learned_reaction.png": reaction_figure(rows)}


def reaction_figure(rows: pd.DataFrame) -> "Figure":
    """The learned reaction equals the true one except in small corners of the simplex.

    One column of panels per row of the table, that is, per game; nothing is averaged and there are
    no intervals. Above the true reaction, in the middle the learned one, below the posteriors at
    which they differ, with the probability of such a joint signal under random profiles.

    Args:
        rows: columns `KEYS`, `right, by probability` and `REACTIONS`.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(max(2.2 * len(rows) + 1, 7.0), 7.0), layout="constrained")
    axes = figure.subplots(3, len(rows), squeeze=False)
    styles = [palette.action(number) for number in range(int(rows["n_actions"].max()))]
    colours = [style.colour for style in styles]
    points = simplex()
    x, y = points[:, 1] + points[:, 2] / 2, points[:, 2] * 3**0.5 / 2
    for column, row in zip(axes.T, rows.to_dict("records"), strict=True):
        truth, learned = (in_numbers(row[name]) for name in REACTIONS)
        differs = np.where(truth == learned, AGREES, DIFFERS)
        drawn = [[colours[action] for action in actions] for actions in (truth, learned)]
        for panel, colour in zip(column, [*drawn, differs], strict=True):
            panel.scatter(x, y, c=colour, s=3, marker="s", linewidths=0, rasterized=True)
            for corner, place in zip("012", ((0, 0), (1, 0), (0.5, 3**0.5 / 2)), strict=True):
                aside = (0, 4) if corner == "2" else (0, -10)
                panel.annotate(
                    f"state {corner}",
                    place,
                    aside,
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
            panel.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.1, 0.97))
            panel.axis("off")
        n, m, s, a, instance = (row[name] for name in KEYS)
        column[0].set_title(f"N={n} ({m},{s},{a}), game {instance}", fontsize=9)
        wrong = 100 * abs(1 - row["right, by probability"])  # rounding may make it negative
        column[2].set_title(f"with probability {wrong:.3f} %", fontsize=9)
    for panel, text in zip(axes[:, 0], ("true", "learned", "where they differ"), strict=True):
        panel.text(-0.2, 0.43, text, rotation=90, va="center", ha="center", fontsize=10)
    entries = {style.label: style.colour for style in styles} | {"they differ": DIFFERS}
    figure.legend(
        handles=[
            Line2D([], [], color=colour, marker="s", linestyle="", label=label)
            for label, colour in entries.items()
        ],
        loc="outside lower center",
        ncols=len(entries),
        frameon=False,
    )
    figure.suptitle("The receiver's action at each posterior (corners: the state is certain)")
    return figure


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.learned_reaction"))
