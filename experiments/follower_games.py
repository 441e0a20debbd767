"""Other games with cliffs: contracts, security, pricing, optimised through surrogates alone.

Every surrogate is fitted to the same number of samples and optimised from the same random starts
by the same extra-gradient. Of all points on the way, those with the best *predicted* value are
evaluated in the true game. For a single leader, the follower network is piecewise linear, so its
optimum is computed instead ("program"). The same ascent on the true utility, whose gradient does
not see cliffs either, separates errors of the ascent from errors of the surrogate.

With a single leader, each round samples closer to the best point so far (see `follower_search`).
Every round evaluates four points in the true game: the best from each quarter of the starts, or the
program's at four distances from learned cliffs, which may be slightly wrong.

Single leaders: `place` = (reached - worst) / (optimum - worst), exact at both ends. Sellers:
`gain` = the most that one of them can still gain by another price, exact, in payoff ranges.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dnl import (
    ExtragradientConfig,
    FitConfig,
    FittedSurrogate,
    follower_optimum,
    follower_worst,
    pricing_gain,
)
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table, write_table
from experiments.shared.follower_search import Task, ascend, programmed, zoom
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from games import FOLLOWER_REGISTRY, FollowerGame, checks
from games.followers.contracts import ContractGame
from games.followers.pricing import PricingGame
from games.followers.security import SecurityGame
from games.randomness import stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (("contract", 6, 4), ("security", 6, 2), ("pricing", 2, 6))
SURROGATES = ("relu", "delu", "dnl", "follower-dnl")
TRUTH = "the game itself"
MARGINS = (0.004, 0.015, 0.05, 0.15)  # Euclidean, relative to the part of the game searched
SIZE = ["game", "size_1", "size_2"]
KEYS = [*SIZE, "group"]
COUNTED = {  # by law, in the order of the figure: what its two sizes count
    "contract": ("actions", "outcomes"),
    "security": ("targets", "resources"),
    "pricing": ("sellers", "types of buyers"),
}
NINES = (0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)  # marked shares
DRAWN = {"place": (0.0, 0.99999), "gain": (1e-5, 1.0)}  # values beyond are drawn at the ends
WAYS = ["surrogate", "way"]


def main(
    *,
    instances: int = 20,
    first: int = 0,
    rounds: int = 8,
    samples: int = 16_000,
    epochs: int = 10,
    starts: int = 200,
    iterations: int = 100,
    margins: Annotated[tuple[float, ...], cli.MANY] = MARGINS,
    together: int = 10,
    workers: int = 2,
    out: Path = Path("results/follower_games"),
    small: bool = False,
) -> int:
    """Optimise games with followers through surrogates; finished games are not computed again.

    Args:
        instances: Games per size.
        first: Number of the first instance.
        rounds: How often a single leader's surrogate is fitted and optimised.
        samples: Training samples per round.
        epochs: Passes over them.
        starts: Random starting points of the ascent.
        iterations: Iterations of extra-gradient.
        margins: Distances of the program from learned cliffs; each gives one point to evaluate.
        together: Number of games whose networks are trained as one model; `instances` and `first`
            are multiples of it. In single precision it changes rounding, which training amplifies.
        workers: Number of processes; each computes one such group at a time.
        out: Folder of the tables and the figure.
        small: Run for a few seconds only.
    """
    configuration: dict[str, Any] = {
        "rounds": rounds,
        "samples": samples,
        "epochs": epochs,
        "starts": starts,
        "iterations": iterations,
        "together": together,
    }
    for name, value in {"instances": instances, "workers": workers, **configuration}.items():
        checks.positive_integer(name, value)
    checks.positive_integer("first", first, least=0)
    for name, value in {"instances": instances, "first": first}.items():
        if value % together:
            raise ValueError(f"{name} must be a multiple of together={together}, got {value}")
    configuration["margins"] = [checks.positive_number("margins", one) for one in margins]
    groups = range(first // together, (first + instances) // together)
    keys = [(*size, group) for size in SIZES for group in groups]
    if small:
        keys, workers = [("security", 3, 1, 0), ("pricing", 2, 2, 0)], 1
        configuration |= {"rounds": 2, "samples": 500, "epochs": 2, "starts": 3, "iterations": 3}
        configuration["together"] = 2
    arguments = tuple(configuration.values())
    rows = table_of(
        out,
        KEYS,
        keys,
        rows_of,
        configuration,
        arguments,
        workers,
        quiet=small,
        within=["instance", *WAYS],
    )
    summary = summarise(rows)
    write_table(summary, out / "summary.csv")
    print(summary.to_string(index=False))
    write_figures(out, figures(out))
    return 0


def rows_of(
    key: Key,
    rounds: int,
    samples: int,
    epochs: int,
    starts: int,
    iterations: int,
    together: int,
    margins: Sequence[float],
) -> list[Row]:
    """The rows of a group of games: for each, one per surrogate, and the game itself."""
    law, size_1, size_2, group = key
    instances = range(group * together, (group + 1) * together)
    family = FOLLOWER_REGISTRY[f"{law}-{size_1}x{size_2}"]
    games = [family.make(instance) for instance in instances]
    tasks = [
        Task(
            game,
            game.sample_policies(starts, stream("starts", 0, game.identity)),
            _scorer(game),
        )
        for game in games
    ]
    config = FitConfig(recipe="tuned", samples=samples, epochs=epochs, device="cpu")
    ascent = ExtragradientConfig(iterations=iterations)
    single = games[0].shape[0] == 1

    def from_program(fitted: FittedSurrogate, task: Task, part: FollowerGame) -> Tensor:
        return programmed(fitted, part, margins)

    def from_ascent(fitted: FittedSurrogate, task: Task, part: FollowerGame) -> Tensor:
        begin = task.starts.to(fitted.networks.dtype)
        lots = begin.chunk(len(margins)) if single else [begin]
        return torch.stack([ascend(fitted, task.game, lot, ascent) for lot in lots])

    truth = [
        task.score(ascend(task.game.ex_ante_utility, task.game, task.starts, ascent))
        for task in tasks
    ]
    found = {(TRUTH, "ascent"): truth}
    for surrogate in SURROGATES:
        program = surrogate == "follower-dnl" and single
        propose = from_program if program else from_ascent
        way = (surrogate, "program" if program else "ascent")
        found[way] = zoom(tasks, surrogate, config, propose, rounds)
    itself = dict(zip(KEYS, key, strict=True))
    return [
        itself | {"instance": instance} | dict(zip(WAYS, way, strict=True)) | row
        for way, rows in found.items()
        for instance, row in zip(instances, rows, strict=True)
    ]


def _scorer(game: FollowerGame) -> Callable[[Tensor], Row]:
    """Score one profile in the true game."""
    if isinstance(game, PricingGame):
        return lambda policies: {
            "reached": game.ex_ante_utility(policies).sum().item(),
            "gain": (pricing_gain(game, policies) / game.payoff_range).max().item(),
        }
    assert isinstance(game, ContractGame | SecurityGame)
    worst, optimum = follower_worst(game).utility, follower_optimum(game).utility

    def place(policies: Tensor) -> Row:
        reached = game.ex_ante_utility(policies).item()
        return {"reached": reached, "place": (reached - worst) / (optimum - worst)}

    return place


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per size, surrogate and way: means, medians and worst cases over games."""
    rows = rows.reindex(columns=list(dict.fromkeys([*rows.columns, "place", "gain"])))
    rows["at_least_99"] = (rows["place"] >= 0.99).where(rows["place"].notna()).astype(float)
    groups = rows.groupby([*SIZE, *WAYS], sort=False)
    summary = groups.agg(
        games=("instance", "count"),
        unexplained=("unexplained", "mean"),
        place=("place", "mean"),
        median_place=("place", "median"),
        worst_place=("place", "min"),
        at_least_99=("at_least_99", "mean"),
        gain=("gain", "mean"),
        median_gain=("gain", "median"),
        fit_seconds=("fit_seconds", "median"),
    )
    return summary.reset_index().sort_values(SIZE, kind="stable").round(5)


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `games.csv`.

    Raises:
        OSError: if there is no table.
    """
    return {"follower_games.png": reached_figure(read_table(folder / "games.csv"))}


def reached_figure(rows: pd.DataFrame) -> "Figure":
    """A single leader gets nearer to the optimum with the follower network than with the others.

    One panel per size, one mark per game, and a bar at the median over the games of the size; no
    intervals. For a single leader the axis has the share `place` of the tables, stretched near 1,
    and the numbers below say in how many games at least 99 % are reached (`at_least_99`). For
    sellers it has the `gain` that one of them still has, which should be small. If games beyond the
    end of an axis are drawn there, its label says so.

    Args:
        rows: of `games.csv`.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    groups = sorted(rows.groupby(SIZE), key=lambda group: list(COUNTED).index(str(group[0][0])))
    figure = Figure(figsize=(0.8 + 3.6 * len(groups), 5.2), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, ((law, *sizes), games) in zip(panels, groups, strict=True):
        column = "gain" if law == "pricing" else "place"
        styles = palette.styles(games["surrogate"] + ", " + games["way"])
        ticks = []
        for x, (name, style) in enumerate(styles.items()):
            values = games.loc[games["surrogate"] + ", " + games["way"] == name, column]
            spread = [x + 0.4 * (i / max(len(values) - 1, 1) - 0.5) for i in range(len(values))]
            shown = values.clip(*DRAWN[column])
            axes.scatter(spread, shown, s=18, **style.dots)
            axes.plot([x - 0.3, x + 0.3], [shown.median()] * 2, color="black", zorder=3)
            most = f"\n{(values >= 0.99).sum()} of {len(values)}" if column == "place" else ""
            ticks.append(style.label.replace(", ", "\n") + most)
        axes.set_xticks(range(len(ticks)), ticks, fontsize=8, rotation=90)
        good = "low is good" if column == "gain" else "high is good"
        axes.set_title(
            f"{law}: {', '.join(map('{1} {0}'.format, sizes, COUNTED[str(law)]))}\n"
            f"{games['instance'].nunique()} games, {good}",
            fontsize=10,
        )
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        least, most_drawn = DRAWN[column]
        if column == "gain":
            axes.set_yscale("log")
            beyond = f"\nat the bottom: at most {least:g}" * bool((games[column] < least).any())
            axes.set_ylabel(f"gain left, fraction of payoff range (logarithmic){beyond}")
            continue
        axes.set_yscale("function", functions=(_nines, _share))
        axes.set_yticks(NINES, [f"{100 * share:.6g} %" for share in NINES])
        low, high = _nines(games[column].clip(*DRAWN[column]).agg(["min", "max"]))
        axes.set_ylim(_share(low - 0.1), _share(high + 0.1))
        beyond = f"\nat the top: at least {100 * most_drawn:g} %"
        beyond *= bool((games[column] > most_drawn).any())
        axes.set_ylabel(f"share reached (stretched near 100 %){beyond}")
    figure.supxlabel(
        "share reached: (reached - worst) / (optimum - worst); bars: medians over games\n"
        "n of m: games in which at least 99 % is reached",
        fontsize=10,
    )
    return figure


def _nines(share: Any) -> Any:
    """-log10(1 - share): 1 at 90 %, 2 at 99 %."""
    return -np.log10(np.maximum(1 - np.asarray(share), 1e-12))


def _share(nines: Any) -> Any:
    """The inverse of `_nines`."""
    return 1 - 10 ** -np.asarray(nines)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.follower_games"))
