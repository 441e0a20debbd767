"""Figure 5: welfare with four senders."""

from pathlib import Path

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_of_run

CONFIG = BenchConfig(preset="paper", senders=(4,))


def main(
    *,
    rows: Path | None = None,
    out: Path = Path("results/four_sender_welfare"),
    small: bool = False,
) -> int:
    """Draw Figure 5.

    Args:
        rows: Folder of a finished benchmark to draw; without it the paper's games are run.
        out: Where the run (taken up if it is there already) and the figures go.
        small: A run of seconds instead of the paper's.
    """
    return figure_of_run("four_sender_welfare", plot.welfare_figure, CONFIG, rows, out, small)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.four_sender_welfare"))
