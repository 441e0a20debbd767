"""Table 1 of "Learning to Persuade": an unknown rational receiver, explicit commitment.

Random matrix games. The paper's method (Algorithm 1) and ours (asking) learn from the receiver's
actions alone; the optimum comes from a linear program that knows the receiver. A query is a
policy that the receiver answers. The figure has the best utility so far against queries.

Settings that the paper leaves open were chosen so that its method ends near the published ratios
(`AlternatingConfig`). They were chosen on instances from 100 on; instances below 100 were not used
to tune either method.
"""

import importlib
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from dnl import optimal_persuasion
from dnl.learning_to_persuade import (
    AlternatingConfig,
    AskingConfig,
    LearnedPolicy,
    SenderProblem,
    learn_alternating,
    learn_by_asking,
)
from dnl.reporting import palette
from dnl.reporting.figures import write_figure
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, write_table
from experiments.shared.resumable import table_of
from games import checks, random_matrix_game
from games.receivers import RationalReceiver

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken
SIZES = (4, 8, 12, 16, 20, 24, 28, 32)
PAPER = {  # table 1: ratio to the optimum, optimum
    4: (0.9752, 0.7049),
    8: (0.9237, 0.7576),
    12: (0.9160, 0.8162),
    16: (0.8987, 0.8543),
    20: (0.8668, 0.8671),
    24: (0.8893, 0.8838),
    28: (0.8996, 0.8951),
    32: (0.8813, 0.9115),
}
KEYS = ["size", "instance"]
DRAWN = (8, 16, 32)  # sizes in the figure
STYLES = palette.styles(["asking", "alternating"])


def main(
    *,
    instances: int = 25,
    sizes: Annotated[tuple[int, ...], cli.MANY] = SIZES,
    workers: int = 2,
    out: Path = Path("results/learning_to_persuade"),
    small: bool = False,
) -> int:
    """Learn to persuade unknown rational receivers by both methods; finished games are kept.

    Args:
        instances: Games per size.
        sizes: Numbers of states, which are also those of actions.
        workers: Number of processes; each computes one game at a time.
        out: Folder: table1.csv, and unknown/ with the rows of all games and the figure.
        small: Run for a few seconds only.
    """
    checks.positive_integer("instances", instances)
    checks.positive_integer("workers", workers)
    for size in sizes:
        checks.positive_integer("sizes", size, least=2)
    asking, alternating = AskingConfig(), AlternatingConfig()
    if small:
        sizes, instances, workers = (2, 3), 2, 1
        asking = AskingConfig(queries=12, steps=20)
        alternating = AlternatingConfig(schemes=20, fit_steps=50, sender_steps=20, rounds=2)
    keys = [(size, instance) for size in sizes for instance in range(instances)]
    rows = table_of(
        out / "unknown",
        KEYS,
        keys,
        rows_of,
        {"asking": repr(asking), "alternating": repr(alternating)},
        (asking, alternating),
        workers,
        quiet=small,
        within=["method"],
    )
    write_table(table_1(rows), out / "table1.csv")
    summary = summarise(rows)
    write_table(summary, out / "unknown" / "summary.csv")
    print(summary.to_string(index=False))
    draw(rows, out / "unknown" / "queries.png")
    return 0


def rows_of(key: Key, asking: AskingConfig, alternating: AlternatingConfig) -> list[Row]:
    """One row per method."""
    size, instance = key
    game = random_matrix_game(size, size, instance)
    problem, optimum = SenderProblem.of(game), optimal_persuasion(game).utility
    rows = []
    for method, learn in (
        ("alternating", lambda r: learn_alternating(problem, r, alternating, seed=instance)),
        ("asking", lambda r: learn_by_asking(problem, r, asking, seed=instance)),
    ):
        began = time.perf_counter()
        found = learn(RationalReceiver(game))
        rows.append(
            {
                **dict(zip(KEYS, key, strict=True)),
                "method": method,
                "lp_optimum": optimum,
                "utility": found.utility,
                "ratio": found.utility / optimum,
                "predicted_ratio": found.predicted / optimum,
                "queries": found.queries,
                "train_accuracy": found.accuracy[0],
                "test_accuracy": found.accuracy[1],
                "converged": found.converged,
                "best_ratios": improvements(found, optimum),
                "seconds": time.perf_counter() - began,
            }
        )
    return rows


def improvements(found: LearnedPolicy, optimum: float) -> str:
    """`query:ratio` at each query that raised the best ratio so far; queries count from 1."""
    best, steps = float("-inf"), []
    for number, utility in enumerate(found.utilities, 1):
        if utility > best:
            best = utility
            steps.append(f"{number}:{best / optimum:.4f}")
    return " ".join(steps)


def best_after(steps: str, queries: np.ndarray) -> np.ndarray:
    """The best ratio after each number of queries, NaN before the first."""
    numbers, ratios = zip(*(step.split(":") for step in steps.split()), strict=True)
    index = np.searchsorted(np.array(numbers, dtype=int), queries, side="right") - 1
    return np.where(index < 0, np.nan, np.array(ratios, dtype=float)[index])


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over games, per size and method, beside the paper's."""
    summary = rows.groupby(["size", "method"], sort=False, as_index=False).agg(
        games=("instance", "count"),
        lp_optimum=("lp_optimum", "mean"),
        utility=("utility", "mean"),
        ratio=("ratio", "mean"),
        least_ratio=("ratio", "min"),
        predicted_ratio=("predicted_ratio", "mean"),
        queries=("queries", "mean"),
        train_accuracy=("train_accuracy", "mean"),
        test_accuracy=("test_accuracy", "mean"),
        seconds=("seconds", "median"),
    )
    nothing = (float("nan"), float("nan"))
    summary["paper_ratio"] = [PAPER.get(size, nothing)[0] for size in summary["size"]]
    summary["paper_lp_optimum"] = [PAPER.get(size, nothing)[1] for size in summary["size"]]
    return summary.round(4)


def table_1(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 1: one line per size, with ratios of mean utilities as in the paper and our queries."""
    means = rows.groupby(["method", "size"])[["lp_optimum", "utility", "queries"]].mean()
    ours, paper = means.loc["asking"], means.loc["alternating"]
    table = pd.DataFrame(
        {
            "lp_optimum": ours["lp_optimum"],
            "paper_method_ratio": paper["utility"] / paper["lp_optimum"],
            "ours_ratio": ours["utility"] / ours["lp_optimum"],
            "queries": ours["queries"],
        }
    )
    return table.round(4).reset_index()


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw the best ratio so far against queries: mean and range over games."""
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    sizes = [size for size in DRAWN if size in set(rows["size"])] or sorted(set(rows["size"]))
    figure = Figure(figsize=(3.6 * len(sizes), 3.4), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for axes, size in zip(panels, sizes, strict=True):
        games = rows[rows["size"] == size]
        for method, style in STYLES.items():
            own = games[games["method"] == method]
            queries = np.unique(np.geomspace(1, own["queries"].max(), 200).astype(int))
            curves = np.stack([best_after(steps, queries) for steps in own["best_ratios"]])
            axes.plot(queries, curves.mean(0), color=style.colour, label=style.label)
            low, high = curves.min(0), curves.max(0)
            axes.fill_between(queries, low, high, color=style.colour, alpha=0.15, linewidth=0)
        if size in PAPER:
            style = palette.PUBLISHED
            line = {"color": style.colour, "linestyle": style.line, "label": style.label}
            axes.axhline(PAPER[size][0], linewidth=0.8, **line)
        axes.set_xscale("log")
        axes.set_title(f"{size} x {size}", fontsize=10)
        axes.set_xlabel("queries (policies answered)")
    panels[0].set_ylabel("best utility so far / optimum")
    panels[0].legend(fontsize=8, loc="lower right")
    write_figure(path, figure)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.persuasion_unknown"))
