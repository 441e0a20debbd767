"""Figure 3: share of end points that pass verification, and of the starts they came from."""

from pathlib import Path

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_of_run

CONFIG = BenchConfig(preset="paper", senders=(2,))


def main(
    *,
    rows: Path | None = None,
    out: Path = Path("results/improvement_over_starts"),
    small: bool = False,
) -> int:
    """Draw Figure 3.

    Args:
        rows: Folder of a finished benchmark to draw; without it the paper's games are run.
        out: Where the run (taken up if it is there already) and the figures go.
        small: A run of seconds instead of the paper's.
    """
    return figure_of_run(
        "improvement_over_starts", plot.verification_figure, CONFIG, rows, out, small
    )


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.improvement_over_starts"))
