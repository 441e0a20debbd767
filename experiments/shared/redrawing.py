"""Figures of finished runs, drawn from their tables.

An experiment with a figure has a function `figures(folder)`: from the tables of a run in `folder`,
the figures by the names of their files. Its command ends with `write_figures(out, figures(out))`,
and `python -m experiments.redraw` does the same for a run that is already there.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dnl.reporting.figures import write_figure
from dnl.runtime.records import RUN, program_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(folder: Path, figures: Mapping[str, "Figure"]) -> list[Path]:
    """Write figures into `folder` under their names, and return their paths."""
    for name, figure in figures.items():
        write_figure(folder / name, figure)
    return [folder / name for name in figures]


def figures_of(folder: Path) -> dict[str, "Figure"]:
    """The figures of the run in `folder`, by the names of their files; computes nothing.

    Raises:
        ValueError: if the folder holds no run of an experiment that has a figure.
        OSError: if the run has not yet written its tables.
    """
    if not (folder / RUN).exists():
        raise ValueError(f"folder must hold the {RUN} of a run, got {str(folder)!r}")
    program = program_of(folder)
    draw: Callable[[Path], dict[str, Figure]] | None = None
    if program is not None and program.startswith("experiments."):
        draw = getattr(importlib.import_module(program), "figures", None)
    if draw is None:
        from experiments.shared.benchmark import FIGURES  # imported here: it loads matplotlib

        more = ""
        if program == "dnl.bench":
            more = f": python -m dnl.plot {folder} draws it"
        elif program in {f"experiments.{name}" for name in FIGURES}:
            more = f": python -m {program} --rows {folder} --out {folder} draws it"
        raise ValueError(
            f"folder must hold a run of an experiment with a figure, got {str(folder)!r} "
            f"of {program}{more}"
        )
    return draw(folder)
