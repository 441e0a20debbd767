"""Figure 3 of "Learning to Persuade": how much a sender loses with few messages.

Random matrix games of 32 states and actions. With fewer messages than actions optimal persuasion is
NP-hard. The paper's method, which does not know the receiver, is compared with gradients that do,
with the policy that branch and bound finds in limited time, and with its proven upper bound. All
are true utilities as shares of the optimum with a message for every action; with that many, one
linear program replaces branch and bound. Only its policy and bound depend on the machine's speed.
"""

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd

from dnl import optimal_persuasion
from dnl.learning_to_persuade import (
    AlternatingConfig,
    SenderProblem,
    WarmUpConfig,
    learn_alternating,
    persuade_known,
)
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table, write_table
from experiments.persuasion_known import curves, in_words, within
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from games import checks
from games.persuasion.matrix import random_matrix_game
from games.receivers import RationalReceiver

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MESSAGES = (2, 4, 8, 12, 16, 24, 32)
CURVE_MESSAGES = 16  # rows with so many messages store their utilities by iteration
SHARE = "share of the optimum with all messages"  # one for every action
KEYS = ["messages", "instance"]
LABELS = {
    "bound": "proven upper bound",
    "gradients": "gradients, receiver known",
    "exact": "branch and bound, receiver known",
    "alternating": "the paper's method, receiver unknown",
}


@dataclass(frozen=True)
class Ways:
    """Settings for one game. The paper states none; all are the library's defaults.

    Attributes:
        size: number of states and of actions.
        time_limit: seconds of branch and bound.
        gradients: of `persuade_known`.
        alternating: of `learn_alternating`.
    """

    size: int
    time_limit: float
    gradients: WarmUpConfig
    alternating: AlternatingConfig


def main(
    *,
    messages: Annotated[tuple[int, ...], cli.MANY] = MESSAGES,
    instances: int = 25,
    time_limit: float = 20.0,
    workers: int = 2,
    out: Path = Path("results/learning_to_persuade/messages"),
    small: bool = False,
) -> int:
    """Persuade with few messages; finished games are not computed again.

    Args:
        messages: Numbers of messages.
        instances: Number of games, the same for each number of messages.
        time_limit: Seconds of branch and bound per game with fewer messages than actions.
        workers: Number of processes; each computes one game at a time.
        out: Folder of the tables and the figure.
        small: Run for a few seconds only.
    """
    for count in messages:
        checks.positive_integer("messages", count)
    for name, value in (("instances", instances), ("workers", workers)):
        checks.positive_integer(name, value)
    time_limit = checks.positive_number("time_limit", time_limit)
    ways = Ways(32, time_limit, WarmUpConfig(), AlternatingConfig())
    if small:
        few = AlternatingConfig(schemes=16, fit_steps=50, tune_steps=10, sender_steps=20, rounds=2)
        ways = Ways(18, 0.5, WarmUpConfig(iterations=20), few)
        messages, instances, workers = (2, CURVE_MESSAGES, ways.size), 1, 1
    keys = [(count, instance) for count in dict.fromkeys(messages) for instance in range(instances)]
    configuration = {"ways": repr(ways)}
    rows = table_of(out, KEYS, keys, row_of, configuration, (ways,), workers, quiet=small)
    summary = summarise(rows)
    write_table(summary, out / "summary.csv")
    print(summary.to_string(index=False))
    games = rows[rows["messages"] == CURVE_MESSAGES]
    points = curves(games, KEYS, "gradients", ways.gradients)
    write_table(points, out / "curves.csv")
    write_figures(out, figures(out))
    return 0


def row_of(key: Key, ways: Ways) -> Row:
    """The row of one game and number of messages; `_share` is of `optimum`, that of all messages.

    With 16 messages `gradients_curve` has the best restart's utility at each recorded iteration,
    not the best one so far. `queries` is the number that the paper's method made; `converged` says
    whether its own rule stopped it.
    """
    messages, instance = (int(value) for value in key)
    optimum = optimal_persuasion(random_matrix_game(ways.size, ways.size, instance)).upper_bound
    game = random_matrix_game(ways.size, ways.size, instance, messages)
    began = time.perf_counter()
    exact = optimal_persuasion(game, ways.time_limit)
    exact_seconds = time.perf_counter() - began
    began = time.perf_counter()
    gradients = persuade_known(game, ways.gradients, seed=instance)
    gradients_seconds = time.perf_counter() - began
    began = time.perf_counter()
    problem, receiver = SenderProblem.of(game), RationalReceiver(game)
    learned = learn_alternating(problem, receiver, ways.alternating, seed=instance)
    alternating_seconds = time.perf_counter() - began
    utilities = {
        "bound": exact.upper_bound,
        "exact": exact.utility,
        "gradients": gradients.utility,
        "alternating": learned.utility,
    }
    for way, utility in utilities.items():
        within(exact.upper_bound, utility, f"{way}, game {instance}, {messages} messages")
    row = dict(zip(KEYS, key, strict=True)) | {"optimum": optimum} | utilities
    row |= {f"{way}_share": utility / optimum for way, utility in utilities.items()}
    keep = messages == CURVE_MESSAGES
    return row | {
        "status": str(exact.status),
        "queries": learned.queries,
        "converged": learned.converged,
        "exact_seconds": exact_seconds,
        "gradients_seconds": gradients_seconds,
        "alternating_seconds": alternating_seconds,
        "gradients_curve": in_words(gradients.utilities) if keep else None,
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per number of messages: mean shares of the optimum, and mean seconds."""
    groups = rows.groupby("messages")
    table = {"games": groups.size(), "optimum": groups["optimum"].mean()}
    for way in LABELS:
        share = groups[f"{way}_share"]
        table |= {f"{way}_share": share.mean(), f"{way}_share_std": share.std()}
    table["queries"] = groups["queries"].mean()
    for way in ("exact", "gradients", "alternating"):
        table[f"{way}_seconds"] = groups[f"{way}_seconds"].mean()
    return pd.DataFrame(table).reset_index().round(5)


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `games.csv` and `curves.csv`.

    Raises:
        OSError: if one of them is missing.
    """
    rows, points = (read_table(folder / f"{name}.csv") for name in ("games", "curves"))
    return {"messages.png": share_figure(rows, points)}


def share_figure(rows: pd.DataFrame, points: pd.DataFrame) -> "Figure":
    """With a quarter of the messages a sender that knows the receiver keeps about 96 % or more.

    Left: share of the optimum with a message for every action, as mean over games and its 95 %
    Student-t interval (from three games on); the upper bound is proven game by game. Right: mean
    share by iteration of the gradients with 16 messages, of the best restart of each game.

    Args:
        rows: of `games.csv`.
        points: of `curves.csv`.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    from dnl.reporting.benchmark_numbers import mean_and_interval

    styles = {way: palette.style(way, LABELS[way]) for way in palette.ordered(LABELS)}
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (way, style) in enumerate(styles.items()):
        share = mean_and_interval(rows, ["messages"], f"{way}_share")
        aside = 0.0 if way == "bound" else 0.02 * (i - 1)  # keeps the intervals apart
        at = share["messages"] * (1 + aside)
        bars = None if way == "bound" else share["half_width"]
        left.errorbar(at, share["mean"], bars, label=style.label, capsize=3, **style.curve)
    counts = sorted(set(rows["messages"]))
    left.set_xscale("log", base=2)
    left.set_xticks(counts, [str(count) for count in counts])
    left.minorticks_off()
    left.set_xlabel("messages (logarithmic)")
    left.set_ylabel(SHARE)
    games = rows.groupby("messages").size().max()
    left.set_title(f"Mean over {games} games and its 95 % interval", fontsize=11)
    figure.legend(loc="outside lower center", ncols=len(LABELS), frameon=False, fontsize=9)
    mean, style = points.groupby("iteration")["share"].mean(), styles["gradients"]
    right.plot(mean.index, mean, color=style.colour, linestyle=style.line)
    bound = rows.loc[rows["messages"] == CURVE_MESSAGES, "bound_share"].mean()
    look = {"color": styles["bound"].colour, "linestyle": styles["bound"].line}
    right.axhline(bound, linewidth=1, **look)
    right.margins(y=0.08)
    right.set_xlabel("iterations")
    right.set_ylabel(SHARE)
    drawn = points["instance"].nunique()
    right.set_title(
        f"{CURVE_MESSAGES} messages: mean over {drawn} games, best restart of each", fontsize=11
    )
    return figure


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.persuasion_messages"))
