"""Figure 2: sender utilities at the best solutions, against full revelation."""

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_command

main = figure_command(
    "equilibrium_utilities", plot.utilities_figure, BenchConfig(preset="paper", senders=(2,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.equilibrium_utilities"))
