"""Figure 8: sender utilities at the stricter radius 0.01 (30 iterations of extra-gradient)."""

from pathlib import Path

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_of_run

CONFIG = BenchConfig(preset="paper", senders=(2,), radius=0.01)


def main(
    *, rows: Path | None = None, out: Path = Path("results/radius_001"), small: bool = False
) -> int:
    """Draw Figure 8.

    Args:
        rows: Folder of a finished benchmark to draw; without it the paper's games are run.
        out: Where the run (taken up if it is there already) and the figures go.
        small: A run of seconds instead of the paper's.
    """
    return figure_of_run("radius_001", plot.utilities_figure, CONFIG, rows, out, small)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.radius_001"))
