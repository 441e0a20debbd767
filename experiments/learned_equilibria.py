"""Equilibria of learned games: what is predicted, what is true, and what best responses mend.

Contested games, unknown but for samples of utilities. `posterior-dnl` learns each; its game is
solved; the senders then respond in the true game, within small radii (scope "local") or without
any bound (scope "global"). The last columns are what the solver finds that knows the game.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import dnl
from dnl.equilibria.learned_game import Judged
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from experiments.shared.resumable import table_of
from games import checks, synthetic_game

SIZES = ((2, 2, 2, 2), (2, 3, 3, 3), (2, 4, 4, 4))  # N, M, S, A
KEYS = ["n_senders", "n_signals", "n_states", "n_actions", "instance", "scope"]
SCOPES = ("local", "global")
TOLD = ("predicted", "true", "verdict", "moves", "true_at_rest", "verdict_at_rest")  # one candidate


def main(
    *,
    instances: int = 6,
    samples: int = 5_000,
    epochs: int = 10,
    time_limit: float = 15.0,
    out: Path = Path("results/learned_equilibria"),
    small: bool = False,
) -> int:
    """Solve learned games and judge the results; finished rows are not computed again.

    Args:
        instances: Games per size; their numbers start at 0.
        samples: Training profiles per game.
        epochs: Passes over them.
        time_limit: Seconds for each game's learned equilibria, and for the game as if known.
        out: Folder of the table.
        small: Run for a few seconds only.
    """
    counts = {"instances": instances, "samples": samples, "epochs": epochs}
    for name, value in counts.items():
        checks.positive_integer(name, value)
    checks.positive_number("time-limit", time_limit)
    sizes: Sequence[tuple[int, ...]] = SIZES
    if small:
        sizes, instances, samples, epochs, time_limit = SIZES[:1], 1, 400, 1, 1.0
    keys = [(*size, i, scope) for size in sizes for i in range(instances) for scope in SCOPES]
    configuration = {"samples": samples, "epochs": epochs, "time_limit": time_limit}
    rows = table_of(
        out, KEYS, keys, row_of, configuration, (samples, epochs, time_limit), quiet=small
    )
    print(summarise(rows).to_string(index=False))
    return 0


def row_of(key: Key, samples: int, epochs: int, time_limit: float) -> Row:
    """One game: the highest prediction and what became of it, and the best that came to rest.

    "certified" speaks of local deviations in scope "local" and of any deviation in scope "global".
    """
    n, m, s, a, instance, scope = key
    game = synthetic_game(n, m, s, a, instance, "contested")
    config = dnl.FitConfig(samples=samples, epochs=epochs, device="cpu")
    fitted = dnl.fit(game, "posterior-dnl", config)
    found = dnl.find_learned_equilibria(fitted, game, time_limit=time_limit, scope=scope)
    known = dnl.find_equilibria(game, time_limit=time_limit, scope=scope)
    rested = [one.finished for one in found if one.finished is not None]
    settled = [end.welfare for end in rested if verdict(end, scope) == "certified"]
    row = (
        dict(zip(KEYS, key, strict=True))
        | dict.fromkeys(TOLD)
        | {
            "unexplained": fitted.unexplained.mean().item(),
            "candidates": len(found),
            "best_certified": max(settled, default=None),
            "best_known": max((one.welfare for one in known), default=None),
        }
    )
    if found:
        top = max(found, key=lambda one: one.proposed.predicted_welfare)
        first, end = top.proposed, top.finished
        row |= {"predicted": first.predicted_welfare, "true": first.welfare, "moves": top.moves}
        row["verdict"] = verdict(first, scope)
        if end is not None:
            row |= {"true_at_rest": end.welfare, "verdict_at_rest": verdict(end, scope)}
    return row


def verdict(judged: Judged, scope: str) -> str:
    """What the true game says of a profile."""
    return str(judged.local if scope == "local" else judged.nash)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """In how many games the highest prediction is certified, before and after best responses."""
    told = rows.assign(
        games=1,
        certified=rows["verdict"] == "certified",
        certified_at_rest=rows["verdict_at_rest"] == "certified",
        some_certified=rows["best_certified"].notna(),
        as_good_as_known=rows["best_certified"] >= rows["best_known"] - 0.01,
        largest_error=(rows["predicted"] - rows["true"]).abs(),
    )
    counted = ["games", "certified", "certified_at_rest", "some_certified", "as_good_as_known"]
    by = told.groupby([*KEYS[:4], "scope"], sort=False)
    return by.agg(dict.fromkeys(counted, "sum") | {"largest_error": "max"}).reset_index()


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.learned_equilibria"))
