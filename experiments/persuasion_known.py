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
from typing import TYPE_CHECKING, Annotated

import pandas as pd

from dnl import optimal_persuasion
from dnl.learning_to_persuade import PAPER_WARM_UP, WarmUpConfig, persuade_known
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table, write_table
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from games import checks
from games.persuasion.matrix import random_matrix_game

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (4, 8, 12, 16, 20, 24, 28, 32)
CURVE_SIZE = 8  # games of this size store their utilities by iteration
# Mean optima of the paper's 25 games per size, from its table 1; our games are different draws.
PUBLISHED = dict(
    zip(SIZES, (0.7049, 0.7576, 0.8162, 0.8543, 0.8671, 0.8838, 0.8951, 0.9115), strict=True)
)
KEYS = ["size", "instance"]
WAYS = {"paper": "gradients, the paper's way", "ours": "gradients, our way"}


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
    write_figures(out, figures(out))
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


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `games.csv` and `curves.csv`.

    Raises:
        OSError: if one of them is missing.
    """
    rows, points = (read_table(folder / f"{name}.csv") for name in ("games", "curves"))
    return {"known.png": utility_figure(rows, points)}


def utility_figure(rows: pd.DataFrame, points: pd.DataFrame) -> "Figure":
    """Our gradients reach about 99 % of the optimum or more, the paper's 95 to 97 %.

    Left: mean utility over the games of a size, without intervals, which would show how much games
    differ; the paper's mean optimum is of other games of the same law. Middle: the share of its own
    optimum in each game (small marks), and the mean over the games of a size. Right: mean share by
    iteration over the 8 x 8 games, of the best restart of each.

    Args:
        rows: of `games.csv`.
        points: of `curves.csv`.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    styles = {way: palette.style(way, label) for way, label in WAYS.items()}
    styles = {way: styles[way] for way in palette.ordered(styles)}
    optimum = palette.style("optimum", "optimum (linear program)")
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    sizes = sorted(set(rows["size"]))
    means = rows.groupby("size")[["optimum", *WAYS]].mean()
    left.plot(sizes, means["optimum"], label=optimum.label, **optimum.curve)
    published = [(size, PUBLISHED[size]) for size in sizes if size in PUBLISHED]
    if published:
        style = palette.style("published", "optimum in the paper's own games (its table 1)")
        left.plot(*zip(*published, strict=True), label=style.label, **style.marks)
    for aside, (way, style) in zip((-0.5, 0.5), styles.items(), strict=True):
        left.plot(sizes, means[way], label=style.label, **style.curve)
        middle.scatter(rows["size"] + aside, rows[f"{way}_share"], s=8, alpha=0.35, **style.dots)
        middle.plot(sizes, rows.groupby("size")[f"{way}_share"].mean(), **style.curve)
        curve = points[points["way"] == way].groupby("iteration")["share"].mean()
        right.plot(curve.index, curve, color=style.colour, linestyle=style.line)
        right.plot(curve.index[-1:], curve[-1:], **style.marks)  # where it ends
    for panel in (middle, right):
        panel.axhline(1, color=optimum.colour, linestyle=optimum.line, linewidth=1)
    for panel in (left, middle):
        panel.set_xticks(sizes)
        panel.set_xlabel("states, and actions")
    left.set_ylabel("sender's utility")
    middle.set_ylabel("share of the optimum")
    right.set_ylabel("share of the optimum")
    right.set_xlabel("iterations of the best restart (mark: the last)")
    games = rows.groupby("size").size().max()
    left.set_title(f"Mean over {games} games per size", fontsize=11)
    middle.set_title("The games of each size, and their mean", fontsize=11)
    drawn = points["instance"].nunique()
    right.set_title(f"Mean over {drawn} games of {CURVE_SIZE} x {CURVE_SIZE}", fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.persuasion_known"))
