"""Where the tasks of a run are computed: in this process, or by Dask's workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dnl.benchmark.runner import Place, here


@contextmanager
def place_of(workers: int | None, scheduler: str | None) -> Iterator[Place]:
    """Start or find the workers of a run; without either argument, this process computes.

    Args:
        workers: number of worker processes on this machine.
        scheduler: address of a Dask scheduler whose workers compute.
    """
    if workers is None and scheduler is None:
        yield here
        return
    from dnl.benchmark import cluster  # here: an optional extra

    chosen = (
        cluster.local_workers(workers or 1) if scheduler is None else cluster.workers_of(scheduler)
    )
    with chosen as client:
        yield partial(cluster.on_workers, client)
