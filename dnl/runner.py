"""Compute the missing rows of a result folder, group by group, writing them as they finish."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NoReturn

from tqdm import tqdm

from dnl.devices import pick_device
from dnl.pipeline import Baseline, Stages, baseline, evaluate
from dnl.results import KEYS, Key, ResultFolder, Row, provenance
from dnl.surrogates import make_surrogate, parameter_count
from games import PersuasionGame

MakeGame = Callable[[Key], PersuasionGame]
SAMPLE_BYTES = 2**30  # of training profiles that are fitted together


def run(folder: ResultFolder, stages: Stages, make_game: MakeGame, quiet: bool = False) -> None:
    """Fill `folder`: same-shape games together, surrogate by surrogate.

    Args:
        folder: what is missing and where finished rows go. A game that fails becomes a row with
            status "error" and the error's text, and the run goes on.
        stages: settings of all stages.
        make_game: key -> game.
        quiet: no progress display.
    """
    origin = provenance(pick_device(stages.fit.device))
    missing = folder.missing
    total = len(folder.order)
    with tqdm(
        total=sum(_work(key, stages) for key in missing),
        disable=quiet,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left",
    ) as bar:
        for shape, group in groupby(missing, key=lambda key: key[:5]):  # law, N, M, S, A
            known: dict[Key, Baseline] = {}  # only one group's starts are held
            law, n, m, s, a = shape
            by_surrogate = _split(list(group))
            for surrogate, keys in _batches(by_surrogate, stages):
                bar.set_description_str(
                    f"{len(folder.rows)}/{total} rows | {law} N={n} ({m},{s},{a}) {surrogate}"
                )
                share, before = sum(_work(key, stages) for key in keys), bar.n

                report = partial(_advance, bar, before, share)
                for rows in _solve(keys, stages, make_game, known, report):
                    folder.add([row | origin for row in rows])
                bar.update(before + share - bar.n)
        bar.set_description_str(f"{len(folder.rows)}/{total} rows")


def _advance(bar: "tqdm[NoReturn]", before: float, share: float, done: int, epochs: int) -> None:
    bar.update(before + share * done / epochs - bar.n)


def _split(keys: Sequence[Key]) -> dict[str, list[Key]]:
    by_surrogate: dict[str, list[Key]] = {}
    for key in keys:
        by_surrogate.setdefault(key[6], []).append(key)
    return by_surrogate


def _batches(by_surrogate: dict[str, list[Key]], stages: Stages) -> Iterator[tuple[str, list[Key]]]:
    """The games of each surrogate, as many at a time as their samples fit the memory budget."""
    for surrogate, keys in by_surrogate.items():
        _, n, m, s, *_ = keys[0]
        together = max(1, SAMPLE_BYTES // (8 * stages.fit.samples * n * m * s))
        for start in range(0, len(keys), together):
            yield surrogate, keys[start : start + together]


def _work(key: Key, stages: Stages) -> float:
    """Roughly proportional to the time that a row takes: for the progress display only."""
    _, n, m, s, a, _, surrogate = key
    size = parameter_count(make_surrogate(surrogate, (n, m, s, a), stages.fit.architecture))
    return float(n * stages.fit.samples * stages.fit.epochs * (size + 30_000))


def _solve(
    keys: Sequence[Key],
    stages: Stages,
    make_game: MakeGame,
    known: dict[Key, Baseline],
    on_epoch: Callable[[int, int], None] | None,
) -> Iterator[list[Row]]:
    """Rows of same-shape games together, or one by one where that fails, to blame the right one."""
    try:
        for key in keys:
            if key[:6] not in known:
                known[key[:6]] = baseline(make_game(key), stages)
        baselines = [known[key[:6]] for key in keys]
        results = evaluate(baselines, keys[0][6], stages, on_epoch)
    except Exception as error:  # a failed game is a row, not the end of a run of hours
        if len(keys) > 1:
            for key in keys:
                yield from _solve([key], stages, make_game, known, None)
            return
        text = " ".join(f"{type(error).__name__}: {error}".split())
        named: Row = dict(zip(KEYS, keys[0], strict=True))
        yield [named | {"status": "error", "seed": stages.seed, "error": text}]
        return
    yield [
        dict(zip(KEYS, key, strict=True)) | {"status": "ok"} | result
        for key, result in zip(keys, results, strict=True)
    ]
