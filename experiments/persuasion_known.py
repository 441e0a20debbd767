"""Figure 2 of "Learning to Persuade": gradients against the optimum for a known receiver.

Random matrix games with equally many states and actions. Each is solved by three methods: the
linear program, the paper's ascent (constant rate and precision, random tables; we chose the numbers
that it leaves open, see `PAPER_WARM_UP`) and ours (`WarmUpConfig()`). All utilities are those of
the true receiver.
"""

import importlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd

from dnl import optimal_persuasion
from dnl.learning_to_persuade import PAPER_WARM_UP, WarmUpConfig, persuade_known
from dnl.reporting import palette
from dnl.reporting.figures import write_figure
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, write_table
from experiments.shared.resumable import table_of
from games import checks
from games.persuasion.matrix import random_matrix_game

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken

SIZES = (4, 8, 12, 16, 20, 24, 28, 32)
CURVE_SIZE = 8  # games of this size store their utilities by iteration
# Mean optima of the paper's 25 games per size, from its table 1; our games are different draws.
PUBLISHED = dict(
    zip(SIZES, (0.7049, 0.7576, 0.8162, 0.8543, 0.8671, 0.8838, 0.8951, 0.9115), strict=True)
)
KEYS = ["size", "instance"]
WAYS = {"paper": "gradients, the paper's way", "ours": "gradients, our way"}
COLOURS = {
    "optimum": palette.BOUND.colour,
    "paper": palette.PAPER_METHOD.colour,
    "ours": palette.OURS.colour,
}


def main(
    *,
    sizes: Annotated[tuple[int, ...], cli.MANY] = SIZES,
    instances: int = 25,
    workers: int = 2,
    out: Path = Path("results/learning_to_persuade/known"),
    small: bool = False,
) -> int:
    """Persuade known receivers by three methods; finished games are not computed again.

    Args:
        sizes: Numbers of states, which are also those of actions.
        instances: Games per size.
        workers: Number of processes; each computes one game at a time.
        out: Folder of the tables and the figure.
        small: Run for a few seconds only.
    """
    for size in sizes:
        checks.positive_integer("sizes", size)
    for name, value in (("instances", instances), ("workers", workers)):
        checks.positive_integer(name, value)
    configs = {"paper": PAPER_WARM_UP, "ours": WarmUpConfig()}
    if small:
        sizes, instances, workers = (4, 8), 2, 1
        configs = {way: replace(config, iterations=20) for way, config in configs.items()}
    keys = [(size, instance) for size in dict.fromkeys(sizes) for instance in range(instances)]
    configuration = {way: repr(config) for way, config in configs.items()}
    rows = table_of(out, KEYS, keys, row_of, configuration, (configs,), workers, quiet=small)
    summary = summarise(rows)
    write_table(summary, out / "summary.csv")
    print(summary.to_string(index=False))
    games = rows[rows["size"] == CURVE_SIZE]
    points = pd.concat(curves(games, KEYS, way, config) for way, config in configs.items())
    write_table(points, out / "curves.csv")
    draw(summary, points, out / "known.png")
    return 0


def row_of(key: Key, configs: dict[str, WarmUpConfig]) -> Row:
    """The row of one game; shares are of the optimum.

    In 8 x 8 games the `_curve` of a way has the best restart's utility at each recorded iteration,
    not the best one so far.
    """
    size, instance = (int(value) for value in key)
    game = random_matrix_game(size, size, instance)
    began = time.perf_counter()
    optimum = optimal_persuasion(game).upper_bound
    row = dict(zip(KEYS, key, strict=True)) | {
        "optimum": optimum,
        "lp_seconds": time.perf_counter() - began,
    }
    for way, config in configs.items():
        began = time.perf_counter()
        found = persuade_known(game, config, seed=instance)
        row |= {
            way: found.utility,
            f"{way}_share": found.utility / optimum,
            f"{way}_seconds": time.perf_counter() - began,
            f"{way}_curve": in_words(found.utilities) if size == CURVE_SIZE else None,
        }
        within(optimum, found.utility, f"{size} x {size} game {instance}")
    return row


def within(bound: float, utility: float, where: str) -> None:
    """Raise a RuntimeError if a utility exceeds its proven bound, so that one of them is wrong."""
    if utility > bound + 1e-9:
        raise RuntimeError(f"{where}: a utility of {utility} is above its proven bound {bound}")


def in_words(utilities: tuple[float, ...]) -> str:
    """Write utilities into one cell of a table."""
    return " ".join(f"{utility:.5f}" for utility in utilities)


def curves(rows: pd.DataFrame, names: list[str], way: str, config: WarmUpConfig) -> pd.DataFrame:
    """Turn the cells `{way}_curve` of games into rows, at the iterations of `config`."""
    points: list[Row] = []
    steps = [*range(0, config.iterations, config.tested), config.iterations]
    for row in rows.to_dict("records"):
        game = {name: row[name] for name in names}
        for step, word in zip(steps, row[f"{way}_curve"].split(), strict=True):
            utility = float(word)
            share = round(utility / row["optimum"], 5)
            points.append(
                game | {"way": way, "iteration": step, "utility": utility, "share": share}
            )
    return pd.DataFrame(points, columns=[*names, "way", "iteration", "utility", "share"])


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per size: means and standard deviations over games, worst shares, mean seconds."""
    groups = rows.groupby("size")
    games = groups.size()
    table = {"games": games, "published_optimum": pd.Series(PUBLISHED)}
    for name in ("optimum", *WAYS):
        table |= {name: groups[name].mean(), f"{name}_std": groups[name].std()}
    for way in WAYS:
        share = groups[f"{way}_share"]
        table |= {f"{way}_share": share.mean(), f"{way}_worst_share": share.min()}
    for name in ("lp", *WAYS):
        table[f"{name}_seconds"] = groups[f"{name}_seconds"].mean()
    summary = pd.DataFrame(table).loc[games.index]  # only sizes that were computed
    return summary.rename_axis("size").reset_index().round(5)


def draw(summary: pd.DataFrame, points: pd.DataFrame, path: Path) -> None:
    """Draw utility against size, and against iterations in 8 x 8 games."""
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    labels = {"optimum": "optimum (linear program)"} | WAYS
    for shift, (name, label) in zip((-0.4, 0.4, 0.0), labels.items(), strict=True):
        left.errorbar(
            summary["size"] + shift,  # so that the bars stand side by side
            summary[name],
            summary[f"{name}_std"].fillna(0),
            color=COLOURS[name],
            label=label,
            marker="o",
            markersize=4,
            elinewidth=0.9,
            capsize=2,
        )
    left.scatter(
        summary["size"] - 0.4,
        summary["published_optimum"],
        marker="x",
        color=palette.PUBLISHED.colour,
        zorder=3,
        label="optimum in the paper's games (table 1)",
    )
    left.set_xticks(summary["size"])
    left.set_xlabel("states, and actions")
    left.set_ylabel("sender's utility (mean and std over games)")
    left.legend(loc="lower right", frameon=False, fontsize=8)
    left.set_title("Games of various sizes")
    for way, label in WAYS.items():
        mean = points[points["way"] == way].groupby("iteration")["share"].mean()
        right.plot(mean.index, mean, color=COLOURS[way], label=label)
    right.axhline(1, color=COLOURS["optimum"], linewidth=0.8, linestyle="--")
    right.set_xlabel("iterations")
    right.set_ylabel("share of the optimum (mean over games)")
    if len(points):
        right.legend(loc="lower right", frameon=False, fontsize=8)
    right.set_title(f"{CURVE_SIZE} x {CURVE_SIZE} games, best of the restarts")
    write_figure(path, figure)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.persuasion_known"))
