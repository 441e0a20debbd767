"""Draw the figures of finished experiments again, from their tables: nothing is computed.

python -m experiments.redraw results/finding results/growth
"""

from pathlib import Path

from dnl.runtime import cli
from experiments.shared.redrawing import figures_of, write_figures


def main(*folders: Path) -> int:
    """Draw the figures of the runs in FOLDERS, each with a run.json, into the same folders.

    The experiment that the run.json names says what its figures show, and from which tables.
    """
    if not folders:
        raise ValueError("folders must hold at least one folder, got none")
    for folder in folders:
        print(*write_figures(folder, figures_of(folder)), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.redraw"))
