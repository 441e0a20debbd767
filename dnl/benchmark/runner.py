"""Compute the missing rows of a results folder task by task, and write them as they finish.

`prepare` and `compute` do all the work of a run. They run in this process (`here`) or wherever the
`place` that is passed to `run` calls them.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NoReturn, TypeVar

from dnl.benchmark.evaluation import Baseline, Stages, baselines, evaluate
from dnl.benchmark.rows import KEYS, TRACEBACK, ResultFolder
from dnl.benchmark.tasks import Task, tasks_of, work
from dnl.runtime import interruption, progress
from dnl.runtime.devices import pick_device
from dnl.runtime.records import Row, provenance
from dnl.runtime.tables import Key
from dnl.surrogates.sampling import Remembered, Sample, sample
from games import PersuasionGame

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")
R = TypeVar("R")
MakeGame = Callable[[Key], PersuasionGame]
Report = Callable[[Task, int, int], None]  # task, epochs done, epochs in all
Place = Callable[[Sequence[Task], Stages, MakeGame, Report], Iterator[tuple[Task, list[Row]]]]


@dataclass(frozen=True)
class Failure:
    """Why a game failed.

    Attributes:
        error: type and message in one line, for the table.
        traceback: for the log.
    """

    error: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Describe an exception."""
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return cls(line, "".join(traceback.format_exception(error)))

    def row(self, key: Key, stages: Stages) -> Row:
        """The row of the game and surrogate `key`."""
        values = {"status": "error", "seed": stages.seed, "error": self.error}
        return dict(zip(KEYS, key, strict=True)) | values | {TRACEBACK: self.traceback}


def prepare(games: Sequence[Key], stages: Stages, make_game: MakeGame) -> list[Baseline | Failure]:
    """Compute what all surrogates of each game share; a game that fails has a `Failure`."""
    return _attempt(lambda keys: baselines([make_game(key) for key in keys], stages), games)


def compute(
    task: Task,
    prepared: Sequence[Baseline | Failure],
    stages: Stages,
    on_epoch: Callable[[int, int], None] | None = None,
    samples: Sample = sample,
) -> list[Row]:
    """The rows of a task, in order; a game that fails has a row of status "error".

    Args:
        task: what to compute.
        prepared: the results of `prepare` for the games of the task.
        stages: settings of all stages.
        on_epoch: called after each epoch of a fit with (epochs done, epochs in all).
        samples: passed to `evaluate`.
    """
    good = [b for b in prepared if isinstance(b, Baseline)]

    def rows_of(part: Sequence[Baseline]) -> list[Row]:
        told = on_epoch if len(part) == len(good) else None  # do not report repetitions
        found = evaluate(part, task.surrogate, stages, told, samples)
        return [{"status": "ok"} | row for row in found]

    results = iter(_attempt(rows_of, good))
    origin = provenance(pick_device(stages.fit.device))
    rows = []
    for key, b in zip(task.keys, prepared, strict=True):
        result = next(results) if isinstance(b, Baseline) else b
        if isinstance(result, Failure):
            result = result.row(key, stages)
        rows.append(dict(zip(KEYS, key, strict=True)) | result | origin)
    return rows


def here(
    tasks: Sequence[Task], stages: Stages, make_game: MakeGame, report: Report
) -> Iterator[tuple[Task, list[Row]]]:
    """Compute tasks one after another in this process; yield each with its rows."""
    for games, same in groupby(tasks, key=lambda task: task.games):
        prepared, samples = None, Remembered()  # starts and samples of these games only
        for task in same:
            report(task, 0, stages.fit.epochs)
            prepared = prepared or prepare(games, stages, make_game)
            yield task, compute(task, prepared, stages, partial(report, task), samples)


def run(
    folder: ResultFolder,
    stages: Stages,
    make_game: MakeGame,
    quiet: bool = False,
    place: Place = here,
) -> None:
    """Compute the missing rows of `folder`: games with networks of one shape at once.

    Args:
        folder: of the rows. A task with a missing row is computed as a whole. A game that fails
            gets a row of status "error" with the error's text, and the run goes on.
        stages: settings of all stages.
        make_game: maps a key without its last entry, the surrogate, to the game.
        quiet: show no progress.
        place: where the tasks are computed.
    """
    tasks = [
        task
        for task in tasks_of(folder.order, stages)
        if any(key not in folder.rows for key in task.keys)
    ]
    works = {task: work(task, stages) for task in tasks}
    total, finished, began = sum(works.values()), 0.0, time.monotonic()
    with progress.bar(
        quiet,
        total=total,
        smoothing=0,  # estimate the rest by the mean rate: the rate of the last task is misleading
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left",
    ) as bar:
        bar.set_description_str(_progress(folder))

        def report(task: Task, done: int, epochs: int) -> None:
            interruption.check()
            bar.set_description_str(f"{_progress(folder)} | {task}")
            _advance(bar, finished + works[task] * done / epochs)

        for task, rows in place(tasks, stages, make_game, report):
            folder.add(rows)
            report(task, 1, 1)
            finished += works[task]
            seconds = time.monotonic() - began
            left = seconds * (total - finished) / finished
            progress.line(
                f"{_progress(folder)} | {task} | {progress.duration(seconds)} elapsed, "
                f"{progress.duration(left)} left",
                quiet,
            )
        bar.set_description_str(_progress(folder))


def _progress(folder: ResultFolder) -> str:
    games = {key[:6] for key in folder.order}
    left = {key[:6] for key in folder.missing}
    done = len(folder.order) - len(folder.missing)
    return f"{len(games) - len(left)}/{len(games)} games, {done}/{len(folder.order)} rows"


def _advance(bar: "tqdm[NoReturn]", to: float) -> None:
    """Move the bar forward; a fit that is repeated in parts does not move it back."""
    bar.update(max(0.0, to - bar.n))


def _attempt(
    function: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]
) -> list[R | Failure]:
    """Apply `function` to all items at once or, if that fails, one by one.

    Each item has a result or a `Failure`: one failed game must not end a run of hours.
    """
    if not items:
        return []
    try:
        return [*function(items)]
    except Exception as error:
        interruption.check()  # an import that Ctrl-C interrupts may fail with an ImportError
        if len(items) == 1:
            return [Failure.of(error)]
    # Outside the except block: the exception keeps tensors alive.
    return [result for item in items for result in _attempt(function, [item])]
