"""The tasks of a run on many processes or machines, through Dask distributed.

This is the only file that imports Dask. What is sent to a worker is `prepare` and `compute` of
`dnl.runner`, so that a row is the same wherever it was computed.
"""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from threading import Lock

import torch

from dnl import __version__
from dnl.pipeline import Baseline, Stages
from dnl.results import KEYS, Key, Row
from dnl.runner import MakeGame, Report, compute, prepare
from dnl.schedule import Task

try:
    import dask
    from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, as_completed
except ImportError as error:
    raise ImportError(
        f"--workers and --scheduler need the extra 'cluster': pip install 'dnl[cluster]' ({error})"
    ) from error

CONNECT_SECONDS = 10
# How many workers may die with a task before it is given up. On one's own machine that is for want
# of memory, again and again, or by somebody's hand, once: more tries would only take longer.
ALLOWED_FAILURES = 3
TRIM = "MALLOC_TRIM_THRESHOLD_"
_LOCK = Lock()


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """`count` processes of this machine, one thread each.

    A worker that dies is replaced, and what it was to do is done again.
    """
    # No limit of memory, as there is none without workers: Dask's own would pause and kill a worker
    # at its share of the machine. No warnings: those about a worker that was replaced, or stopped
    # in its work by Ctrl-C, ask nobody to do anything. Nor does a worker give its memory back after
    # every operation, as Dask would have it: training would take up to twice as long.
    with (
        dask.config.set({f"distributed.nanny.pre-spawn-environ.{TRIM}": None}),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",  # any port: there may be another run
            scheduler_kwargs={"allowed_failures": ALLOWED_FAILURES},
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(_Uninterrupted())
        yield client


@contextmanager
def workers_of(address: str) -> Iterator[Client]:
    """The workers, now and later, of the Dask scheduler at `address`.

    How many workers may die with a task is the scheduler's own setting: where they are lent for
    some hours only, more than on one's own machine (see docs/many_machines.md).

    Raises:
        ValueError: if none answers there, or one without this version of this library.
    """
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"scheduler must be the address of a running Dask scheduler, got {address!r}: {error}"
        ) from error
    with client:
        try:
            there = client.run_on_scheduler(_version)
        except (AttributeError, ImportError) as error:
            there = f"none ({error})"
        if there != __version__:
            raise ValueError(
                f"scheduler and its workers must have version {__version__} of dnl, got {there} "
                f"at {address!r}"
            )
        yield client


def on_workers(
    client: Client, tasks: Sequence[Task], stages: Stages, make_game: MakeGame, report: Report
) -> Iterator[tuple[Task, list[Row]]]:
    """Tasks and their rows, in the order in which workers finish them.

    A task whose workers died too often has rows of status "error", which a resumed run computes.
    `report` is for what is under way in this process, where nothing is.

    Raises:
        OSError: if the scheduler is lost.
    """
    running: dict[Future[list[Row]], Task] = {}
    for games, same in groupby(tasks, key=lambda task: task.games):
        # pure=False: a name of its own, so that nobody else's result on the scheduler is taken for
        # it. No retries: `compute` makes a row of what raises, and it would raise again.
        prepared = client.submit(_prepare, games, stages, make_game, pure=False)
        for task in same:
            running[client.submit(_compute, task, prepared, stages, pure=False)] = task
    for future in as_completed(list(running)):
        task = running.pop(future)  # and with it the scheduler's copy of the result
        if future.cancelled():
            raise OSError("the scheduler was lost: finished rows are kept, --resume goes on there")
        error = future.exception()
        if isinstance(error, KilledWorker):
            yield task, _lost(task, stages, error)
        else:
            yield task, future.result()


class _Uninterrupted(WorkerPlugin):
    """Ctrl-C in a terminal reaches all of its processes: only the one that started them answers."""

    def setup(self, worker: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _version() -> str:
    import dnl  # that of the process that this is called in

    return dnl.__version__


@contextmanager
def _alone() -> Iterator[None]:
    """One task at a time, on one thread, however many threads the worker was given.

    Tasks do not share a process: initialisation sets the seed of the whole process.
    """
    with _LOCK:
        torch.set_num_threads(1)
        yield


def _prepare(games: Sequence[Key], stages: Stages, make_game: MakeGame) -> list[Baseline | str]:
    with _alone():
        return prepare(games, stages, make_game)


def _compute(task: Task, prepared: Sequence[Baseline | str], stages: Stages) -> list[Row]:
    with _alone():
        return compute(task, prepared, stages)


def _lost(task: Task, stages: Stages, error: KilledWorker) -> list[Row]:
    failed = {"status": "error", "seed": stages.seed, "error": f"KilledWorker: {error}"}
    return [dict(zip(KEYS, key, strict=True)) | failed for key in task.keys]
