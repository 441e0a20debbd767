"""Figure 8: sender utilities at the stricter radius 0.01 (30 iterations of extra-gradient)."""

from dnl import plot
from dnl.benchmark.plan import BenchConfig
from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command(
    "radius_001", plot.utilities_figure, BenchConfig(preset="paper", senders=(2,), radius=0.01)
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.radius_001"))
