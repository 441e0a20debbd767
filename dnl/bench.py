"""The main job: `python -m dnl.bench --senders 2 4`.

Fits every surrogate to every game of a grid, searches equilibria on it, verifies them on the true
game and writes one table, figures and a summary.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dnl.benchmark.plan import BenchConfig, Plan, make_plan
from dnl.benchmark.rows import ResultFolder
from dnl.benchmark.runner import Place, here, run
from dnl.reporting.benchmark_text import summarise
from dnl.runtime import cli, interruption
from dnl.runtime.records import fresh_folder
from dnl.runtime.tables import Key
from games import PersuasionGame, synthetic_game

PAPER_COMMAND = "python -m dnl.bench --senders 2 4 --preset paper"


def main(*, config: BenchConfig | None = None) -> int:
    """Benchmark surrogates and equilibria on random multi-sender persuasion games."""
    config = config or BenchConfig()
    plan = make_plan(config)
    with place_of(config) as place:
        path = config.out or fresh_folder(Path("results"), "bench")
        folder = ResultFolder(path, plan.configuration(), plan.order, config.resume)
        return execute(plan, folder, config.quiet, place)


@contextmanager
def place_of(config: BenchConfig) -> Iterator[Place]:
    """Where the tasks are computed: in this process, or by Dask's workers."""
    if config.workers is None and config.scheduler is None:
        yield here
        return
    from dnl.benchmark import cluster  # here: an optional extra

    chosen = (
        cluster.workers_of(config.scheduler)
        if config.scheduler is not None
        else cluster.local_workers(config.workers or 1)
    )
    with chosen as client:
        yield partial(cluster.on_workers, client)


def execute(plan: Plan, folder: ResultFolder, quiet: bool = False, place: Place = here) -> int:
    """Compute what is missing, draw the figures, print the summary; the exit code.

    Args:
        plan: what to compute.
        folder: where it goes.
        quiet: no progress display and no summary.
        place: where the tasks are computed.

    Returns:
        0; 1 where a game failed; 130 where the run was interrupted.
    """
    try:
        from dnl.reporting.benchmark_figures import draw  # here: matplotlib loads slowly

        run(folder, plan.stages, game_of, quiet, place)
        failed = [row for row in folder.rows.values() if row["status"] != "ok"]
        figures = draw(folder.path) if len(failed) < len(folder.rows) else []
    except KeyboardInterrupt:
        told = interruption.word().capitalize()
        print(
            f"\n{told}: {len(folder.rows)} of {len(folder.order)} rows are finished in "
            f"{folder.path}.\nGo on with: {resume_command(sys.argv[1:], folder.path)}",
            file=sys.stderr,
        )
        return cli.INTERRUPTED
    if not quiet:
        print(summarise(folder.frame()))
        print(f"Table:   {folder.path / 'results.csv'}")
        if figures:
            print(f"Figures: {figures[0].parent}/ ({', '.join(f.name for f in figures)})")
        print(f"The paper's whole benchmark (best on a GPU): {PAPER_COMMAND}")
    return 1 if failed else 0


def game_of(key: Key) -> PersuasionGame:
    """The game of a row: its instance number is the game's seed."""
    law, n_senders, n_signals, n_states, n_actions, instance = key[:6]
    return synthetic_game(n_senders, n_signals, n_states, n_actions, seed=instance, law=law)


def resume_command(arguments: Sequence[str], path: Path) -> str:
    """The command line that takes up this run again."""
    kept = list(arguments)
    if "--out" not in kept and not any(a.startswith("--out=") for a in kept):
        kept += ["--out", str(path)]
    if "--resume" not in kept:
        kept.append("--resume")
    return shlex.join(["python", "-m", "dnl.bench", *kept])


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "dnl.bench"))
