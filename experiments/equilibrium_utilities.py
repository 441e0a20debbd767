"""Figure 2: sender utilities at the best solutions, against full revelation."""

from dnl import plot
from dnl.benchmark.plan import BenchConfig
from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command(
    "equilibrium_utilities", plot.utilities_figure, BenchConfig(preset="paper", senders=(2,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.equilibrium_utilities"))
