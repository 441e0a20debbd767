"""How time and memory grow with every size of a game, and what is feasible with many senders.

Each stage is measured around one base size, varying one axis at a time, in seconds of processor
time. The expected growth, in multiplications (`D` profiles, samples, starts, deviations or draws;
`P` weights of a network of `N S M` inputs; `C = 2 A + 4` choices of posterior-dnl):

=================== ====================================
simulation          G D M**N S A
estimation          G D (N (S + M) + S (N + A))
relu, delu, dnl     G D N P: a pass over the samples
posterior-dnl       G D min(M**N, 2048) S (N + 2 C): the same
its least squares   G D (M**N S (N + 2 C) + (S C)**2)
extra-gradient      G D N P: every network has a gradient of its own (of DNL)
verification        G D N M**N S A: sampled, at most
=================== ====================================

A fit consists of passes. A fit of posterior-dnl has four restarts, each with twenty least-squares
steps of 2,000 samples and a last one of 10,000; with many joint signals these grow with M**N.

Simulation here uses tensors: every job is too small for machine code to be built, except one
profile of eight senders with ten signals.

Slopes are least-squares fits to the logarithms of the three largest points of an axis; the theory's
slopes use the same points. They differ because of fixed costs and caches. M**N is no power of N,
so its slope holds at these points only. Memory is the peak while a stage runs, less the memory that
its process held before, inputs included.

Many senders: machine code sums over 10**8 joint signals in about a second, so one profile of N = 8,
(10, 10, 10) is cheap, but the 50,000 that a fit needs take half a day. Sampled verification
simulates only joint signals at which a deviation may change the action, but examines all of them
once per profile and sender. The least squares of posterior-dnl sum over all of them for thousands
of samples. The cost of an estimate grows as `N`, not as `M**N`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table, write_table
from dnl.surrogates.registry import Shape
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from experiments.shared.stages import STAGES, measured, work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEYS = ["stage", "n_senders", "n_signals", "n_states", "n_actions", "n_games", "count"]
BASE = (3, 4, 4, 4, 1)  # N, M, S, A, G
AXES = {  # values of each column of KEYS; of the last, multiples of a stage's own count
    "n_senders": (2, 3, 4, 5, 6),
    "n_signals": (2, 4, 8, 16),
    "n_states": (2, 4, 8, 16),
    "n_actions": (2, 4, 8, 16),
    "n_games": (1, 2, 4, 8),
    "count": (0.25, 0.5, 1, 2, 4),
}
MANY: tuple[Shape, ...] = (
    (8, 2, 2, 2),
    (8, 4, 4, 4),
    (8, 10, 10, 10),
    (12, 10, 10, 10),
)  # N, M, S, A
ENUMERABLE = 10**8  # joint signals: more would take minutes
DRAWS = 500_000  # joint signals drawn with many senders: about a second
SAMPLES = 50_000  # profiles that the paper's fit of one game needs
LEAST_MIB = 0.1  # smaller amounts of memory are measurement noise


def main(*, out: Path = Path("results/growth"), small: bool = False) -> int:
    """Measure every stage along every axis; finished measurements are not repeated.

    Args:
        out: Folder of the tables and the figure.
        small: Run for a few seconds only.
    """
    counts = {name: stage.count for name, stage in STAGES.items()}
    axes: Mapping[str, Sequence[float]] = AXES
    many, draws = MANY, DRAWS
    if small:
        counts, many, draws = dict.fromkeys(STAGES, 20), MANY[:1], 100
        axes = {"n_senders": (2, 3)}
    points = {
        (axis, stage): [key_of(stage, axis, value, count) for value in values]
        for axis, values in axes.items()
        for stage, count in counts.items()
    }
    keys = [key for line in points.values() for key in line]
    for shape in many:
        keys.append(("estimation", *shape, 1, draws))
        if shape[1] ** shape[0] <= ENUMERABLE:
            keys.append(("simulation", *shape, 1, 1))
    configuration = {"threads": 1, "passes": 1, "iterations": 2}
    table = table_of(
        out, KEYS, list(dict.fromkeys(keys)), row_of, configuration, quiet=small, table="growth.csv"
    )
    records: list[Any] = table.to_dict("records")
    rows = {tuple(row[name] for name in KEYS): row for row in records}
    lines = pd.DataFrame(
        [
            {"axis": axis, "value": value, **rows[key], "work": work(stage, *_sizes(key))}
            for (axis, stage), own in points.items()
            for value, key in zip(axes[axis], own, strict=True)
        ]
    )[["axis", "value", *KEYS, "seconds", "work", "added_mib"]]
    write_table(lines, out / "lines.csv")
    slopes = slopes_of(lines)
    write_table(slopes, out / "slopes.csv")
    exact = many_senders(rows, many, draws)
    write_table(exact, out / "many_senders.csv")
    print(slopes.round(2).to_string(index=False))
    print(exact.to_string(index=False))
    write_figures(out, figures(out))
    return 0


def key_of(stage: str, axis: str, value: float, count: int) -> Key:
    """The base size with `value` on one axis; `count` is the stage's at the base size."""
    sizes = dict(zip(KEYS[1:], (*BASE, count), strict=True))
    sizes[axis] = int(value * count) if axis == "count" else int(value)
    return (stage, *sizes.values())


def row_of(key: Key) -> Row:
    """The row of one measurement."""
    return dict(zip(KEYS, key, strict=True)) | measured(key)


def _sizes(key: Key) -> tuple[Shape, int, int]:
    _, n, m, s, a, n_games, count = key
    return (n, m, s, a), n_games, count


def slopes_of(lines: pd.DataFrame) -> pd.DataFrame:
    """Log-log slopes per axis and stage: of seconds, of the theory's work and of memory."""
    return pd.DataFrame(
        [
            {
                "axis": axis,
                "stage": stage,
                "seconds": _slope(line["value"], line["seconds"]),
                "theory": _slope(line["value"], line["work"]),
                "added_mib": _slope(line["value"], line["added_mib"].clip(lower=LEAST_MIB)),
            }
            for (axis, stage), line in lines.groupby(["axis", "stage"], sort=False)
        ]
    )


def _slope(x: pd.Series, y: pd.Series) -> float:
    return float(np.polyfit(np.log(x[-3:]), np.log(y[-3:]), 1)[0])


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `lines.csv` and `slopes.csv`.

    Raises:
        OSError: if one of them is missing.
    """
    from experiments.shared.growth_figure import growth_figure  # matplotlib takes a second to load

    lines, slopes = (read_table(folder / f"{name}.csv") for name in ("lines", "slopes"))
    return {"growth.png": growth_figure(lines, slopes, BASE)}


def many_senders(rows: Mapping[Key, Row], many: Sequence[Shape], draws: int) -> pd.DataFrame:
    """Sender 0's utility at one profile of each game, exact and estimated, and its cost.

    Where the exact utility is not measured, its seconds are those of the previous game times the
    ratio of their work.
    """
    lines: list[Row] = []
    for shape in many:
        n, m, s, a = shape
        exact = rows.get(("simulation", *shape, 1, 1))
        estimate = rows["estimation", *shape, 1, draws]
        line: Row = {
            "n_senders": n,
            "size": f"({m},{s},{a})",
            "joint_signals": float(m**n),
            "multiplications": work("simulation", shape, 1, 1),
        }
        if exact is None:
            rate = lines[-1]["exact_seconds"] / lines[-1]["multiplications"]
            line |= {"exact": "extrapolated", "exact_seconds": rate * line["multiplications"]}
        else:
            line |= {"exact": "measured", "exact_seconds": exact["seconds"]}
            line |= {"exact_mib": exact["added_mib"], "exact_utility": exact["utility"]}
        lines.append(
            line
            | {
                f"hours_of_{SAMPLES}": line["exact_seconds"] * SAMPLES / 3600,
                "draws": draws,
                "estimate_seconds": estimate["seconds"],
                "estimate_mib": estimate["added_mib"],
                "estimated_utility": estimate["utility"],
                "half_width": estimate["half_width"],
                "relative_half_width": estimate["relative_half_width"],
            }
        )
    return pd.DataFrame(lines)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.growth"))
