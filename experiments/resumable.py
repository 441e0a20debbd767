"""A table computed row by row, each kept as soon as it is there; a second run computes the rest."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from dnl.results import (
    RUN,
    make_writable,
    read_table,
    record_continuation,
    write_record,
    write_table,
)

Key = tuple[Any, ...]
Row = dict[str, Any]


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
) -> pd.DataFrame:
    """All rows in `out/table`, sorted by their keys, the missing ones among `keys` computed first.

    Args:
        out: folder; `run.json` in it records command, commit and hardware of all runs.
        names: columns that hold a key.
        keys: rows wanted.
        row_of: `row_of(key, *arguments)`, one row or several; a module's function where there are
            several workers.
        configuration: what all rows of one folder must have been computed with.
        arguments: passed on.
        workers: processes, one thread each; 1 computes here.
        quiet: show no progress bar.
        table: name of the file.
        within: columns by which the rows of one key are sorted.

    Raises:
        ValueError: if the folder holds rows of another configuration.
        OSError: if it cannot be written.
    """
    make_writable(out)
    path = out / table
    rows: list[Any] = read_table(path).to_dict("records") if path.exists() else []
    done = {tuple(row[name] for name in names) for row in rows}
    if done:
        there = json.loads((out / RUN).read_text())["configuration"]
        if any(there.get(name) != value for name, value in configuration.items()):
            raise ValueError(
                f"out holds games of {there}, got {configuration} and out={str(out)!r}: "
                "choose another folder"
            )
    missing = [key for key in dict.fromkeys(keys) if key not in done]
    if not done:
        write_record(out, configuration)
    elif missing:
        record_continuation(out)
    found = _computed(missing, row_of, arguments, workers)
    order = [*names, *within]
    for new in tqdm(found, total=len(missing), disable=quiet):
        rows += new if isinstance(new, list) else [new]
        write_table(pd.DataFrame(rows).sort_values(order), path)
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def _computed(
    keys: Iterable[Key],
    row_of: Callable[..., Row | list[Row]],
    arguments: tuple[Any, ...],
    workers: int,
) -> Iterator[Row | list[Row]]:
    if workers == 1:
        yield from (row_of(key, *arguments) for key in keys)
        return
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(row_of, key, *arguments) for key in keys]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
