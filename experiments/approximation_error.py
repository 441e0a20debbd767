"""Figure 4: approximation error of the surrogates against signals, states and actions."""

from pathlib import Path

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_of_run

CONFIG = BenchConfig(preset="paper", senders=(2,))


def main(
    *,
    rows: Path | None = None,
    out: Path = Path("results/approximation_error"),
    small: bool = False,
) -> int:
    """Draw Figure 4.

    Args:
        rows: Folder of a finished benchmark to draw; without it the paper's games are run.
        out: Where the run (taken up if it is there already) and the figures go.
        small: A run of seconds instead of the paper's.
    """
    return figure_of_run("approximation_error", plot.error_figure, CONFIG, rows, out, small)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.approximation_error"))
