"""Figure 4 of the paper: an entry of `experiments.shared.benchmark.FIGURES`."""

from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command("approximation_error")

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.approximation_error"))
