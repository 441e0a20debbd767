"""Time and gap of exact best responses, compared with a plain MILP in the same run.

The plain program has the same convex hulls with binary shares. HiGHS's own branch and bound solves
it with the same gap and time limit.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from dnl import best_response
from dnl.exact.best_response import exact_rows
from dnl.exact.deviation import Deviation, deviation
from dnl.exact.hull_relaxation import HullRelaxation
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, write_table
from experiments.shared.resumable import table_of
from games import PersuasionGame, checks, synthetic_game
from games.randomness import near_pure, stream


@dataclass(frozen=True)
class Case:
    """One line of the table: `instances` games in which sender 0 responds."""

    n_senders: int
    size: tuple[int, int, int]
    profile: str
    radius: float | None
    tolerance: float
    time_limit: float

    @property
    def key(self) -> Key:
        """The values of its rows in the columns of `KEYS`, except the instance."""
        return self.n_senders, "({},{},{})".format(*self.size), self.profile, self.tolerance


PLAIN_INSTANCES = 2  # games of each case that the plain MILP solves, too
KEYS = ("senders", "size", "profile", "tolerance", "instance")
CASES = (
    Case(2, (10, 10, 10), "uniform", 0.005, 1e-5, 60.0),
    Case(2, (10, 10, 10), "near-pure", 0.005, 1e-5, 60.0),
    Case(2, (10, 10, 10), "pure", 0.005, 1e-5, 60.0),
    Case(4, (6, 6, 6), "uniform", 0.005, 1e-5, 60.0),
    Case(2, (6, 6, 6), "uniform", None, 1e-6, 60.0),
    Case(2, (10, 10, 10), "uniform", None, 1e-6, 60.0),
)


def main(
    *, instances: int = 6, out: Path = Path("results/exact_times"), small: bool = False
) -> int:
    """Time exact best responses in contested games.

    Finished rows in the folder are kept, so an interrupted run can be resumed.

    Args:
        instances: Games per line of the table; the plain MILP solves the first two.
        out: Folder of the table.
        small: Run for a few seconds only.
    """
    checks.positive_integer("instances", instances)
    cases: tuple[Case, ...] = CASES
    if small:
        cases, instances = (Case(2, (2, 3, 3), "uniform", 0.005, 1e-5, 5.0),), 1
    by_key = {case.key: case for case in cases}
    rows = table_of(
        out,
        KEYS,
        [(*key, instance) for key in by_key for instance in range(instances)],
        row_of,
        {"instances": instances},
        (by_key,),
        quiet=small,
        table="responses.csv",
        ordered=True,
    )
    keys = ["senders", "size", "profile", "radius", "tolerance"]
    table = rows.groupby(keys, sort=False, dropna=False)
    summary = table.agg(
        games=("seconds", "size"),
        median_seconds=("seconds", "median"),
        longest=("seconds", "max"),
        largest_gap=("gap", "max"),
        plain_seconds=("plain_seconds", "median"),
        plain_gap=("plain_gap", "max"),
    ).reset_index()
    write_table(summary, out / "summary.csv")
    print(summary.to_string(index=False))
    return 0


def profile(game: PersuasionGame, kind: str, instance: int) -> Tensor:
    """A random profile `(N, S, M)`: `"uniform"`, `"pure"`, or `"near-pure"` (0.99 of it pure)."""
    generator = stream("starts", "exact_times", kind, instance)
    random = game.sample_policies(1, generator)[0]
    if kind == "uniform":
        return random
    labels = torch.randint(game.n_signals, random.shape[:2], generator=generator)
    return near_pure(labels, random, 0.0 if kind == "pure" else 0.01)


def row_of(key: Key, cases: Mapping[Key, Case]) -> Row:
    """The row of one game."""
    *_, instance = key
    case = cases[key[:-1]]
    game = synthetic_game(case.n_senders, *case.size, instance, "contested")
    policies = profile(game, case.profile, instance)
    response = best_response(
        game, policies, 0, case.radius, case.time_limit, tolerance=case.tolerance
    )
    unit = game.payoff_range[0].item()
    senders, size, kind, tolerance = case.key
    row = {
        "senders": senders,
        "size": size,
        "profile": kind,
        "radius": case.radius,
        "tolerance": tolerance,
        "instance": instance,
        "seconds": response.seconds,
        "gap": (response.upper_bound - response.utility) / unit,
        "status": str(response.status),
    }
    if instance < PLAIN_INSTANCES and case.radius is not None:
        began = time.perf_counter()
        gap = plain_milp(
            deviation(game, exact_rows(policies), 0), case.radius, case.tolerance, case.time_limit
        )
        row |= {"plain_seconds": time.perf_counter() - began, "plain_gap": gap}
    return row


def plain_milp(problem: Deviation, radius: float, tolerance: float, time_limit: float) -> float:
    """One program over all joint signals with binary shares: the gap that is left, normalised."""
    low = np.maximum(problem.own - radius, 0.0)
    width = np.minimum(problem.own + radius, 1.0) - low
    candidates = np.asarray(problem.candidates(low, low + width))
    hull = HullRelaxation(problem, low, width, candidates, total="policy", unit=1.0)
    program = hull.program
    binary = np.zeros(len(program.cost))
    binary[hull.n_x : hull.y_start] = 1
    result = milp(
        -program.cost,
        integrality=binary,
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(program.matrix, program.row_lower, program.row_upper),
        # HiGHS states its gap relative to the objective only.
        options={"time_limit": time_limit, "mip_rel_gap": tolerance},
    )
    if result.x is None:
        return float("nan")
    if result.mip_dual_bound is None:  # no action can change: this is a solved linear program
        return 0.0
    return max(float(result.fun - result.mip_dual_bound), 0.0)  # rounding may make it negative


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.exact_times"))
