"""Other games with cliffs: contracts, security, pricing, optimised through surrogates alone.

Every surrogate is fitted to as many samples and optimised from the same random starts by the same
extra-gradient; of all points on the way it keeps those that *it* thinks best, and the true game is
asked about those few only. For a single leader's follower network, whose pieces are known to be
linear, the optimum of what was learned is computed instead ("program"). The same ascent on the true
utility, whose gradient knows as little of cliffs, tells what is the ascent's fault and not the
surrogate's.

Uniform samples do not show what a follower does near an optimum only. So single leaders go round by
round, with fresh samples: on a smaller part of the game each time around the best point so far, or,
for the follower network, whose pieces tell one another apart, on that part and all earlier ones
together. In every round the true game is asked about four points: the best from each quarter of the
starts, or the program's at four distances from learned cliffs, which may be a little off. A point
where the follower network was wrong shows a choice that it has hardly seen: it is shown more there.

Single leaders: `place` = (reached - worst) / (optimum - worst), exact at both ends. Sellers:
`gain` = the most that one of them still gains by another price, exact, in payoff ranges.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from torch import Tensor

from dnl import (
    ExtragradientConfig,
    FitConfig,
    FittedSurrogate,
    cli,
    extragradient,
    fit_many,
    follower_optimum,
    follower_worst,
    pricing_gain,
)
from dnl.exact.learned import learned_optimum
from dnl.results import write_table
from dnl.solver import Utility
from experiments.resumable import Key, Row, table_of
from games import Focused, FollowerGame, Zoomed, checks
from games.contracts import ContractGame, random_contract_game
from games.pricing import PricingGame, random_pricing_game
from games.randomness import stream
from games.security import SecurityGame, random_security_game

Game = ContractGame | SecurityGame | PricingGame
LAWS: dict[str, Callable[[int, int, int], Game]] = {
    "contract": random_contract_game,
    "security": random_security_game,
    "pricing": random_pricing_game,
}
SIZES = (("contract", 6, 4), ("security", 6, 2), ("pricing", 2, 6))
SURROGATES = ("relu", "delu", "dnl", "follower-dnl")
TRUTH = "the game itself"
SHRINK = 0.7  # of the part of the game that is left, from round to round
MARGINS = (0.004, 0.015, 0.05, 0.15)  # Euclidean; shrinks with the part of the game that is left
WRONG = 0.01  # of the spread of utilities: a larger error of a prediction is a surprise
PROFILES = 10_000  # by which a learned choice is known to occur
DEVIATIONS = 100  # random decisions of each leader by which a surrogate judges a profile
SIZE = ["game", "size_1", "size_2"]
KEYS = [*SIZE, "group"]
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
    """Optimise games with followers through surrogates; finished games are kept.

    Args:
        instances: Games per size.
        first: Number of the first instance.
        rounds: Times that a single leader's surrogate is fitted and optimised.
        samples: Training samples per round.
        epochs: Passes over them.
        starts: Random starting points of the ascent.
        iterations: Of extra-gradient.
        margins: Distances that the program keeps from learned cliffs; as many points are asked.
        together: Games whose networks are trained as one model, `instances` and `first` in
            multiples of it. In single precision company changes what training amplifies.
        workers: Processes; one such group each at a time.
        out: Folder of the tables and the figure.
        small: A run of seconds.
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
    draw(rows, out / "follower_games.png")
    return 0


@dataclass(frozen=True, eq=False)
class Task:
    """One game to be optimised."""

    game: Game
    instance: int
    starts: Tensor
    score: Callable[[Tensor], Row]


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
    tasks = []
    for instance in range(group * together, (group + 1) * together):
        game = LAWS[law](size_1, size_2, instance)
        begin = game.sample_policies(starts, stream("starts", 0, game.identity))
        tasks.append(Task(game, instance, begin, _scorer(game)))
    config = FitConfig(recipe="tuned", samples=samples, epochs=epochs, device="cpu")
    ascent = ExtragradientConfig(iterations=iterations)
    rows = []
    itself = dict(zip(KEYS, key, strict=True))
    for task in tasks:
        found = ascend(task.game.ex_ante_utility, task.game, task.starts, ascent)
        way = {"instance": task.instance, "surrogate": TRUTH, "way": "ascent"}
        rows.append(itself | way | task.score(found))
    for surrogate in SURROGATES:
        program = surrogate == "follower-dnl" and tasks[0].game.shape[0] == 1

        def optimum(
            fitted: FittedSurrogate, task: Task, part: FollowerGame, program: bool = program
        ) -> Tensor:
            if program:
                return programmed(fitted, part, margins)
            starts = task.starts.to(fitted.networks.dtype)
            lots = starts.chunk(len(margins)) if task.game.shape[0] == 1 else [starts]
            return torch.stack([ascend(fitted, task.game, lot, ascent) for lot in lots])

        way = {"surrogate": surrogate, "way": "program" if program else "ascent"}
        for task, led in zip(tasks, zoom(tasks, surrogate, config, optimum, rounds), strict=True):
            rows.append(itself | {"instance": task.instance} | way | led)
    return rows


def programmed(fitted: FittedSurrogate, part: FollowerGame, margins: Sequence[float]) -> Tensor:
    """Optima of what was learned, `(few, 1, S, M)`, one for each margin that leaves room.

    Margins are of the smallest part that the surrogate was shown.
    """
    sizes = [zoomed.size for zoomed in part.parts] if isinstance(part, Focused) else []
    profiles = part.sample_policies(PROFILES, stream("learned optimum", 0, part.identity))
    points = []
    for margin in sorted(margins):
        try:
            points.append(learned_optimum(fitted, margin * min(sizes, default=1.0), profiles))
        except ValueError:  # no choice has so much room
            break
    if not points:
        raise ValueError(f"margins must leave room in the piece of some choice, got {margins!r}")
    return torch.stack(points)


def zoom(
    tasks: list[Task],
    surrogate: str,
    config: FitConfig,
    optimum: Callable[[FittedSurrogate, Task, FollowerGame], Tensor],
    rounds: int,
) -> list[Row]:
    """What surrogates lead to. Several leaders: one, of all rounds' samples.

    A single leader: the best of all rounds. Their error is that of the first one, on uniform
    profiles.
    """
    if tasks[0].game.shape[0] > 1:
        config, rounds = replace(config, samples=rounds * config.samples), 1
    parts: list[FollowerGame] = [task.game for task in tasks]
    centres: list[Tensor] = [torch.empty(0) for _ in tasks]
    rows: list[Row] = [{} for _ in tasks]
    for turn in range(rounds):
        fits = fit_many(parts, surrogate, config)
        for i, (task, part, fitted) in enumerate(zip(tasks, parts, fits, strict=True)):
            points = optimum(fitted, task, part)  # (few, N, S, M)
            real = part.real(points) if isinstance(part, Zoomed) else points
            scores = [task.score(point) for point in real]
            best = max(range(len(scores)), key=lambda k: scores[k]["reached"])
            predicted = [fitted(point).sum().item() for point in points]
            if turn == 0:
                rows[i] = {
                    "unexplained": fitted.unexplained.mean().item(),
                    "parameters": fitted.parameter_count,
                    "fit_seconds": 0.0,
                }
            if turn == 0 or scores[best]["reached"] > rows[i]["reached"]:
                rows[i] |= {"predicted": predicted[best], "round": turn, **scores[best]}
                centres[i] = real[best]
            rows[i]["fit_seconds"] += fitted.fit_seconds
            if turn == rounds - 1:
                continue
            size = SHRINK ** (turn + 1)
            around = Zoomed(task.game, centres[i], size)
            if surrogate != "follower-dnl":
                parts[i] = around
                continue
            slack = WRONG * fitted.scale.sum().item()
            errors = [abs(p - s["reached"]) for p, s in zip(predicted, scores, strict=True)]
            surprises = [p for p, e in zip(real, errors, strict=True) if e > slack][:1]
            before = part.parts if isinstance(part, Focused) else ()
            shown = (*before, around, *(Zoomed(task.game, p, size / 2) for p in surprises))
            parts[i] = Focused(task.game, shown)
    return rows


def _scorer(game: Game) -> Callable[[Tensor], Row]:
    """What the true game says of one profile."""
    if isinstance(game, PricingGame):
        return lambda policies: {
            "reached": game.ex_ante_utility(policies).sum().item(),
            "gain": (pricing_gain(game, policies) / game.payoff_range).max().item(),
        }
    worst, optimum = follower_worst(game).utility, follower_optimum(game).utility

    def place(policies: Tensor) -> Row:
        reached = game.ex_ante_utility(policies).item()
        return {"reached": reached, "place": (reached - worst) / (optimum - worst)}

    return place


def ascend(
    utility: Utility, game: FollowerGame, starts: Tensor, config: ExtragradientConfig
) -> Tensor:
    """The profile `(N, S, M)`, of those that extra-gradient visits, that the surrogate likes best.

    A single leader's by its utility. Several leaders' by the most that one of them gains, as the
    surrogate sees it, by one of 100 random decisions; that takes time, so only at every tenth one.
    """
    worth = _worth(utility, game)
    every = 1 if game.shape[0] == 1 else 10
    calls, best, policies = 0, float("-inf"), starts[0]

    def watched(at: Tensor) -> Tensor:
        nonlocal calls, best, policies
        if calls % every == 0:
            with torch.no_grad():
                value, index = worth(at).max(0)
            if value.item() > best:
                best, policies = value.item(), at[index].detach()
        calls += 1
        return utility(at)

    ends = extragradient(watched, starts, config).policies
    calls = 0
    watched(ends)
    exact = policies.double()
    return exact / exact.sum(-1, keepdim=True)


def _worth(utility: Utility, game: FollowerGame) -> Utility:
    """What a surrogate thinks of profiles, `(B, N, S, M) -> (B,)`: see `ascend`."""
    n_leaders = game.shape[0]
    if n_leaders == 1:
        return lambda at: utility(at)[:, 0]
    decisions = game.sample_policies(DEVIATIONS, stream("deviations", 0, game.identity))

    def least_gain(at: Tensor) -> Tensor:
        now, gains = utility(at), []
        for n in range(n_leaders):
            deviated = at.unsqueeze(1).repeat(1, DEVIATIONS, 1, 1, 1)  # (B, D, N, S, M)
            deviated[:, :, n] = decisions[:, n].to(at)
            values = utility(deviated.flatten(0, 1))[:, n].view(len(at), DEVIATIONS)
            gains.append((values.amax(1) - now[:, n]) / game.payoff_range[n].to(at))
        return -torch.stack(gains).amax(0)

    return least_gain


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


def draw(rows: pd.DataFrame, path: Path) -> None:
    """What is lost against the optimum, or still to be gained, game by game."""
    from matplotlib.figure import Figure  # here: it takes a second to load

    groups = list(rows.groupby(SIZE, sort=False))
    figure = Figure(figsize=(3.2 * len(groups), 3.6), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, ((law, *sizes), games) in zip(panels, groups, strict=True):
        lost = games["gain"] if law == "pricing" else 1 - games["place"]
        labels = games["surrogate"] + "\n" + games["way"]
        for x, label in enumerate(labels.unique()):
            values = lost[labels == label].clip(lower=1e-5)
            spread = [x + 0.3 * (i / max(len(values) - 1, 1) - 0.5) for i in range(len(values))]
            axes.scatter(spread, values, s=14)
            axes.plot([x - 0.25, x + 0.25], [values.median()] * 2, color="black")
        axes.set_xticks(range(labels.nunique()), list(labels.unique()), fontsize=7, rotation=60)
        axes.set_yscale("log")
        axes.set_title(f"{law} ({', '.join(map(str, sizes))})", fontsize=10)
        axes.set_ylabel(
            "gain left, payoff ranges" if law == "pricing" else "share of the range lost"
        )
        if law != "pricing":
            axes.axhline(0.01, color="grey", linewidth=0.8, linestyle="--")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.follower_games"))
