"""The receiver's reactions on the simplex: learned by posterior-dnl, and true.

Contested games of three states. The surrogate was trained on utilities of random profiles
only. Each of its choices gets the name of the action that it overlaps most with.
"""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dnl import FitConfig, FittedSurrogate, fit
from dnl.reporting.figures import write_figure
from dnl.reporting.palette import COLOURS
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from experiments.shared.resumable import table_of
from games import PersuasionGame, checks, synthetic_game
from games.randomness import stream

SIZES = ((2, 3, 3, 3), (2, 4, 3, 5))  # N, M, S, A
DRAWN = 3  # games per size in the figure
GRID = 120  # posteriors along an edge of the simplex
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
        for instance in range(100, 100 + instances)
    ]
    configuration = {"samples": samples, "epochs": epochs}
    rows = table_of(out, KEYS, keys, row_of, configuration, (samples, epochs), quiet=small)
    print(rows.to_string(index=False))
    draw(rows, samples, epochs, out / "learned_reaction.png")
    return 0


def fitted_to(key: Key, samples: int, epochs: int) -> tuple[PersuasionGame, FittedSurrogate]:
    """The game of `key` and its surrogate."""
    n, m, s, a, instance = (int(value) for value in key)
    game = synthetic_game(n, m, s, a, instance, "contested")
    config = FitConfig(samples=samples, epochs=epochs, test_samples=min(samples, 10_000))
    return game, fit(game, "posterior-dnl", config)


def row_of(key: Key, samples: int, epochs: int) -> Row:
    """The row of one game."""
    game, fitted = fitted_to(key, samples, epochs)
    probability, posterior, truth = joint_signals(game)
    learned = named(fitted.reaction(posterior, game.prior), truth, probability, game.n_actions)
    right = (learned == truth).double()
    return dict(zip(KEYS, key, strict=True)) | {
        "unexplained": fitted.unexplained.mean().item(),
        "right": right.mean().item(),
        "right, by probability": (right @ probability / probability.sum()).item(),
    }


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


def draw(rows: pd.DataFrame, samples: int, epochs: int, path: Path) -> None:
    """Draw the posteriors that lead to each action: true ones above, learned ones below."""
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    chosen = [
        tuple(row[name] for name in KEYS)
        for _, games in rows.groupby(KEYS[:4])
        for row in games.head(DRAWN).to_dict("records")
    ]
    figure = Figure(figsize=(2.2 * len(chosen) + 1, 4.6), layout="constrained")
    axes = figure.subplots(2, len(chosen), squeeze=False)
    points = simplex()
    x, y = points[:, 1] + points[:, 2] / 2, points[:, 2] * 3**0.5 / 2
    for column, key in enumerate(chosen):
        game, fitted = fitted_to(key, samples, epochs)
        truth = (points @ game.receiver_utility).argmax(1)
        probability, posterior, action = joint_signals(game)
        both = torch.cat([fitted.reaction(t, game.prior) for t in (posterior, points)])
        known = torch.cat([action, truth])
        weight = torch.cat([probability, torch.zeros(len(points), dtype=torch.float64)])
        learned = named(both, known, weight, game.n_actions)[len(posterior) :]
        for panel, regions in zip(axes[:, column], (truth, learned), strict=True):
            panel.scatter(x, y, c=[COLOURS[a] for a in regions.tolist()], s=3, marker="s")
            panel.set_aspect("equal")
            panel.axis("off")
        n, m, s, a, instance = (int(value) for value in key)
        axes[0, column].set_title(f"N={n} ({m},{s},{a}) game {instance}", fontsize=8)
    for panel, text in zip(axes[:, 0], ("true reaction", "learned"), strict=True):
        panel.text(-0.12, 0.43, text, rotation=90, va="center", ha="center", fontsize=9)
    figure.suptitle("Which posteriors lead to which action (corners: certainty of a state)")
    write_figure(path, figure)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.learned_reaction"))
