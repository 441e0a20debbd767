"""How to train the paper's three networks: learning rates, schedules and pattern gradients.

Contested games, the paper's budget of samples and epochs. `dnl.recipes` holds what came out best.
"""

from pathlib import Path

import pandas as pd

from dnl import FitConfig, cli, fit_many
from dnl.surrogates import PAPER_SURROGATES, Architecture
from experiments.resumable import Row, table_of
from games import checks, synthetic_game

SIZES = ((2, 2, 2, 2), (2, 4, 4, 4))  # N, M, S, A
RATES = ((0.01, 1.0), (0.01, 0.01), (0.003, 0.01))  # first, and the last one's share of it
GRADIENTS = {"relu": ("none",), "delu": ("none", "straight-through")}
KEYS = [
    "n_senders", "n_signals", "n_states", "n_actions",
    "surrogate", "lr", "last", "pattern_gradient",
]  # fmt: skip


def main(
    *,
    instances: int = 2,
    samples: int = 50_000,
    epochs: int = 30,
    out: Path = Path("results/recipes"),
    small: bool = False,
) -> int:
    """Fit contested games in all ways; finished ways are kept, and not computed again.

    Args:
        instances: Games per size; their numbers start at 0.
        samples: Training profiles per game.
        epochs: Passes over them.
        out: Folder of the table.
        small: A run of seconds.
    """
    for name, value in (("instances", instances), ("samples", samples), ("epochs", epochs)):
        checks.positive_integer(name, value)
    if small:
        instances, samples, epochs = 1, 400, 1
    keys = [
        (*size, surrogate, lr, last, gradient)
        for size in SIZES[: 1 if small else None]
        for surrogate in PAPER_SURROGATES[: 1 if small else None]
        for lr, last in RATES
        for gradient in GRADIENTS.get(surrogate, GRADIENTS["delu"])
    ]
    configuration = {"instances": instances, "samples": samples, "epochs": epochs}
    arguments = (instances, samples, epochs)
    rows = table_of(
        out, KEYS, keys, row_of, configuration, arguments, quiet=small, table="recipes.csv"
    )
    print(summarise(rows).to_string(index=False))
    return 0


def row_of(
    key: tuple[int, int, int, int, str, float, float, str],
    instances: int,
    samples: int,
    epochs: int,
) -> Row:
    """The row of one way to train."""
    n, m, s, a, surrogate, lr, last, gradient = key
    games = [synthetic_game(n, m, s, a, instance, "contested") for instance in range(instances)]
    config = FitConfig(
        samples=samples,
        epochs=epochs,
        lr=lr,
        lr_last_share=last,
        architecture=Architecture(pattern_gradient=gradient),
    )
    fitted = fit_many(games, surrogate, config)
    errors = [error for f in fitted for error in f.unexplained.tolist()]
    return dict(zip(KEYS, key, strict=True)) | {
        "unexplained": sum(errors) / len(errors),
        "worst": max(errors),
        "seconds": sum(f.fit_seconds for f in fitted),
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """All ways, the best first for every size and kind of network."""
    return rows.sort_values([*KEYS[:5], "unexplained"], ignore_index=True)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.recipes"))
