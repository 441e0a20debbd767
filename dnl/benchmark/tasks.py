"""The tasks of a run: which games are fitted together.

In single precision the other games of a fit change a game's last digits. So the settings of a run
alone decide which games are fitted together, and a task is computed as a whole. A run that is
interrupted and resumed, here or on many machines, thus writes the same table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dnl.benchmark.evaluation import Stages
from dnl.runtime.memory import SAMPLE_BYTES
from dnl.runtime.tables import Key
from dnl.surrogates.fitted import DTYPES
from dnl.surrogates.registry import make_surrogate, network_shape, parameter_count

# Games of one task: those of one (N, M, S) in the paper's grid. More should keep a GPU busier (not
# measured), but not a core: a game takes as long among 25 as among 5. And an interruption loses up
# to one task: with 25 games and the paper's budget, half an hour (N = 2) to over an hour (N = 4) of
# DNL on one core. The longest task should fit into the hours for which a machine is lent.
MOST_GAMES = 25


@dataclass(frozen=True)
class Task:
    """One surrogate for some games: rows that are computed together and written at once.

    Attributes:
        games: keys of the rows without the surrogate. They differ in instance and number of
            actions only.
        surrogate: name of the networks.
    """

    games: tuple[Key, ...]
    surrogate: str

    @property
    def keys(self) -> list[Key]:
        """The keys of the rows."""
        return [(*game, self.surrogate) for game in self.games]

    def __str__(self) -> str:
        law, n, m, s, _, _ = self.games[0]
        actions = "/".join(str(a) for a in dict.fromkeys(game[4] for game in self.games))
        return f"{law} N={n} ({m},{s},{actions}) {self.surrogate}"


def tasks_of(order: Sequence[Key], stages: Stages) -> list[Task]:
    """The tasks of a run; those of the same games follow each other.

    Games of one law are fitted together if every surrogate has networks of one shape for them.
    What the surrogates of a game share is then computed once.

    Args:
        order: keys of all rows: all games times all surrogates.
        stages: settings; samples and their precision decide how many games are fitted together.
    """
    surrogates = tuple(dict.fromkeys(key[6] for key in order))
    entry = DTYPES[stages.fit.dtype].itemsize
    if any(stages.fit.training(name).settle for name in surrogates):
        entry += 8  # fits of exact pieces also hold the samples in double precision
    alike: dict[object, dict[Key, None]] = {}
    for law, *shape, instance, _ in order:
        networks = (network_shape(x, tuple(shape), stages.fit.architecture) for x in surrogates)
        alike.setdefault((law, *networks), {})[(law, *shape, instance)] = None
    tasks = []
    for group in alike.values():
        games = list(group)
        _, n, m, s, _, _ = games[0]
        together = max(1, min(MOST_GAMES, SAMPLE_BYTES // (entry * stages.fit.samples * n * m * s)))
        for start in range(0, len(games), together):
            part = tuple(games[start : start + together])
            tasks += [Task(part, surrogate) for surrogate in surrogates]
    return tasks


def work(task: Task, stages: Stages) -> float:
    """A rough measure of the time that a task takes, for the progress display only."""
    _, n, m, s, a, _ = task.games[0]
    size = parameter_count(make_surrogate(task.surrogate, (n, m, s, a), stages.fit.architecture))
    passes = n * stages.fit.samples * stages.fit.epochs
    return float(len(task.games) * passes * (size + 30_000))
