"""Figure 3 of the paper: an entry of `experiments.shared.benchmark.FIGURES`."""

from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command("improvement_over_starts")

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.improvement_over_starts"))
