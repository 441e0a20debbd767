"""Figure 5 of the paper: an entry of `experiments.shared.benchmark.FIGURES`."""

from dnl.runtime import cli
from experiments.shared.benchmark import figure_command

main = figure_command("four_sender_welfare")

if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.four_sender_welfare"))
