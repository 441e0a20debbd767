"""Equilibria found by `dnl.find_equilibria`, by enumeration and by the paper's method.

One row per game of the contested law. Welfare is compared with the better of full revelation and no
information ("above") in the same unit everywhere: fractions of the sum of the payoff ranges. Proven
ceilings show in which games any profile, or any global equilibrium, can be above.
"""

import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch

from dnl import FitConfig, extragradient, find_equilibria, fit, full_revelation, welfare_ceiling
from dnl.equilibria.blocks import is_enumerated
from dnl.equilibria.verification import decide_many
from dnl.exact.full_revelation import best_baseline_welfare
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.surrogates.registry import SURROGATES, check_surrogate
from experiments.shared.resumable import table_of
from games import PersuasionGame, checks, synthetic_game
from games.randomness import stream

_TWO = "2,2,2 3,3,3 2,4,4 4,4,4 2,6,6 4,10,10 6,6,6 10,10,10"
SIZES = {  # (M, S, A) by number of senders
    n: tuple(tuple(map(int, size.split(","))) for size in sizes.split())
    for n, sizes in {2: _TWO, 4: "2,2,2 4,4,4 2,10,10"}.items()
}
LEAST_EXCESS = 2e-5  # a ceiling counts as above only by more than the tolerance of certificates
KEYS = ["n_senders", "n_signals", "n_states", "n_actions", "instance"]


def main(
    *,
    instances: int = 5,
    first: int = 0,
    time_limit: float = 60.0,
    surrogate: str = "dnl",
    starts: int = 30,
    senders: Annotated[tuple[int, ...], cli.MANY] = (2, 4),
    workers: int = 2,
    out: Path = Path("results/finding"),
    small: bool = False,
) -> int:
    """Find equilibria in contested games; finished games are not computed again.

    Args:
        instances: Games per size.
        first: Number of the first instance.
        time_limit: Seconds per game for the finder.
        surrogate: Networks of the paper's pipeline.
        starts: Starting points of the paper's pipeline.
        senders: Numbers of senders; 2 and 4 are possible.
        workers: Number of processes; each computes one game at a time.
        out: Folder of the table.
        small: Run for a few seconds only.
    """
    checks.positive_integer("instances", instances)
    checks.positive_integer("first", first, least=0)
    checks.positive_number("time_limit", time_limit)
    checks.positive_integer("starts", starts)
    checks.positive_integer("workers", workers)
    check_surrogate(surrogate)
    if not senders:
        raise ValueError("senders must hold at least one value, got none")
    for n in senders:
        checks.one_of("senders", str(n), tuple(map(str, SIZES)))
    keys = [
        (n, *size, instance)
        for instance in range(first, first + instances)
        for n in senders
        for size in SIZES[n]
    ]
    if small:
        keys, time_limit, starts, workers = [(2, 2, 2, 2, 1)], 2.0, 3, 1
    configuration = {"time_limit": time_limit, "surrogate": surrogate, "starts": starts}
    arguments = (time_limit, surrogate, starts, small)
    rows = table_of(out, KEYS, keys, row_of, configuration, arguments, workers, quiet=small)
    summary = summarise(rows)
    summary.to_csv(out / "summary.csv", index=False)
    print(summary.to_string(index=False))
    draw(rows, out / "finding.png")
    return 0


def row_of(
    key: tuple[int, ...], time_limit: float, surrogate: str, starts: int, small: bool
) -> Row:
    """The row of one game."""
    n, m, s, a, instance = key
    game = synthetic_game(n, m, s, a, instance, "contested")
    unit = game.payoff_range.sum().item()
    baseline = best_baseline_welfare(game)
    ceiling = welfare_ceiling(game)
    began = time.perf_counter()
    found = find_equilibria(game, time_limit=time_limit)
    row: Row = dict(zip(KEYS, key, strict=True)) | {
        "status": found[0].status if found else "nothing",
        "seconds": time.perf_counter() - began,
        "full_revelation_code": full_revelation(game).is_equilibrium,
        "ceiling": (ceiling.any_profile - baseline) / unit,
        "global_ceiling": (ceiling.global_equilibrium - baseline) / unit,
        "certified": bool(found),
    }
    if found:
        best = max(found, key=lambda e: e.welfare)  # Nash equilibria come first, whatever they pay
        global_ones = [e for e in found if e.is_global]
        row |= {
            "source": best.source,
            "gain": (best.welfare - baseline) / unit,
            "above": best.exceeds_baselines,
            "pareto_dominates_fr": any(e.pareto_dominates_full_revelation for e in found),
            "global_gap": best.global_gap,
            "global": bool(global_ones),
            "global_above": any(e.exceeds_baselines for e in global_ones),
        }
        if global_ones:
            row["global_gain"] = (max(e.welfare for e in global_ones) - baseline) / unit
    if is_enumerated(game):
        blocks = find_equilibria(game, time_limit=time_limit, members=["blocks", "all-blocks"])
        row["block_status"] = blocks[0].status if blocks else "nothing"
        if blocks:
            row["block_gain"] = (max(e.welfare for e in blocks) - baseline) / unit
    return row | _pipeline(game, surrogate, starts, baseline, unit, small)


def _pipeline(
    game: PersuasionGame, surrogate: str, starts: int, baseline: float, unit: float, small: bool
) -> Row:
    """The paper's method with exact verdicts: fit, ascend from random starts, verify."""
    budget = (200, 1) if small else (10_000, 10)
    config = FitConfig(samples=budget[0], epochs=budget[1], test_samples=1_000, device="cpu")
    fitted = fit(game, surrogate, config)
    begin = game.sample_policies(starts, stream("starts", 0, game.identity))
    ends = extragradient(fitted, begin.to(fitted.networks.dtype)).policies.double()
    ends = ends / ends.sum(-1, keepdim=True)
    certified = {}
    for name, profiles in (("pipeline", ends), ("random", begin)):
        verdicts = decide_many(game, profiles.unbind(), workers=torch.get_num_threads())
        decided = zip(profiles, verdicts, strict=True)
        certified[name] = [p for p, verdict in decided if verdict == "certified"]
    row: Row = {f"{name}_certified": len(kept) / starts for name, kept in certified.items()}
    for name, kept in certified.items():
        if kept:
            best = game.ex_ante_utility(torch.stack(kept)).sum(1).max().item()
            row[f"{name}_gain"] = (best - baseline) / unit
    return row


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per size: shares of games, medians over them; gains in sums of payoff ranges."""
    lines = []
    for size, games in rows.groupby(KEYS[:4], sort=True):
        columns = ["gain", "block_gain", "global_gain", "pipeline_gain", "random_gain"]
        needed = [*columns, "above", "pareto_dominates_fr", "global", "global_above", "global_gap"]
        g = games.reindex(columns=[*games.columns, *(c for c in needed if c not in games)])
        shown = (g[columns] > 1e-6).any(axis=1)
        can, can_global = g["ceiling"] > LEAST_EXCESS, g["global_ceiling"] > LEAST_EXCESS
        enumerated = g["block_gain"].notna()
        lines.append(
            {
                "N": size[0],
                "(M,S,A)": "({},{},{})".format(*size[1:]),
                "games": len(g),
                "certified": _share(g["certified"]),
                "can be above": _share(can),
                "above": _share(g["above"]),
                "above, of shown": _share(g["above"][shown]),
                "Pareto over FR": _share(g["pareto_dominates_fr"]),
                "global": _share(g["global"]),
                "global can be above": _share(can_global),
                "global above": _share(g["global_above"]),
                "median gain": g["gain"].median(),
                "of ceiling": (g["gain"] / g["ceiling"])[can].median(),
                "median global gap": g["global_gap"].median(),
                "at least enumeration": _share((g["gain"] >= g["block_gain"] - 1e-6)[enumerated]),
                "better than it": _share((g["gain"] > g["block_gain"] + 1e-6)[enumerated]),
                "pipeline certified": g["pipeline_certified"].mean(),
                "pipeline above": _share(g["pipeline_gain"] > 1e-6),
                "random certified": g["random_certified"].mean(),
                "random above": _share(g["random_gain"] > 1e-6),
                "seconds": g["seconds"].median(),
            }
        )
    return pd.DataFrame(lines)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw welfare above the better of full revelation and no information, by game and method."""
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    methods = {
        "ceiling": ("what no profile exceeds", "v", palette.BOUND.colour),
        "gain": ("find_equilibria", "o", palette.OURS.colour),
        "block_gain": ("enumerated block profiles", "_", palette.TRUE_GAME.colour),
        "pipeline_gain": ("surrogate end points, certified", "x", SURROGATES["dnl"].colour),
        "random_gain": ("random profiles, certified", "+", palette.RANDOM.colour),
    }
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="black", linewidth=0.8)
    groups = list(rows.groupby(KEYS[:4], sort=True))
    for column, (label, marker, colour) in methods.items():
        points = [
            (place + 0.12 * (instance - (len(games) - 1) / 2), value)
            for place, (_, games) in enumerate(groups)
            for instance, value in enumerate(games.get(column, []))
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, marker=marker, color=colour, s=40, label=label)
    axes.set_xticks(range(len(groups)), ["N={}\n({},{},{})".format(*size) for size, _ in groups])
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_ylabel("welfare above max(FR, NI),\nfraction of the payoff ranges")
    axes.set_title("Best certified local equilibrium, radius 0.005, contested games")
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=150)


def _share(values: pd.Series) -> float:
    return float(values.eq(True).mean()) if len(values) else float("nan")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.finding"))
