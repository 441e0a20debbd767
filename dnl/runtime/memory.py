"""Where memory does not suffice, less is done at a time."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

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
