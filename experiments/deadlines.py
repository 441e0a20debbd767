"""Check time limits and measure peak memory of exact calls at the largest sizes.

A call keeps its limit if it ends within 10 % and half a second of it. Each call runs in its own
process, so that its peak memory can be measured; imports do not count.
"""

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dnl
from dnl.runtime import cli
from experiments.exact_times import profile
from experiments.shared.resumable import table_of
from games import PersuasionGame, synthetic_game

LATE_SHARE, LATE_SECONDS = 1.1, 0.5  # a call may take this share of its limit plus these seconds
GLOBAL = "any"  # the radius of a call for any deviation
CALLS: tuple[tuple[str, str, str, float], ...] = (  # call, N x M x S x A, radius, limit
    ("best_response", "2x40x40x10", GLOBAL, 1.0),
    ("best_response", "4x10x10x10", GLOBAL, 1.0),
    ("best_response", "6x8x8x8", GLOBAL, 1.0),
    ("verify", "4x10x10x10", "0.005", 1.0),
    ("verify", "4x10x10x10", GLOBAL, 1.0),
    ("verify", "2x40x40x10", "0.005", 1.0),
    ("verify", "2x100x20x20", GLOBAL, 2.0),
    ("verify", "7x6x6x6", "0.005", 1.0),
    ("verify", "7x6x6x6", GLOBAL, 1.0),
    ("verify", "7x2x64x8", GLOBAL, 1.0),
    ("find_equilibria", "7x2x64x8", "0.005", 5.0),
    ("find_equilibria", "5x6x6x6", "0.005", 5.0),
    ("find_equilibria", "7x6x6x6", "0.005", 5.0),
    ("find_equilibria", "4x10x10x10", "0.005", 5.0),
    ("find_equilibria", "2x40x40x10", "0.005", 5.0),
    ("find_equilibria", "4x8x8x8", "0.005", 2.0),
)


def main(*, out: Path = Path("results/deadlines"), small: bool = False) -> int:
    """Measure seconds and memory of exact calls with short time limits; report late ones.

    Args:
        out: Folder of the table; finished rows in it are kept.
        small: Make two quick calls only.
    """
    calls = CALLS
    if small:
        calls = (("verify", "2x2x3x3", "0.005", 5.0), ("find_equilibria", "2x2x2x2", "0.1", 1.0))
    names = ("call", "size", "radius", "limit")
    table = table_of(out, names, calls, measure, {"law": "contested", "small": small}, quiet=small)
    print(table.to_string(index=False))
    late = int((~table["kept"]).sum())
    print(f"{len(table)} calls, {late} late, at most {table['peak_gib'].max():.2f} GiB")
    return 1 if late else 0


def measure(key: tuple[str, str, str, float]) -> dict[str, Any]:
    """One row, measured in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, *key).result()


def _measure(call: str, size: str, radius: str, limit: float) -> dict[str, Any]:
    warm = synthetic_game(2, 2, 2, 2, 0, "contested")
    dnl.verify(warm, profile(warm, "uniform", 0))  # the first call imports modules
    n, m, s, a = (int(part) for part in size.split("x"))
    game = synthetic_game(n, m, s, a, 0, "contested")
    policies = profile(game, "near-pure", 0)
    reach = None if radius == GLOBAL else float(radius)
    began = time.perf_counter()
    answer = _answer(call, game, policies, reach, limit)
    seconds = time.perf_counter() - began
    return {
        "call": call,
        "size": size,
        "radius": radius,
        "limit": limit,
        "seconds": round(seconds, 3),
        "kept": seconds <= LATE_SHARE * limit + LATE_SECONDS,
        "answer": answer,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    }


def _answer(
    call: str, game: PersuasionGame, policies: Tensor, radius: float | None, limit: float
) -> str:
    torch.set_num_threads(1)
    if call == "best_response":
        return str(dnl.best_response(game, policies, 0, radius, limit).status)
    if call == "verify":
        return str(dnl.verify(game, policies, radius, time_limit=limit).verdict)
    return f"{len(dnl.find_equilibria(game, radius or 0.005, limit))} found"


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.deadlines"))
