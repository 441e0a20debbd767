"""How to train the paper's three networks: learning rates, schedules, patterns, scales.

Contested games, the paper's budget of samples and epochs. At the two smaller sizes, constant and
falling rates with all gradients of patterns; at all sizes, first rates; then each other field of a
recipe, one at a time, around a good rate. `dnl.training.recipes` holds the best recipes.
"""

from pathlib import Path

import pandas as pd

from dnl import FitConfig, fit_many
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from dnl.surrogates.registry import PAPER_SURROGATES
from dnl.training.recipes import Recipe
from experiments.shared.resumable import table_of
from games import checks, synthetic_game

SIZES = ((2, 2, 2, 2), (2, 4, 4, 4), (2, 6, 6, 6), (2, 10, 10, 10))  # N, M, S, A
FIRST_RATES = (0.01, 0.003, 0.001, 0.0003)  # learning rates at which a cosine begins
RATES = ((0.01, 1.0), (0.01, 0.01), (0.003, 0.01))  # first rate; last rate as a share of the first
GRADIENTS = {
    name: ("none", "straight-through")[: 1 + (name != "relu")] for name in PAPER_SURROGATES
}
BEST = {"relu": RATES[1], "delu": RATES[1], "dnl": RATES[2]}  # with straight-through patterns
VARIED = {
    "slope": (0.3, 3.0),
    "context": (0.1, 3.0),
    "unit": (0.3, 3.0),
}  # scales, 1 in the first rounds
VARIED_OF = {"relu": ("unit",), "delu": tuple(VARIED), "dnl": tuple(VARIED)}
SIZE = ["n_senders", "n_signals", "n_states", "n_actions"]
FIELDS = ["lr", "last", "pattern_gradient", *VARIED]  # fields of a recipe
KEYS = [*SIZE, "surrogate", *FIELDS]


def main(
    *,
    instances: int = 2,
    samples: int = 50_000,
    epochs: int = 30,
    workers: int = 1,
    out: Path = Path("results/recipes"),
    small: bool = False,
) -> int:
    """Fit contested games with all recipes; finished rows are not computed again.

    Args:
        instances: Games per size; their numbers start at 0.
        samples: Training profiles per game.
        epochs: Passes over them.
        workers: Number of processes; each computes one row at a time.
        out: Folder of the table.
        small: Run for a few seconds only.
    """
    counts = {"instances": instances, "samples": samples, "epochs": epochs, "workers": workers}
    for name, value in counts.items():
        checks.positive_integer(name, value)
    if small:
        instances, samples, epochs, workers = 1, 400, 1, 1
    rates = [
        (*size, surrogate, *rate, gradient, 1.0, 1.0, 1.0)
        for size in SIZES[:2]
        for surrogate in PAPER_SURROGATES
        for rate in RATES
        for gradient in GRADIENTS[surrogate]
    ]
    beginnings = [
        (*size, surrogate, lr, RATES[1][1], GRADIENTS[surrogate][-1], 1.0, 1.0, 1.0)
        for surrogate in PAPER_SURROGATES
        for size in reversed(SIZES)
        for lr in FIRST_RATES
    ]
    varied = [
        (*size, surrogate, *BEST[surrogate], GRADIENTS[surrogate][-1], *others.values())
        for size in SIZES[1::-1]
        for surrogate in PAPER_SURROGATES
        for name in VARIED_OF[surrogate]
        for value in VARIED[name]
        for others in [dict.fromkeys(VARIED, 1.0) | {name: value}]
    ]
    keys = rates[:3] if small else list(dict.fromkeys(rates + beginnings + varied))
    configuration = {"instances": instances, "samples": samples, "epochs": epochs}
    arguments = (instances, samples, epochs)
    rows = table_of(
        out, KEYS, keys, row_of, configuration, arguments, workers, quiet=small, table="recipes.csv"
    )
    print(summarise(rows).to_string(index=False))
    return 0


def row_of(key: Key, instances: int, samples: int, epochs: int) -> Row:
    """The row of one way to train."""
    n, m, s, a, surrogate, *said = key
    games = [synthetic_game(n, m, s, a, instance, "contested") for instance in range(instances)]
    recipe = Recipe(**dict(zip(FIELDS, said, strict=True)))
    config = FitConfig(recipe=recipe, samples=samples, epochs=epochs)
    fitted = fit_many(games, surrogate, config)
    errors = [error for f in fitted for error in f.unexplained.tolist()]
    return dict(zip(KEYS, key, strict=True)) | {
        "unexplained": sum(errors) / len(errors),
        "worst": max(errors),
        "seconds": sum(f.fit_seconds for f in fitted),
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """All recipes, the best first for every size and kind of network."""
    return rows.sort_values([*KEYS[:5], "unexplained"], ignore_index=True)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.recipes"))
