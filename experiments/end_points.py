"""What optimising surrogates achieves: finished end points of extra-gradient, and learned games.

Uses the networks saved by `experiments.surrogate_fit`; run it again when there are more. One row
per game and way of finding profiles: from the same random starts, extra-gradient on each surrogate
and, for comparison, on the true pieces, or the starts themselves; and the equilibria that
`find_equilibria` returns for the game that posterior-dnl learned, or for the true game. Exact best
responses in the true game finish the best profiles. Welfare is counted above the better of full
revelation and no information, in sums of payoff ranges.
"""

import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dnl import FittedSurrogate, extragradient, find_equilibria
from dnl.equilibria.response_walks import radii, walk
from dnl.equilibria.search import Search
from dnl.equilibria.verification import decide
from dnl.exact.full_revelation import best_baseline_welfare
from dnl.reporting import palette
from dnl.reporting.figures import write_figure
from dnl.runtime import cli
from dnl.runtime.budget import Budget
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, write_table
from dnl.surrogates.registry import PAPER_SURROGATES, SURROGATES
from experiments.shared.resumable import table_of
from experiments.surrogate_fit import KEYS as FIT_KEYS
from experiments.surrogate_fit import NETWORKS, network_file
from games import PersuasionGame, checks, synthetic_game
from games.randomness import stream

FITS = {  # way of finding profiles: the fit that it needs
    **{f"{name}, ascent": (name, "tuned", False) for name in PAPER_SURROGATES},
    "posterior-dnl, ascent": ("posterior-dnl", "paper", False),
    "learned game, solved": ("posterior-dnl", "paper", False),
    "learned from a tenth, solved": ("posterior-dnl", "paper", True),
}
STARTS, TRUE_ASCENT, TRUE_SOLVED = "random starts", "true game, ascent", "true game, solved"
RADIUS = 0.005
VERDICT_SECONDS = 2.0  # seconds for a verdict
KEYS = [*FIT_KEYS[:5], "way"]


def main(
    *,
    fits: Path = Path("results/surrogate_fit"),
    starts: int = 10,
    finished: int = 3,
    walking: float = 4.0,
    solving: float = 10.0,
    workers: int = 1,
    out: Path = Path("results/end_points"),
    small: bool = False,
) -> int:
    """Find profiles with every saved surrogate, and finish them.

    Args:
        fits: Folder of `experiments.surrogate_fit`.
        starts: Random profiles to start from.
        finished: Number of best profiles of each way that best responses finish.
        walking: Seconds for finishing one profile; beyond them it counts as failed.
        solving: Seconds for `find_equilibria`.
        workers: Number of processes; each computes one row at a time.
        out: Folder of the tables and the figure.
        small: Run for a few seconds only.
    """
    for name, count in (("starts", starts), ("finished", finished), ("workers", workers)):
        checks.positive_integer(name, count)
    for name, seconds in (("walking", walking), ("solving", solving)):
        checks.positive_number(name, seconds)
    networks = fits / NETWORKS
    if not (fits / "fits.csv").exists():
        raise ValueError(f"fits must hold the networks of experiments.surrogate_fit, got {fits!s}")
    games = pd.read_csv(fits / "fits.csv")[FIT_KEYS[:5]].drop_duplicates()
    keys = [
        (*game, way)
        for game in sorted(map(tuple, games.to_numpy().tolist()), key=lambda game: game[::-1])
        for way in (STARTS, TRUE_ASCENT, TRUE_SOLVED, *FITS)
        if way not in FITS or network_file(networks, (*game, *FITS[way])).exists()
    ]
    if small:
        starts, finished, walking, solving = 2, 1, 0.5, 0.5
    configuration: Row = {
        "starts": starts,
        "finished": finished,
        "walking": walking,
        "solving": solving,
    }
    arguments = (networks, starts, finished, walking, solving)
    rows = table_of(
        out, KEYS, keys, row_of, configuration, arguments, workers, quiet=small, table="ends.csv"
    )
    summary = summarise(rows)
    write_table(summary, out / "summary.csv")
    print(summary.to_string(index=False))
    draw(rows, out / "end_points.png")
    return 0


def row_of(
    key: Key, networks: Path, starts: int, finished: int, walking: float, solving: float
) -> Row:
    """Return the row of one game and one way of finding profiles."""
    n, m, s, a, instance, way = key
    game = synthetic_game(n, m, s, a, instance, "contested")
    began = time.perf_counter()
    fitted = None
    if way in FITS:
        fitted = FittedSurrogate.load(network_file(networks, (*key[:-1], *FITS[way])))
    ends = profiles(game, way, fitted, starts, solving)
    seconds = time.perf_counter() - began
    search = Search(game, RADIUS)
    unit = game.payoff_range.sum().item()
    baseline = best_baseline_welfare(game)
    gain = (search.worth(ends) - baseline) / unit
    best = ends[gain.argsort(descending=True, stable=True)[:finished]]
    began = time.perf_counter()
    rests = [rest for end in best if (rest := finish(search, end, walking)) is not None]
    kept = [rest for rest in rests if is_certified(game, rest)]
    gains = [(search.worth(rest).item() - baseline) / unit for rest in kept]
    return dict(zip(KEYS, key, strict=True)) | {
        "ends": len(ends),
        "gain": gain.mean().item() if len(ends) else float("nan"),
        "certified": sum(is_certified(game, end) for end in ends) / max(len(ends), 1),
        "finished": len(best),
        "finished_certified": len(kept) / max(len(best), 1),
        "finished_gain": max(gains, default=float("nan")),
        "seconds": seconds,
        "finishing_seconds": time.perf_counter() - began,
    }


def profiles(
    game: PersuasionGame, way: str, fitted: FittedSurrogate | None, starts: int, solving: float
) -> Tensor:
    """The profiles that one way finds, `(B, N, S, M)` in float64."""
    if way.endswith("solved"):
        solved = find_equilibria(fitted.learned_game() if fitted else game, time_limit=solving)
        none = torch.empty(0, game.n_senders, game.n_states, game.n_signals, dtype=torch.float64)
        return torch.stack([e.policies for e in solved]) if solved else none
    ends = game.sample_policies(starts, stream("starts", 0, game.identity))
    if fitted is not None:
        ends = extragradient(fitted, ends.to(fitted.networks.dtype)).policies.to(ends)
    elif way == TRUE_ASCENT:
        ends = extragradient(game.ex_ante_utility, ends).policies
    return ends / ends.sum(-1, keepdim=True)


def finish(search: Search, policies: Tensor, walking: float) -> Tensor | None:
    """Where exact best responses stop: nearby, or else within a shrinking radius."""
    search.budget = Budget.within(walking)
    for shrinking in ((RADIUS,), radii(RADIUS)):
        for rest in walk(search, policies, shrinking):
            if rest is not None:
                return rest
    return None


def is_certified(game: PersuasionGame, policies: Tensor) -> bool:
    """Whether it is proven that no sender gains by a small deviation."""
    return decide(game, policies, RADIUS, time_limit=VERDICT_SECONDS) == "certified"


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per size and way: means over games, and how many have a best profile above."""
    groups = rows.assign(above=rows["finished_gain"] > 1e-9).groupby([*KEYS[:4], "way"], sort=False)
    summary = groups.agg(
        games=("instance", "size"),
        gain=("gain", "mean"),
        certified=("certified", "mean"),
        finished_certified=("finished_certified", "mean"),
        any_certified=("finished_gain", "count"),
        above=("above", "sum"),
        median_finished_gain=("finished_gain", "median"),
        seconds=("seconds", "mean"),
    )
    return summary.reset_index().round(5)


def colour_of(way: str) -> str:
    """The colour of the surrogate that a way uses, if it uses one."""
    if way in FITS:
        return SURROGATES[FITS[way][0]].colour
    return (palette.RANDOM if way == STARTS else palette.TRUE_GAME).colour


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Welfare of the best finished equilibrium, game by game."""
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    groups = list(rows.groupby(KEYS[:4], sort=False))
    ways = [STARTS, *(way for way in FITS if way.endswith("ascent")), TRUE_ASCENT]
    ways += [*(way for way in FITS if way.endswith("solved")), TRUE_SOLVED]
    figure = Figure(figsize=(2 + 2.2 * len(groups), 3.8), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, ((n, m, s, a), games) in zip(panels, groups, strict=True):
        for y, way in enumerate(ways):
            found = games.loc[games["way"] == way, "finished_gain"].dropna()
            axes.scatter(found, [y] * len(found), s=22, color=colour_of(way), alpha=0.7)
        axes.axvline(0, color="grey", linewidth=0.8, linestyle="--")
        axes.set_title(f"N={n} ({m},{s},{a})", fontsize=10)
    panels[0].set_yticks(range(len(ways)), ways, fontsize=8)
    panels[0].invert_yaxis()
    figure.supxlabel("welfare of the best certified equilibrium above FR and NI, payoff ranges")
    write_figure(path, figure)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.end_points"))
