"""What the benchmark's figures share: rows from a run, one figure from the rows."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dnl import plot
from dnl.bench import game_of
from dnl.plan import BenchConfig, make_plan
from dnl.results import ResultFolder
from dnl.runner import run

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


def figure_of_run(
    name: str,
    draw: Callable[[pd.DataFrame, str], Figure],
    config: BenchConfig,
    rows: Path | None,
    out: Path,
    small: bool,
) -> int:
    """Run what is missing, then draw one figure per law.

    Args:
        name: of the figure's file.
        draw: table and law -> figure.
        config: the paper's run.
        rows: folder of a finished benchmark to draw instead of running `config`.
        out: folder of the run and the figures.
        small: a run of seconds in place of `config`, with the same senders and radius.
    """
    if rows is None:
        if small:
            config = replace(SMALL, senders=config.senders, radius=config.radius)
        plan = make_plan(config)
        rows = out
        run(
            ResultFolder(out, plan.configuration(), plan.order, resume=True),
            plan.stages,
            game_of,
            config.quiet,
        )
    results = plot.read_results(rows)
    results = results[results["n_senders"].isin(config.senders)]
    if results.empty:
        print(f"no rows with {config.senders} senders in {rows}", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    for law in results["law"].unique():
        path = out / f"{name}_{law}.png"
        draw(results, str(law)).savefig(path, dpi=150)
        print(path)
    return 0
