"""Several computations at once, on the cores of this machine.

They are threads: torch lets go of the interpreter's lock while it draws random numbers, and HiGHS
while it solves. An exact computation that takes long is nearly all linear programs (96 % of the
time of a decision on a near-pure profile of N = 2, (10, 10, 10), a second; 40 % on a random
profile, 20 milliseconds). Processes would share the rest, too, but start in seconds, and ask every
caller's script for a main guard.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import ContextVar
from threading import Event
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# Set where this thread's result is no longer wanted: each has a context of its own.
_UNWANTED: ContextVar[Event] = ContextVar("unwanted")


def spread(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """`function` of every item, in order, on up to `workers` threads with one torch thread each.

    An error of `function`, the first in order, is raised as it is, once all before it are done. It
    ends what is under way at its next linear program, as Ctrl-C does. Not for calls that overlap:
    torch's number of threads is that of the whole process meanwhile.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        return [function(item) for item in items]
    unwanted, threads = Event(), torch.get_num_threads()
    torch.set_num_threads(1)  # which new threads inherit
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
    """Raise a CancelledError where nobody waits for this thread's result any more."""
    unwanted = _UNWANTED.get(None)
    if unwanted is not None and unwanted.is_set():
        raise CancelledError
