"""Run computations in parallel, on threads.

torch releases the interpreter's lock while it draws random numbers, and HiGHS while it solves. Long
exact computations spend nearly all their time in linear programs (96 % of the second that a
near-pure profile of N = 2, (10, 10, 10) takes; 40 % of the 20 milliseconds of a random one).
Processes would run the rest in parallel, too, but take seconds to start and require a main guard in
every caller's script.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import ContextVar
from threading import Event
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# The event is set when nobody waits for this thread's result any more.
_UNWANTED: ContextVar[Event] = ContextVar("unwanted")


def spread(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """Apply `function` to every item, on up to `workers` threads with one torch thread each.

    Results are in the order of the items. An exception is raised once all earlier items are done;
    like Ctrl-C, it ends the other computations at their next linear program. Calls must not
    overlap, because torch's number of threads is set for the whole process.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        return [function(item) for item in items]
    unwanted, threads = Event(), torch.get_num_threads()
    torch.set_num_threads(1)  # inherited by new threads
    try:
        with ThreadPoolExecutor(workers, initializer=_UNWANTED.set, initargs=(unwanted,)) as pool:
            try:
                return list(pool.map(function, items))
            except BaseException:
                unwanted.set()
                raise
    finally:
        torch.set_num_threads(threads)


def check_wanted() -> None:
    """Raise a CancelledError if nobody waits for this thread's result any more."""
    unwanted = _UNWANTED.get(None)
    if unwanted is not None and unwanted.is_set():
        raise CancelledError
