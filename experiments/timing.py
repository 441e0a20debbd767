"""Wall time of a call."""

import time
from collections.abc import Callable


def seconds(function: Callable[[], object], repeats: int = 1) -> float:
    """The median of several runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return sorted(times)[repeats // 2]
