"""A table that is computed row by row and saved after each; a second run computes the rest."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import torch

from dnl.runtime import interruption, progress
from dnl.runtime.records import (
    Row,
    check_configuration,
    check_own,
    lock,
    make_writable,
    record_continuation,
    write_record,
)
from dnl.runtime.tables import Key, Table, read_rows


def table_of(
    out: Path,
    names: Sequence[str],
    keys: Sequence[Key],
    row_of: Callable[..., Row | list[Row]],
    configuration: Row,
    arguments: tuple[Any, ...] = (),
    workers: int = 1,
    quiet: bool = False,
    table: str = "games.csv",
    within: Sequence[str] = (),
    ordered: bool = False,
) -> pd.DataFrame:
    """Compute the missing rows of `out/table` among `keys`, and return all of its rows.

    Args:
        out: folder; its `run.json` records command, commit and hardware of all runs.
        names: columns that hold a key.
        keys: keys of the rows that are wanted.
        row_of: `row_of(key, *arguments)` is one row or several; with several workers it must be a
            function of a module.
        configuration: settings that all rows of the folder share.
        arguments: passed on to `row_of`.
        workers: number of processes with one thread each; 1 computes in this process.
        quiet: show no progress.
        table: name of the file.
        within: columns that distinguish the rows of one key.
        ordered: keep the order of `keys`, which are then all keys of the table (default: sort).

    Raises:
        ValueError: if the folder has rows of another configuration, or a run of another command.
        OSError: if it is not writable, or another process works in it.
    """
    make_writable(out)
    held = lock(out)
    try:
        check_own(out)
        rows = Table(
            out / table,
            [*names, *within],
            read_rows(out / table, names, keys),
            keys if ordered else None,
        )
        done = {key[: len(names)] for key in rows.rows}
        missing = [key for key in dict.fromkeys(keys) if key not in done]
        if not done:
            write_record(out, configuration)
        else:
            check_configuration(out, configuration)
            if missing:
                record_continuation(out)
        found, began = _computed(missing, row_of, arguments, workers), time.monotonic()
        with progress.bar(quiet, total=len(missing)) as bar:
            for count, new in enumerate(found, 1):
                rows.add(new if isinstance(new, list) else [new])
                interruption.check()
                bar.update()
                seconds = progress.duration(time.monotonic() - began)
                progress.line(f"{table}: {count}/{len(missing)}, {seconds} elapsed", quiet)
        return rows.frame()
    finally:
        held.release()


def _computed(
    keys: Iterable[Key],
    row_of: Callable[..., Row | list[Row]],
    arguments: tuple[Any, ...],
    workers: int,
) -> Iterator[Row | list[Row]]:
    if workers == 1:
        yield from (row_of(key, *arguments) for key in keys)
        return
    before = set(active_children())
    with ProcessPoolExecutor(workers, initializer=_begin_worker, initargs=(os.getpid(),)) as pool:
        futures = [pool.submit(row_of, key, *arguments) for key in keys]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # do not compute the other rows
            for worker in set(active_children()) - before:
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker(parent: int) -> None:
    """Use one thread, leave Ctrl-C to the parent, and end when the parent ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
