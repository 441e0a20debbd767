"""Figure 3: welfare at the best solutions, against the starting points."""

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_command

main = figure_command(
    "improvement_over_starts", plot.welfare_figure, BenchConfig(preset="paper", senders=(2,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.improvement_over_starts"))
