"""Figure 2: sender utilities at the best solutions, against full revelation."""

from pathlib import Path

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_of_run

CONFIG = BenchConfig(preset="paper", senders=(2,))


def main(
    *,
    rows: Path | None = None,
    out: Path = Path("results/equilibrium_utilities"),
    small: bool = False,
) -> int:
    """Draw Figure 2.

    Args:
        rows: Folder of a finished benchmark to draw; without it the paper's games are run.
        out: Where the run (taken up if it is there already) and the figures go.
        small: A run of seconds instead of the paper's.
    """
    return figure_of_run("equilibrium_utilities", plot.utilities_figure, CONFIG, rows, out, small)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.equilibrium_utilities"))
