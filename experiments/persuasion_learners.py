"""Table 2 of "Learning to Persuade": receivers that do not see the policy and learn from play.

Random matrix games, implicit commitment: the sender keeps to a policy until the receiver has
settled. The paper's method and ours meet one kind of receiver and may make any number of queries.
In the baselines, sender and receiver adapt at the same time, each baseline with its own receiver.
The paper does not say which learner its receiver is. The table compares predicted and actual
utility. The figure shows mean utilities; dotted lines are the published ones of the paper's method.
"""

import importlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd

from dnl import optimal_persuasion
from dnl.learning_to_persuade import (
    AlternatingConfig,
    AskingConfig,
    LearnedPolicy,
    PlayConfig,
    SenderProblem,
    info_policy,
    info_q,
    learn_alternating,
    learn_by_asking,
    model_receiver,
)
from dnl.reporting import palette
from dnl.reporting.figures import write_figure
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, write_table
from experiments.shared.resumable import table_of
from games import PersuasionGame, checks, random_matrix_game
from games.receivers import (
    RECEIVERS,
    LearningReceiver,
    QLearningReceiver,
    ReinforceReceiver,
)

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken
SIZES = (4, 8, 12, 16, 20, 24, 28, 32)
# Table 2: predicted and actual utility of the paper's method, its ModelR, Info-Q, Info-Policy.
PAPER = {
    4: (0.6649, 0.6668, 0.5878, 0.5857, 0.5902),
    8: (0.6497, 0.6589, 0.5118, 0.5114, 0.5161),
    12: (0.7173, 0.6901, 0.5254, 0.5179, 0.5014),
    16: (0.6889, 0.6801, 0.4994, 0.4953, 0.4932),
    20: (0.6740, 0.6521, 0.5080, 0.4908, 0.4932),
    24: (0.6592, 0.6391, 0.4907, 0.4851, 0.5017),
    28: (0.6745, 0.6484, 0.5264, 0.5193, 0.5020),
    32: (0.6478, 0.6289, 0.5099, 0.5145, 0.5048),
}
PUBLISHED = dict(zip(("alternating", "model-r", "info-q", "info-policy"), range(1, 5), strict=True))
# A learning receiver may settle elsewhere next time: repeat more queries than for a rational one.
ASKING = AskingConfig(queries=150, finalists=10, answers=6)
KEYS = ["size", "instance"]
STYLES = palette.styles(["asking", "alternating", "model-r", "info-q", "info-policy"])


def main(
    *,
    instances: int = 25,
    sizes: Annotated[tuple[int, ...], cli.MANY] = SIZES,
    receiver: str = "q-learning",
    visits: int = 8_000,
    workers: int = 2,
    out: Path = Path("results/learning_to_persuade"),
    small: bool = False,
) -> int:
    """Persuade learning receivers by all methods; finished games are not computed again.

    Args:
        instances: Games per size.
        sizes: Numbers of states, which are also those of actions.
        receiver: The receiver to ask: bandit, q-learning or reinforce.
        visits: Visits of each message until the receiver counts as settled.
        workers: Number of processes; each computes one game at a time.
        out: Folder: table2.csv, and learners/ with the rows of all games and the figure.
        small: Run for a few seconds only.
    """
    for name, value in {"instances": instances, "visits": visits, "workers": workers}.items():
        checks.positive_integer(name, value)
    for size in sizes:
        checks.positive_integer("sizes", size, least=2)
    checks.one_of("receiver", receiver, [name for name, kind in RECEIVERS.items() if kind.learns])
    asking, alternating, playing = ASKING, AlternatingConfig(), PlayConfig()
    if small:
        sizes, instances, workers, visits = (2, 3), 1, 1, 200
        asking = replace(ASKING, queries=30, finalists=3, answers=2, steps=20)
        alternating = AlternatingConfig(schemes=20, fit_steps=50, sender_steps=20, rounds=2)
        playing = PlayConfig(rounds=200)
    configs = (asking, alternating, playing)
    rows = table_of(
        out / "learners",
        KEYS,
        [(size, instance) for size in sizes for instance in range(instances)],
        rows_of,
        {"receiver": receiver, "visits": visits, "configs": repr(configs)},
        (receiver, visits, *configs),
        workers,
        quiet=small,
        within=["method"],
    )
    table = summarise(rows)
    write_table(table, out / "table2.csv")
    print(table.to_string(index=False))
    draw(table, out / "learners" / "utilities.png")
    return 0


def rows_of(
    key: Key,
    receiver: str,
    visits: int,
    asking: AskingConfig,
    alternating: AlternatingConfig,
    playing: PlayConfig,
) -> list[Row]:
    """One row per method."""
    size, instance = key
    game = random_matrix_game(size, size, instance)
    problem, optimum = SenderProblem.of(game), optimal_persuasion(game).utility

    def asked() -> LearningReceiver:
        made = RECEIVERS[receiver].make(game, visits=visits, seed=instance)
        return checks.instance("receiver", made, LearningReceiver)

    q_learner = QLearningReceiver(game, visits=visits, seed=instance)
    reinforce = ReinforceReceiver(game, visits=visits, seed=instance)
    rows = []
    for learn in (
        lambda: learn_alternating(problem, asked(), alternating, seed=instance),
        lambda: learn_by_asking(problem, asked(), asking, seed=instance),
        lambda: model_receiver(problem, asked(), playing),
        lambda: info_q(problem, q_learner, playing),
        lambda: info_policy(problem, reinforce, playing),
    ):
        began = time.perf_counter()
        found = learn()
        rows.append(
            {
                **dict(zip(KEYS, key, strict=True)),
                "method": found.method,
                "lp_optimum": optimum,
                "predicted": found.predicted,
                "utility": found.utility,
                "rational_utility": _rational(game, found),
                "queries": found.queries,
                "converged": found.converged,
                "seconds": time.perf_counter() - began,
            }
        )
    return rows


def _rational(game: PersuasionGame, found: LearnedPolicy) -> float:
    """The policy's utility with a receiver that need not learn."""
    return game.ex_ante_utility(found.policies).item()


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over games, per size and method, beside the paper's."""
    rows = rows.assign(missed=(rows["predicted"] - rows["utility"]).abs() / rows["utility"])
    table = rows.groupby(["size", "method"], sort=False, as_index=False).agg(
        games=("instance", "count"),
        lp_optimum=("lp_optimum", "mean"),
        predicted=("predicted", "mean"),
        utility=("utility", "mean"),
        error=("utility", "sem"),
        missed=("missed", "mean"),
        rational_utility=("rational_utility", "mean"),
        queries=("queries", "mean"),
        seconds=("seconds", "median"),
    )
    table["paper_utility"] = [
        PAPER[size][PUBLISHED[method]] if size in PAPER and method in PUBLISHED else float("nan")
        for size, method in zip(table["size"], table["method"], strict=True)
    ]
    return table.round(4)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw mean utilities of all methods against the size of the game."""
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    optimum = table.groupby("size")["lp_optimum"].first()
    axes.plot(
        optimum.index,
        optimum,
        color=palette.BOUND.colour,
        linestyle="--",
        label="optimum for a known receiver",
    )
    for method, style in STYLES.items():
        own = table[table["method"] == method]
        axes.errorbar(
            own["size"],
            own["utility"],
            own["error"],
            label=style.label,
            capsize=2,
            **style.curve,
        )
    published = table[table["method"] == "alternating"]
    axes.plot(
        published["size"],
        published["paper_utility"],
        color=palette.PAPER_METHOD.colour,
        linestyle=":",
        label="the paper's method, published",
    )
    axes.set_xticks(optimum.index)
    axes.set_xlabel("states, and actions")
    axes.set_ylabel("the sender's utility")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside right upper", fontsize=8)
    write_figure(path, figure)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.persuasion_learners"))
