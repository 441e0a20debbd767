"""The benchmark: `python -m dnl.bench --senders 2 4`.

Fits every surrogate to every game of a grid, searches for equilibria on the surrogate, verifies
them on the true game, and writes one table, figures and a summary.
"""

import sys
from pathlib import Path

from dnl.benchmark.places import place_of
from dnl.benchmark.plan import BenchConfig, Plan, game_of, make_plan
from dnl.benchmark.rows import ERRORS, RESULTS, ResultFolder
from dnl.benchmark.runner import Place, here, run
from dnl.reporting.benchmark_text import summarise
from dnl.runtime import cli, interruption
from dnl.runtime.records import fresh_folder
from dnl.runtime.settings import config_of

PAPER_COMMAND = "python -m dnl.bench --senders 2 4 --preset paper"


def main(*, config: BenchConfig | None = None) -> int:
    """Benchmark surrogates and equilibria on random multi-sender persuasion games."""
    config = config_of(config, BenchConfig)
    plan = make_plan(config)
    with place_of(config.workers, config.scheduler) as place:
        path = config.out or fresh_folder(Path("results"), "bench")
        folder = ResultFolder(path, plan.configuration(), plan.order, config.resume)
        return execute(plan, folder, config.quiet, place)


def execute(plan: Plan, folder: ResultFolder, quiet: bool = False, place: Place = here) -> int:
    """Compute the missing rows, draw the figures and print the summary.

    Args:
        plan: what to compute.
        folder: where the results go.
        quiet: show no progress and no summary.
        place: where the tasks are computed.

    Returns:
        The exit code: 0; 1 if a game failed; 130 if the run was interrupted.
    """
    try:
        from dnl.reporting.benchmark_figures import draw  # here: matplotlib loads slowly

        run(folder, plan.stages, game_of, quiet, place)
        failed = [row for row in folder.rows.values() if row["status"] != "ok"]
        figures = draw(folder.path) if len(failed) < len(folder.rows) else []
    except KeyboardInterrupt:
        told = interruption.word().capitalize()
        again = cli.resume_command("dnl.bench", sys.argv[1:], folder.path)
        done = f"{len(folder.rows)} of {len(folder.order)} rows are finished"
        if len(folder.rows) == len(folder.order):
            done = "all rows are finished, but not all figures are drawn"
        print(
            f"\n{told}: {done} in {folder.path}.\nGo on with: {again}",
            file=sys.stderr,
        )
        return cli.INTERRUPTED
    if not quiet:
        print(summarise(folder.frame()))
        print(f"Table:   {folder.path / RESULTS}")
        if failed:
            print(f"Errors:  {folder.path / ERRORS} (tracebacks of the {len(failed)} failed rows)")
        if figures:
            print(f"Figures: {figures[0].parent}/ ({', '.join(f.name for f in figures)})")
        print(f"The paper's whole benchmark (best on a GPU): {PAPER_COMMAND}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "dnl.bench"))
