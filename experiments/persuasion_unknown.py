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
from typing import TYPE_CHECKING, Annotated

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
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table, write_table
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from games import checks, random_matrix_game
from games.receivers import RationalReceiver

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken
if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
METHODS = ("asking", "alternating")


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
    write_figures(out / "unknown", figures(out / "unknown"))
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


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `games.csv`.

    Raises:
        OSError: if there is no table.
    """
    return {"queries.png": query_figure(read_table(folder / "games.csv"))}


def query_figure(rows: pd.DataFrame) -> "Figure":
    """With tens of queries asking reaches more than the paper's method with hundreds or thousands.

    The best utility so far as a share of the optimum, against the number of policies that the
    receiver has answered (logarithmic): mean over the games of a size, and the middle half of the
    games as a band. The paper's method asks random policies first; the mark at the end of its line
    is the mean after its learned policies, the last few queries. Beside it stands the published
    final share. The mark of asking is its end, too.

    Args:
        rows: of `games.csv`.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    sizes = [size for size in DRAWN if size in set(rows["size"])] or sorted(set(rows["size"]))
    figure = Figure(figsize=(4.2 * len(sizes), 4.4), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for axes, size in zip(panels, sizes, strict=True):
        games = rows[rows["size"] == size]
        for method, style in palette.styles(METHODS).items():
            own = games[games["method"] == method]
            last = own["queries"].max()
            # Random policies come first; the learned ones are the last of all games' queries.
            drawn = own["queries"].min() - 1 if method == "alternating" else last
            queries = np.unique(np.geomspace(1, drawn, 200).astype(int))
            curves = np.stack([best_after(steps, queries) for steps in own["best_ratios"]])
            ends = np.stack([best_after(steps, np.array([last])) for steps in own["best_ratios"]])
            axes.plot([], [], label=style.label, **style.curve)  # for the legend
            axes.plot(queries, curves.mean(0), color=style.colour, linestyle=style.line)
            low, high = np.quantile(curves, (0.25, 0.75), axis=0)
            axes.fill_between(queries, low, high, color=style.colour, alpha=0.15, linewidth=0)
            axes.plot([last, last], np.quantile(ends, (0.25, 0.75)), color=style.colour)
            axes.plot([last], [ends.mean()], **style.marks)
        if size in PAPER:
            style = palette.style("published", "The paper's method, as published")
            axes.plot([last * 1.6], [PAPER[size][0]], label=style.label, **style.marks)
        axes.set_xscale("log")
        number = games["instance"].nunique()
        axes.set_title(f"{size} x {size}, mean over {number} games", fontsize=11)
        axes.set_xlabel("policies answered (logarithmic)")
        axes.grid(axis="y", color="0.9")
    panels[0].set_ylabel("best utility so far, share of the optimum")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        title="bands and bars: the middle half of the games; marks: at the end of all queries",
    )
    return figure


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.persuasion_unknown"))
