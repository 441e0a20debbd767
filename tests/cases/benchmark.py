"""Tables of a benchmark, made up or by hand."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnl.benchmark.rows import columns

QUICK = ((2, 2, 2), (4, 2, 2), (2, 4, 2), (2, 2, 4), (4, 4, 4))
SURROGATES = ("relu", "delu", "dnl")
# Chance that a profile is not refuted, by law and senders: end points, random starts.
PASS = {
    ("contested", 2): (0.06, 0.1),
    ("contested", 4): (0.0, 0.1),
    ("paper", 2): (0.8, 0.1),
    ("paper", 4): (0.8, 0.1),
}


def made_up_table(sizes: tuple[tuple[int, int, int], ...] = QUICK, seed: int = 0) -> pd.DataFrame:
    """A table as the benchmark writes it: two laws, N = 2 and 4, constant games in law "paper",
    nothing passed at ("contested", 4), and one failed row per law and number of senders."""
    rng = np.random.default_rng(seed)
    rows = []
    for (law, n), size, instance in itertools.product(PASS, sizes, range(2)):
        full, none, start, ranges = rng.normal(0, 5, (4, n))
        constant = law == "paper" and size == (2, 2, 2)
        starts_passed = int(rng.binomial(30, PASS[law, n][1]))
        for k, surrogate in enumerate(SURROGATES):
            keys = (law, n, *size, instance, surrogate)
            row: dict[str, Any] = dict(zip(columns(n)[:7], keys, strict=True))
            if (size, instance, surrogate) == ((2, 4, 2), 1, "dnl"):
                rows.append({**row, "status": "error", "error": "ValueError: loss is nan"})
                continue
            unexplained = (
                0.0 if constant else float(rng.uniform(0.1, 0.4)) * size[1] * (1 - 0.2 * k)
            )
            passed = int(rng.binomial(30, PASS[law, n][0] * (k + 1) / 3))
            best = full + rng.normal(k, 1, n) if passed else np.full(n, math.nan)
            vectors = {"payoff_range": 20 + abs(ranges), "mse": [40 * unexplained] * n}
            for prefix, utility in zip(
                ("best", "fr", "ni", "start"), (best, full, none, start), strict=True
            ):
                vectors[f"{prefix}_utility"] = utility
                row[f"{prefix}_welfare"] = sum(utility)
            row |= {f"{name}_{i}": v[i] for name, v in vectors.items() for i in range(n)}
            row |= {"status": "ok", "radius": 0.005, "starts": 30, "not_refuted": passed}
            row |= {"starts_not_refuted": starts_passed, "mse": 40 * unexplained}
            row |= {"constant": constant, "unexplained": math.nan if constant else unexplained}
            rows.append(row)
    frame = pd.DataFrame(rows, columns=columns(4))
    counts = dict.fromkeys(["starts", "not_refuted", "starts_not_refuted"], "Int64")
    return frame.astype({**counts, "constant": "boolean"})


def written(table: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "results.csv", index=False)
    return folder


def one_game(**values: Any) -> dict[str, Any]:
    """A good row of a two-sender game, where a best end point has utilities (3, 1)."""
    row: dict[str, Any] = {"law": "contested", "n_senders": 2, "n_signals": 2, "n_states": 2}
    row |= {"n_actions": 2, "instance": 0, "surrogate": "dnl", "starts": 4, "not_refuted": 1}
    row |= {"starts_not_refuted": 2, "payoff_range_0": 4.0, "payoff_range_1": 0.0}
    for prefix, (first, second) in {
        "best": (3.0, 1.0),
        "fr": (1.0, 2.0),
        "ni": (0.0, 2.0),
        "start": (1.0, 0.0),
    }.items():
        row |= {f"{prefix}_utility_0": first, f"{prefix}_utility_1": second}
        row[f"{prefix}_welfare"] = first + second
    return row | {"best_start_welfare": 2.5, "constant": False} | values
