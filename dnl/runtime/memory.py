"""How many bytes a computation holds at a time, and what to do when memory runs out.

Numbers count as double precision unless a comment says otherwise, so that chunks have the same size
in single precision.
"""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

STEP_BYTES = 2**28  # of the arrays of one step of a long computation: 256 MiB
SAMPLE_BYTES = 2**31  # of training profiles, in the fit's own precision, fitted together
SIMULATED_BYTES = 2**29  # of profiles that are simulated at a time
DEVIATION_BYTES = {"cpu": 2**24, "cuda": 2**26}  # of sampled deviations
PAIR_BYTES = 2**25  # of payoffs: profiles x pairs of states x actions
DRAW_BYTES = 2**23  # of uniform draws

T = TypeVar("T")
R = TypeVar("R")


def in_halves(function: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
    """Apply `function` to all items, or to halves, quarters and so on when memory runs out.

    Args:
        function: maps items to their results, in order; a result does not depend on other items.
        items: at least one.

    Raises:
        torch.OutOfMemoryError: if memory does not suffice for a single item.
    """
    try:
        return list(function(items))
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    # Outside the except block: the traceback keeps tensors alive that must be freed.
    gc.collect()
    torch.cuda.empty_cache()
    half = len(items) // 2
    return in_halves(function, items[:half]) + in_halves(function, items[half:])
