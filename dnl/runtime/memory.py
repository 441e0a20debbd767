"""How many bytes are held at a time, and what is done where memory does not suffice.

Where a comment does not say otherwise, a number counts as one of double precision, so that single
precision comes in the same parts.
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
    """`function` of all items together; of halves, quarters and so on where that needs too much.

    Args:
        function: items -> as many results, in order; an item's result does not depend on the
            others.
        items: at least one.

    Raises:
        torch.OutOfMemoryError: if one item alone needs too much.
    """
    try:
        return list(function(items))
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    # Not while the error is handled: its traceback holds what has to be freed.
    gc.collect()
    torch.cuda.empty_cache()
    half = len(items) // 2
    return in_halves(function, items[:half]) + in_halves(function, items[half:])
