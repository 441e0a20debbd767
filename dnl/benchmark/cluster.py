"""Compute the tasks of a run in many processes or on many machines, with Dask distributed.

This is the only file that imports Dask. Workers call `prepare` and `compute` of
`dnl.benchmark.runner`, so a row is the same wherever it is computed.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

import torch

from dnl import __version__
from dnl.benchmark.evaluation import Baseline, Stages
from dnl.benchmark.runner import Failure, MakeGame, Report, compute, prepare
from dnl.benchmark.tasks import Task
from dnl.runtime import interruption
from dnl.runtime.records import Row
from dnl.runtime.tables import Key

try:
    import dask
    from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, rpc
    from distributed.comm.core import CommClosedError
except ImportError as error:
    raise ImportError(
        f"--workers and --scheduler need the extra 'cluster': pip install 'dnl[cluster]' ({error})"
    ) from error

CONNECT_SECONDS = 5
CHECK_SECONDS = 2.0  # between two checks of the workers
# A worker that takes longer to start is replaced; a run without workers for longer ends.
START_SECONDS = 600.0
LOOPBACK = "127.0.0.1:0"  # this machine only, any port: another run may have a dashboard, too
# Workers that may die during a task before it is given up. On one's own machine they either run out
# of memory every time, or somebody kills one once: more attempts would only take longer.
ALLOWED_FAILURES = 3
TRIM = "MALLOC_TRIM_THRESHOLD_"
_LOCK = Lock()


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start `count` worker processes on this machine, with one thread each.

    A worker that dies is replaced, and its tasks are computed again.
    """
    # Dask gives up a worker that does not return within "lost-worker-timeout", or that is killed
    # while it starts; `_restored` replaces it.
    # There is no memory limit, as without workers: Dask's would pause and kill a worker that takes
    # more than its share of the machine. Warnings are off: those about a worker that was replaced,
    # or interrupted by Ctrl-C, call for no action. And a worker keeps freed memory: Dask's default,
    # to return it after every operation, makes training take up to twice as long.
    with ExitStack() as stack:
        stack.enter_context(
            dask.config.set(
                {
                    f"distributed.nanny.pre-spawn-environ.{TRIM}": None,
                    "distributed.deploy.lost-worker-timeout": START_SECONDS,
                }
            )
        )
        # A cluster that is interrupted while it starts cannot be closed properly.
        with interruption.held_back(patient=False):
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=LOOPBACK,
                    scheduler_kwargs={"allowed_failures": ALLOWED_FAILURES},
                    silence_logs=logging.ERROR,
                )
            )
            client = stack.enter_context(Client(cluster))
            client.register_plugin(_Uninterrupted())
        ended = Event()
        watch = Thread(target=_watch, args=(cluster, count, ended), daemon=True)
        watch.start()
        try:
            yield client
        finally:
            ended.set()
            watch.join(CHECK_SECONDS)


def _watch(cluster: LocalCluster, count: int, ended: Event) -> None:
    dead: set[object] = set()
    while not ended.wait(CHECK_SECONDS):
        with suppress(OSError, RuntimeError):  # it is closing, or the next check tries again
            dead = cluster.sync(_restored, cluster, count, dead)


async def _restored(cluster: LocalCluster, count: int, dead: set[object]) -> set[object]:
    """Replace workers in `dead` that still have no process; return those without one now."""
    gone = {name for name, nanny in cluster.workers.items() if not nanny.is_alive()}
    for name in gone & dead:
        nanny = cluster.workers.pop(name)
        with suppress(OSError, RuntimeError):
            await asyncio.wait_for(nanny.close(), CONNECT_SECONDS)
    cluster.scale(count)
    return gone - dead


@contextmanager
def workers_of(address: str) -> Iterator[Client]:
    """Connect to the Dask scheduler at `address`; its workers may come and go.

    How many workers may die during a task is the scheduler's own setting: more than on one's own
    machine where workers are lent for some hours only (see docs/many_machines.md).

    Raises:
        ValueError: if no scheduler answers there, or if the scheduler or a worker does not have
            this version of this library.
    """
    try:
        kind = asyncio.run(asyncio.wait_for(_kind(address), CONNECT_SECONDS))
        if kind != "Scheduler":
            raise ValueError(f"that is a {kind}")
        client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # another kind of server may answer anything
        reason = str(error) or f"no answer within {CONNECT_SECONDS} seconds"
        raise ValueError(
            f"scheduler must be the address of a running Dask scheduler, got {address!r}: {reason}"
        ) from error
    with client:
        try:
            there = client.run_on_scheduler(_version)
        except Exception as error:
            there = f"none ({error})"
        if there != __version__:
            raise ValueError(
                f"scheduler and its workers must have version {__version__} of dnl, got {there} "
                f"at {address!r}"
            )
        _check_workers(client, set())
        yield client


async def _kind(address: str) -> str:
    async with rpc(address, timeout=CONNECT_SECONDS) as there:
        return str((await there.identity())["type"])


def _check_workers(client: Client, known: set[str]) -> set[str]:
    """The addresses of the workers; those that are not `known` are asked for their version.

    Raises:
        ValueError: if a worker has another version of this library, or none.
    """
    present = set(client.scheduler_info(n_workers=-1)["workers"])
    new = sorted(present - known)
    answers = client.run(_version, workers=new, on_error="return") if new else {}
    for address, answer in answers.items():
        if isinstance(answer, OSError):  # it has left in the meantime
            present.discard(address)
        elif answer != __version__:
            there = f"none ({answer})" if isinstance(answer, BaseException) else answer
            raise ValueError(
                f"scheduler and its workers must have version {__version__} of dnl, got {there} "
                f"at the worker {address!r}: finished rows are kept"
            )
    return present


def on_workers(
    client: Client, tasks: Sequence[Task], stages: Stages, make_game: MakeGame, report: Report
) -> Iterator[tuple[Task, list[Row]]]:
    """Compute tasks on workers; yield each with its rows, in the order in which they finish.

    A task whose workers died too often has rows of status "error", which a resumed run computes.
    `report` is never called: it reports tasks that run in this process.

    Raises:
        OSError: if the connection to the scheduler, or every worker of this machine, is lost.
        ValueError: if a worker cannot load the tasks.
    """
    running: dict[Future[list[Row]], Task] = {}
    finished: SimpleQueue[Future[list[Row]]] = SimpleQueue()
    for games, same in groupby(tasks, key=lambda task: task.games):
        # pure=False gives the task a unique name, so that it never takes a result of another run.
        # No retries: `compute` turns exceptions into rows, and they would be raised again.
        prepared = client.submit(_prepare, games, stages, make_game, pure=False)
        for task in same:
            running[client.submit(_compute, task, prepared, stages, pure=False)] = task
    for future in running:
        future.add_done_callback(finished.put)
    workers = _Workers(client)
    while running:
        interruption.check()
        try:
            future = finished.get(timeout=CHECK_SECONDS)
        except Empty:
            workers.look()
            continue
        task = running.pop(future)  # frees the scheduler's copy of the result, too
        if future.cancelled():
            raise OSError(
                "the scheduler was lost, or cannot load the tasks: finished rows are kept, "
                "--resume goes on there"
            )
        error = future.exception()
        if isinstance(error, KilledWorker):
            yield task, [Failure.of(error).row(key, stages) for key in task.keys]
        elif error is not None:  # `prepare` and `compute` raise no exceptions
            raise ValueError(
                f"workers must be able to load the tasks, got {type(error).__name__}: {error}: "
                "finished rows are kept"
            ) from error
        else:
            yield task, future.result()


class _Workers:
    """Checks the workers of a run while no task finishes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.known: set[str] = set()
        self.missed: float | None = None  # since when there have been no workers

    def look(self) -> None:
        """Check that there are workers, and that they have this version of the library.

        Raises:
            OSError: if this machine had no worker for `START_SECONDS`; on another scheduler, the
                run waits for workers.
            ValueError: as `_check_workers`.
        """
        try:
            self.known = _check_workers(self.client, self.known)
        except OSError:
            return  # if the scheduler does not return, futures are cancelled
        if self.known:
            self.missed = None
            return
        own = self.client.cluster is not None
        if self.missed is None:
            self.missed = time.monotonic()
            if not own:
                print("no worker at the scheduler: waiting for one", file=sys.stderr)
        elif own and time.monotonic() - self.missed > START_SECONDS:
            raise OSError(
                f"no worker came back within {START_SECONDS:.0f} seconds: finished rows are kept, "
                "--resume goes on there"
            )


class _Uninterrupted(WorkerPlugin):
    """Ignore Ctrl-C, which a terminal sends to all processes: the main process handles it.

    When the command ends, workers do not log that their connections close either.
    """

    def setup(self, worker: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in ("distributed.worker", "distributed.core", "tornado.application"):
            logging.getLogger(name).addFilter(_is_no_farewell)


def _is_no_farewell(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], CommClosedError)


def _version() -> str:
    import dnl  # in the process of the scheduler or worker

    return dnl.__version__


@contextmanager
def _alone() -> Iterator[None]:
    """Run one task at a time, on one thread, however many threads the worker has.

    Tasks must not overlap in a process: initialisation sets the seed of the whole process.
    """
    with _LOCK:
        torch.set_num_threads(1)
        yield


def _prepare(games: Sequence[Key], stages: Stages, make_game: MakeGame) -> list[Baseline | Failure]:
    with _alone():
        return prepare(games, stages, make_game)


def _compute(task: Task, prepared: Sequence[Baseline | Failure], stages: Stages) -> list[Row]:
    with _alone():
        return compute(task, prepared, stages)
