"""Figure 5: welfare with four senders."""

from dnl import plot
from dnl.benchmark.plan import BenchConfig
from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command(
    "four_sender_welfare", plot.welfare_figure, BenchConfig(preset="paper", senders=(4,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.four_sender_welfare"))
