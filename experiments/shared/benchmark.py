"""What the benchmark's figures share: rows from a run, one figure from the rows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dnl import plot
from dnl.benchmark.plan import BenchConfig, game_of, make_plan
from dnl.benchmark.rows import ResultFolder
from dnl.benchmark.runner import run
from dnl.reporting.figures import write_figure

SMALL = BenchConfig(
    signals=(2,),
    states=(2,),
    actions=(2,),
    instances=2,
    samples=500,
    epochs=1,
    starts=4,
    deviations=2,
    quiet=True,
)


def figure_command(
    name: str, draw: Callable[[pd.DataFrame, str], Figure], config: BenchConfig
) -> Callable[..., int]:
    """A command that draws one figure of the benchmark, a picture per law.

    Args:
        name: of the figure's file.
        draw: table and law -> figure.
        config: the paper's run, whose senders the figure shows.
    """

    def main(*, rows: Path | None = None, out: Path | None = None, small: bool = False) -> int:
        """Draw one figure of the paper.

        Args:
            rows: Folder of a finished benchmark to draw; without it the paper's games are run.
            out: Where the run (taken up if it is there already) and the figure go; by default
                results/ and the name of the script.
            small: A run of seconds instead of the paper's.
        """
        folder = out or Path("results") / name
        if rows is None:
            chosen = replace(SMALL, senders=config.senders, radius=config.radius)
            plan = make_plan(chosen if small else config)
            finished = ResultFolder(folder, plan.configuration(), plan.order, resume=True)
            run(finished, plan.stages, game_of, quiet=small)
        results = plot.read_results(rows or folder)
        results = results[results["n_senders"].isin(config.senders)]
        if results.empty:
            raise ValueError(f"rows must have {config.senders} senders, got none in {rows}")
        folder.mkdir(parents=True, exist_ok=True)
        for law in results["law"].unique():
            path = folder / f"{name}_{law}.png"
            write_figure(path, draw(results, str(law)))
            print(path)
        return 0

    return main
