"""Figure 4: approximation error of the surrogates against signals, states and actions."""

from dnl import plot
from dnl.benchmark.plan import BenchConfig
from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command(
    "approximation_error", plot.error_figure, BenchConfig(preset="paper", senders=(2,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.approximation_error"))
