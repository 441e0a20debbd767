"""The tasks of a run on many processes or machines, through Dask distributed.

This is the only file that imports Dask. What is sent to a worker is `prepare` and `compute` of
`dnl.benchmark.runner`, so that a row is the same wherever it was computed.
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
CHECK_SECONDS = 2.0  # between two looks at the workers
START_SECONDS = (
    600.0  # a worker that takes longer to start is started anew; without any, a run ends
)
LOOPBACK = "127.0.0.1:0"  # of this machine only, any port: there may be another run
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
    # Dask gives up a worker that is not back after "lost-worker-timeout", and one that is killed
    # while it starts; `_restored` brings it back.
    # No limit of memory, as there is none without workers: Dask's own would pause and kill a worker
    # at its share of the machine. No warnings: those about a worker that was replaced, or stopped
    # in its work by Ctrl-C, ask nobody to do anything. Nor does a worker give its memory back after
    # every operation, as Dask would have it: training would take up to twice as long.
    with ExitStack() as stack:
        stack.enter_context(
            dask.config.set(
                {
                    f"distributed.nanny.pre-spawn-environ.{TRIM}": None,
                    "distributed.deploy.lost-worker-timeout": START_SECONDS,
                }
            )
        )
        # A cluster that is interrupted while it starts cannot be closed in order.
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
        with suppress(OSError, RuntimeError):  # it is being closed, or tried again
            dead = cluster.sync(_restored, cluster, count, dead)


async def _restored(cluster: LocalCluster, count: int, dead: set[object]) -> set[object]:
    """Replace the workers that are still without a process, and return those that are now."""
    gone = {name for name, nanny in cluster.workers.items() if not nanny.is_alive()}
    for name in gone & dead:
        nanny = cluster.workers.pop(name)
        with suppress(OSError, RuntimeError):
            await asyncio.wait_for(nanny.close(), CONNECT_SECONDS)
    cluster.scale(count)
    return gone - dead


@contextmanager
def workers_of(address: str) -> Iterator[Client]:
    """The workers, now and later, of the Dask scheduler at `address`.

    How many workers may die with a task is the scheduler's own setting: where they are lent for
    some hours only, more than on one's own machine (see docs/many_machines.md).

    Raises:
        ValueError: if none answers there, or one without this version of this library, or one with
            such workers.
    """
    try:
        kind = asyncio.run(asyncio.wait_for(_kind(address), CONNECT_SECONDS))
        if kind != "Scheduler":
            raise ValueError(f"that is a {kind}")
        client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # what is no scheduler may answer anything
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
    """The addresses of the workers, of which those not `known` are asked for their version.

    Raises:
        ValueError: if one has another version of this library, or none.
    """
    present = set(client.scheduler_info(n_workers=-1)["workers"])
    new = sorted(present - known)
    answers = client.run(_version, workers=new, on_error="return") if new else {}
    for address, answer in answers.items():
        if isinstance(answer, OSError):  # it has gone meanwhile
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
    """Tasks and their rows, in the order in which workers finish them.

    A task whose workers died too often has rows of status "error", which a resumed run computes.
    `report` is for what is under way in this process, where nothing is.

    Raises:
        OSError: if the scheduler is lost, or all of this machine's workers are.
        ValueError: if a worker cannot load the tasks.
    """
    running: dict[Future[list[Row]], Task] = {}
    finished: SimpleQueue[Future[list[Row]]] = SimpleQueue()
    for games, same in groupby(tasks, key=lambda task: task.games):
        # pure=False: a name of its own, so that nobody else's result on the scheduler is taken for
        # it. No retries: `compute` makes a row of what raises, and it would raise again.
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
        task = running.pop(future)  # and with it the scheduler's copy of the result
        if future.cancelled():
            raise OSError(
                "the scheduler was lost, or cannot load the tasks: finished rows are kept, "
                "--resume goes on there"
            )
        error = future.exception()
        if isinstance(error, KilledWorker):
            yield task, [Failure.of(error).row(key, stages) for key in task.keys]
        elif error is not None:  # `prepare` and `compute` raise none
            raise ValueError(
                f"workers must be able to load the tasks, got {type(error).__name__}: {error}: "
                "finished rows are kept"
            ) from error
        else:
            yield task, future.result()


class _Workers:
    """The workers of a run that goes on, looked at while nothing is finished."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.known: set[str] = set()
        self.missed: float | None = None  # since when there has been none

    def look(self) -> None:
        """See that there are workers, and that they have this version.

        Raises:
            OSError: if the scheduler is lost, or there was no worker for `START_SECONDS` on this
                machine; somebody else's scheduler may be waited for.
            ValueError: as `_check_workers`.
        """
        try:
            self.known = _check_workers(self.client, self.known)
        except OSError:
            return  # futures are cancelled if it does not come back
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
    """Ctrl-C in a terminal reaches all of its processes: only the one that started them answers.

    Nor does a worker complain that the others have gone, when the command ends.
    """

    def setup(self, worker: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in ("distributed.worker", "distributed.core", "tornado.application"):
            logging.getLogger(name).addFilter(_is_no_farewell)


def _is_no_farewell(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], CommClosedError)


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


def _prepare(games: Sequence[Key], stages: Stages, make_game: MakeGame) -> list[Baseline | Failure]:
    with _alone():
        return prepare(games, stages, make_game)


def _compute(task: Task, prepared: Sequence[Baseline | Failure], stages: Stages) -> list[Row]:
    with _alone():
        return compute(task, prepared, stages)
