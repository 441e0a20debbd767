"""Many workers, some of which die: the table is that of one process."""

import functools
import logging
import operator
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dnl
from dnl import bench
from dnl.bench import main
from dnl.benchmark import runner
from dnl.benchmark.plan import game_of
from dnl.benchmark.rows import ResultFolder
from dnl.benchmark.tasks import Task
from dnl.reporting import benchmark_figures
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from games import PersuasionGame
from tests.benchmark.test_bench import GROUPS, launch, table

pytest.importorskip("distributed")

import psutil
from distributed import Client, LocalCluster, Nanny
from distributed.comm.core import CommClosedError

from dnl.benchmark import cluster

Scheduler = tuple[Client, str]


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of one process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark_figures, "draw", lambda folder: [])
        assert cli.run(main, "dnl.bench", [*GROUPS, "--quiet", "--out", str(folder)]) == 0
    return table(folder)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Scheduler]:
    """A scheduler with two workers, and its address."""
    with cluster.local_workers(2) as client:
        yield client, client.scheduler_info()["address"]


def deadly(mark: Path, again: bool) -> Callable[[Key], PersuasionGame]:
    """A `game_of` that kills its own process, at one game: always, or the first time only."""

    def kill(key: Key) -> PersuasionGame:
        if key[2] == 3 and key[5] == 1 and (again or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return game_of(key)

    return kill


@pytest.mark.whole_run
def test_two_workers_of_which_one_is_killed(
    alone: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, folder = tmp_path / "killed", tmp_path / "run"
    monkeypatch.setattr(bench, "game_of", deadly(mark, again=False))
    line = [*GROUPS, "--workers", "2", "--quiet", "--out", str(folder)]
    assert cli.run(main, "dnl.bench", line) == 0
    assert mark.exists()
    pd.testing.assert_frame_equal(table(folder), alone)


@pytest.mark.whole_run
def test_rows_as_they_finish(
    alone: pd.DataFrame,
    scheduler: Scheduler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    written = []
    add = ResultFolder.add

    def counted(folder: ResultFolder, rows: list[Row]) -> None:
        add(folder, rows)
        written.append(len(table(folder.path)))

    monkeypatch.setattr(ResultFolder, "add", counted)
    line = [*GROUPS, "--scheduler", scheduler[1], "--out", str(tmp_path)]
    assert cli.run(main, "dnl.bench", line) == 0
    assert written == [2, 4, 6, 8]
    pd.testing.assert_frame_equal(table(tmp_path), alone)
    assert "4/4 games, 8/8 rows" in capfd.readouterr().err


@pytest.mark.whole_run
def test_a_worker_of_several_threads_does_one_task_at_a_time(
    alone: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[object] = []

    def watched(task: Task, *rest: Any) -> list[Row]:
        assert not running
        running.append(task)
        time.sleep(0.2)
        rows = runner.compute(task, *rest)
        running.remove(task)
        return rows

    monkeypatch.setattr(cluster, "compute", watched)
    with LocalCluster(
        n_workers=1, threads_per_worker=4, processes=False, dashboard_address=":0"
    ) as threads:
        line = [*GROUPS, "--quiet", "--scheduler", threads.scheduler_address]
        assert cli.run(main, "dnl.bench", [*line, "--out", str(tmp_path)]) == 0
    pd.testing.assert_frame_equal(table(tmp_path), alone)


@pytest.mark.whole_run
def test_interrupted_and_resumed_elsewhere(
    alone: pd.DataFrame,
    scheduler: Scheduler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = [*GROUPS, "--quiet", "--out", str(tmp_path), "--scheduler", scheduler[1]]
    monkeypatch.setattr(sys, "argv", ["bench.py", *line])
    with monkeypatch.context() as patch:
        add = ResultFolder.add

        def stopped(folder: ResultFolder, rows: list[Row]) -> None:
            if folder.rows:
                raise KeyboardInterrupt
            add(folder, rows)

        patch.setattr(ResultFolder, "add", stopped)
        assert cli.run(main, "dnl.bench") == 130
    err = capfd.readouterr().err
    assert "Interrupted: 2 of 8 rows are finished" in err
    assert re.search(r"Go on with: python -m dnl.bench .* --scheduler \S+ --resume\n", err)
    assert len(table(tmp_path)) == 2
    line = [*GROUPS, "--quiet", "--out", str(tmp_path), "--resume"]
    assert cli.run(main, "dnl.bench", line) == 0
    pd.testing.assert_frame_equal(table(tmp_path), alone)


@pytest.mark.whole_run
def test_a_task_that_kills_its_workers_is_rows_and_the_run_goes_on(
    alone: pd.DataFrame, scheduler: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, address = scheduler

    def allow(failures: int, dask_scheduler: object = None) -> None:
        dask_scheduler.allowed_failures = failures  # type: ignore[attr-defined]

    line = [*GROUPS, "--quiet", "--out", str(tmp_path), "--scheduler", address]
    client.run_on_scheduler(functools.partial(allow, 1))
    with monkeypatch.context() as patch:
        patch.setattr(bench, "game_of", deadly(tmp_path / "mark", again=True))
        assert cli.run(main, "dnl.bench", line) == 1
    client.run_on_scheduler(functools.partial(allow, cluster.ALLOWED_FAILURES))
    rows = table(tmp_path)
    assert len(rows) == 8
    bad = rows["status"] == "error"
    assert bad[rows["n_signals"] == 3].all()
    assert not bad.all()
    assert rows["error"][bad].str.startswith("KilledWorker: Attempted to run task").all()
    assert (tmp_path / "errors.log").read_text().count("KilledWorker: ") == bad.sum()
    assert cli.run(main, "dnl.bench", [*line, "--resume"]) == 0
    pd.testing.assert_frame_equal(table(tmp_path), alone)


@pytest.mark.whole_run
def test_a_worker_of_this_machine_keeps_memory_for_its_next_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What Dask sets, 64 KiB, would have it given back and asked for all the time."""
    monkeypatch.delenv(cluster.TRIM, raising=False)
    with cluster.local_workers(1) as client:
        assert list(client.run(os.environ.get, cluster.TRIM).values()) == [None]


@pytest.mark.whole_run
def test_a_worker_that_dask_gives_up_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # Dask gives a worker up whose replacement is not there by then.
    monkeypatch.setattr(cluster, "START_SECONDS", 0.05)
    with cluster.local_workers(1) as client:
        assert client.cluster is not None
        (nanny,) = client.cluster.workers.values()
        os.kill(nanny.pid, signal.SIGKILL)
        limit = time.monotonic() + 60
        while nanny.status.name != "closed":
            assert time.monotonic() < limit
            time.sleep(0.05)
        assert client.submit(int, "3", pure=False).result(timeout=60) == 3


@pytest.mark.whole_run
def test_a_run_whose_workers_stay_away_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "START_SECONDS", 0.1)
    monkeypatch.setattr(cluster, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(cluster, "_watch", lambda *_: None)
    with cluster.local_workers(1) as client:
        assert client.cluster is not None
        client.cluster.scale(0)
        while client.scheduler_info()["workers"]:
            time.sleep(0.05)
        monkeypatch.setattr(bench, "place_of", lambda *_: nullcontext(on_these(client)))
        assert cli.run(main, "dnl.bench", [*GROUPS, "--quiet", "--out", str(tmp_path)]) == 2
    assert capfd.readouterr().err == (
        "dnl.bench: error: no worker came back within 0 seconds: finished rows are kept, --resume "
        "goes on there\n"
    )


def on_these(client: Client) -> Any:
    return functools.partial(cluster.on_workers, client)


@pytest.mark.whole_run
def test_an_interruption_while_workers_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    start = Nanny.start_unsafe

    async def struck(nanny: Nanny) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return await start(nanny)

    monkeypatch.setattr(Nanny, "start_unsafe", struck)
    line = [*GROUPS, "--workers", "1", "--out", str(tmp_path / "run")]
    assert cli.run(main, "dnl.bench", line) == 143
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("dnl.bench: terminated. ")
    assert list(tmp_path.iterdir()) == []


def complain() -> None:
    for error in (CommClosedError("gone"), ZeroDivisionError("a fault")):
        try:
            raise error
        except Exception:
            logging.getLogger("distributed.worker").error("heartbeat", exc_info=True)


@pytest.mark.whole_run
def test_workers_complain_of_faults_and_not_of_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with cluster.local_workers(1) as client:
        client.run(complain)
    err = capfd.readouterr().err
    assert "ZeroDivisionError: a fault" in err
    assert "gone" not in err


@pytest.mark.whole_run
def test_nobody_else_on_the_network_is_answered(scheduler: Scheduler) -> None:
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1"


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of what is no scheduler: it answers what the parameter says, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # closed
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    if request.param:
                        connection.recv(1000)
                        connection.sendall(request.param)
                        connection.close()

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    "listener", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail\r\n"], indirect=True
)
def test_what_is_no_scheduler_is_refused(
    listener: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    line = [*GROUPS, "--out", str(tmp_path / "run"), "--scheduler", listener]
    assert cli.run(main, "dnl.bench", line) == 2
    out, err = capfd.readouterr()
    assert "scheduler must be the address of a running Dask scheduler, got '" in err
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole_run
def test_a_worker_in_the_place_of_a_scheduler_is_refused(
    scheduler: Scheduler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = next(iter(scheduler[0].scheduler_info()["workers"]))
    line = [*GROUPS, "--out", str(tmp_path / "run"), "--scheduler", worker]
    assert cli.run(main, "dnl.bench", line) == 2
    assert f"got '{worker}': that is a Worker\n" in capfd.readouterr().err


def another_version() -> None:
    dnl.__version__ = "0.0"


def same_version(version: str) -> None:
    dnl.__version__ = version


def without_library() -> None:
    sys.modules["dnl.benchmark.cluster"] = None  # type: ignore[assignment]


def with_library() -> None:
    del sys.modules["dnl.benchmark.cluster"]


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("before", "after", "got"),
    [
        (another_version, functools.partial(same_version, dnl.__version__), "got 0.0 at the"),
        (without_library, with_library, "got none (ModuleNotFoundError("),
    ],
)
def test_a_worker_without_this_version_is_refused_before_any_work(
    before: Callable[[], None],
    after: Callable[[], None],
    got: str,
    scheduler: Scheduler,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    client, address = scheduler
    one = next(iter(client.scheduler_info()["workers"]))
    client.run(before, workers=[one])
    try:
        line = [*GROUPS, "--out", str(tmp_path / "run"), "--scheduler", address]
        assert cli.run(main, "dnl.bench", line) == 2
    finally:
        client.run(after, workers=[one])
    out, err = capfd.readouterr()
    assert f"must have version {dnl.__version__} of dnl, {got}" in err
    assert one in err
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


class Unloadable:
    """A `game_of` that cannot be loaded anywhere."""

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.truediv, (1, 0)


@pytest.mark.whole_run
def test_tasks_that_cannot_be_loaded_end_the_run(
    scheduler: Scheduler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "game_of", Unloadable())
    line = [*GROUPS, "--quiet", "--out", str(tmp_path), "--scheduler", scheduler[1]]
    assert cli.run(main, "dnl.bench", line) == 2
    assert "cannot load the tasks: finished rows are kept" in capfd.readouterr().err


@pytest.mark.parametrize("address", ["nonsense", "foo://here:1", "tcp://127.0.0.1:1"])
def test_a_bad_address_is_refused_before_any_work(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    line = [*GROUPS, "--out", str(tmp_path / "run"), "--scheduler", address]
    assert cli.run(main, "dnl.bench", line) == 2
    out, err = capfd.readouterr()
    message = f"scheduler must be the address of a running Dask scheduler, got '{address}': "
    assert err.startswith(f"dnl.bench: error: {message}")
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole_run
def test_a_scheduler_of_another_version_is_refused_before_any_work(
    scheduler: Scheduler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster, "__version__", "9.9")
    line = [*GROUPS, "--out", str(tmp_path / "run"), "--scheduler", scheduler[1]]
    assert cli.run(main, "dnl.bench", line) == 2
    message = f"scheduler and its workers must have version 9.9 of dnl, got {dnl.__version__} at "
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [["--workers", "2"], ["--scheduler", "tcp://127.0.0.1:1"]])
def test_without_dask_the_extra_is_named(
    option: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "dnl.benchmark.cluster")
    monkeypatch.delattr("dnl.benchmark.cluster")
    assert cli.run(main, "dnl.bench", [*GROUPS, "--out", str(tmp_path / "run"), *option]) == 2
    out, err = capfd.readouterr()
    assert "--workers and --scheduler need the extra 'cluster': pip install 'dnl[cluster]'" in err
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole_run
def test_dask_is_not_loaded_unless_asked_for(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom dnl import bench\nfrom dnl.runtime import cli\n"
        "code = cli.run(bench.main, 'dnl.bench')\n"
        "print(code, sorted({'dask', 'distributed'} & set(sys.modules)))"
    )
    tiny = [*GROUPS, "--surrogates", "relu", "--quiet"]
    for option in ("--instances", "--signals"):
        tiny[tiny.index(option) + 1] = "1" if option == "--instances" else "2"
    process = launch([*tiny, "--out", str(tmp_path)], ["-c", program])
    out, err = process.communicate(timeout=300)
    assert out == "0 []\n", err
