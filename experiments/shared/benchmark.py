"""The paper's figures of the benchmark, drawn from a run's rows; each is an entry of `FIGURES`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Drawing

from dnl.benchmark.plan import BenchConfig, game_of, make_plan
from dnl.benchmark.rows import ResultFolder
from dnl.benchmark.runner import run
from dnl.reporting import benchmark_figures
from dnl.reporting.benchmark_numbers import read_results
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


@dataclass(frozen=True)
class Figure:
    """One figure of the paper.

    Attributes:
        title: number in the paper, and what the figure shows.
        draw: maps a table of rows and a law to the drawing.
        config: the paper's run; the figure shows its numbers of senders.
    """

    title: str
    draw: Callable[[pd.DataFrame, str], Drawing]
    config: BenchConfig


TWO = BenchConfig(preset="paper", senders=(2,))
FIGURES = {
    "equilibrium_utilities": Figure(
        "Figure 2: senders' utilities at the best solutions, against full revelation.",
        benchmark_figures.utilities_figure,
        TWO,
    ),
    "improvement_over_starts": Figure(
        "Figure 3: welfare above full revelation, of the best solutions and the starting points.",
        benchmark_figures.welfare_figure,
        TWO,
    ),
    "approximation_error": Figure(
        "Figure 4: approximation error of the surrogates against signals, states and actions.",
        benchmark_figures.error_figure,
        TWO,
    ),
    "four_sender_welfare": Figure(
        "Figure 5: welfare with four senders, above full revelation.",
        benchmark_figures.welfare_figure,
        replace(TWO, senders=(4,)),
    ),
    "radius_001": Figure(
        "Figure 8: senders' utilities at radius 0.01 (30 iterations of extra-gradient).",
        benchmark_figures.utilities_figure,
        replace(TWO, radius=0.01),
    ),
}


def figure_command(name: str) -> Callable[..., int]:
    """The command that draws a figure of `FIGURES`, one picture per law."""
    figure = FIGURES[name]

    def main(*, rows: Path | None = None, out: Path | None = None, small: bool = False) -> int:
        folder, config = out or Path("results") / name, figure.config
        if rows is None:
            chosen = replace(SMALL, senders=config.senders, radius=config.radius)
            plan = make_plan(chosen if small else config)
            finished = ResultFolder(folder, plan.configuration(), plan.order, resume=True)
            run(finished, plan.stages, game_of, quiet=small)
        results = read_results(rows or folder)
        there = sorted({int(n) for n in results["n_senders"]})
        results = results[results["n_senders"].isin(config.senders)]
        if results.empty:
            raise ValueError(f"rows must have {config.senders} senders, got {there} in {rows}")
        folder.mkdir(parents=True, exist_ok=True)
        for law in results["law"].unique():
            path = folder / f"{name}_{law}.png"
            write_figure(path, figure.draw(results, str(law)))
            print(path)
        return 0

    main.__doc__ = f"""{figure.title}

    Args:
        rows: Folder of a finished benchmark to draw; without it the paper's games are run.
        out: Folder of the run (resumed if it is there already) and of the figure; by default
            results/ and the name of the command.
        small: Run for a few seconds instead of the paper's budget.
    """
    return main
