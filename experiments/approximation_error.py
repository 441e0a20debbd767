"""Figure 4: approximation error of the surrogates against signals, states and actions."""

from dnl import cli, plot
from dnl.plan import BenchConfig
from experiments.benchmark import figure_command

main = figure_command(
    "approximation_error", plot.error_figure, BenchConfig(preset="paper", senders=(2,))
)

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.approximation_error"))
