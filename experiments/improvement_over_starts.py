"""Figure 3: welfare at the best solutions, against the starting points."""

from dnl import plot
from dnl.benchmark.plan import BenchConfig
from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command(
    "improvement_over_starts", plot.welfare_figure, BenchConfig(preset="paper", senders=(2,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.improvement_over_starts"))
