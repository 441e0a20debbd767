"""The schedule of a run: which games are fitted together, decided by the run's settings alone.

In single precision a game's company changes its last digits. So the company is fixed: no machine
and no interruption has a say in it, and a task is computed whole or not at all. A run that was cut
off and taken up again, here or on many machines, then writes what it would have written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from dnl.pipeline import Stages
from dnl.results import Key
from dnl.surrogates import make_surrogate, parameter_count

SAMPLE_BYTES = 2**30  # of training profiles that are fitted together


@dataclass(frozen=True)
class Task:
    """One surrogate on games of one shape: rows that are computed together and written at once.

    Attributes:
        games: keys of the games: those of their rows, less the surrogate.
        surrogate: name of the networks.
    """

    games: tuple[Key, ...]
    surrogate: str

    @property
    def keys(self) -> list[Key]:
        """Keys of the rows."""
        return [(*game, self.surrogate) for game in self.games]

    def __str__(self) -> str:
        law, n, m, s, a, _ = self.games[0]
        return f"{law} N={n} ({m},{s},{a}) {self.surrogate}"


def tasks_of(order: Sequence[Key], stages: Stages) -> list[Task]:
    """The tasks of a run, those of the same games one after another.

    Args:
        order: keys of all rows; those of one shape stand together and are all of its games times
            all surrogates.
        stages: settings; the number of samples decides how many games are fitted together.
    """
    tasks = []
    for (_, n, m, s, _), group in groupby(order, key=lambda key: key[:5]):
        keys = list(group)
        games = list(dict.fromkeys(key[:6] for key in keys))
        surrogates = dict.fromkeys(key[6] for key in keys)
        together = max(1, SAMPLE_BYTES // (8 * stages.fit.samples * n * m * s))
        for start in range(0, len(games), together):
            part = tuple(games[start : start + together])
            tasks += [Task(part, surrogate) for surrogate in surrogates]
    return tasks


def work(task: Task, stages: Stages) -> float:
    """Roughly proportional to the time that a task takes: for the progress display only."""
    _, n, m, s, a, _ = task.games[0]
    size = parameter_count(make_surrogate(task.surrogate, (n, m, s, a), stages.fit.architecture))
    passes = n * stages.fit.samples * stages.fit.epochs
    return float(len(task.games) * passes * (size + 30_000))
