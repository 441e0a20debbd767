"""Where the tasks of a run are computed: in this process, or by Dask's workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dnl.benchmark.runner import Place, here


@contextmanager
def place_of(workers: int | None, scheduler: str | None) -> Iterator[Place]:
    """The place that a command line asks for.

    Args:
        workers: so many processes of this machine.
        scheduler: the address of a Dask scheduler, whose workers are used. Without either, this
            process computes.
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
