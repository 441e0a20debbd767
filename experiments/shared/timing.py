"""Wall time of a call, and a line that compares two of them."""

import time
from collections.abc import Callable

import torch


def seconds(function: Callable[[], object], repeats: int = 1) -> float:
    """The median of several runs; each waits until the GPU in use has finished."""
    times = []
    for _ in range(repeats):
        began = _now()
        function()
        times.append(_now() - began)
    return sorted(times)[repeats // 2]


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def row(what: str, plain: float, library: float, ratio: float) -> dict[str, object]:
    """A line of the table: `what` was measured, both values, and how many times better ours is."""
    return {
        "what": what,
        "plain": round(plain, 3),
        "library": round(library, 3),
        "ratio": round(ratio, 2),
    }
