"""The figures of a benchmark: `python -m dnl.plot results/paper`."""

from pathlib import Path

from dnl.runtime import cli


def main(folder: Path, /, *, out: Path | None = None) -> int:
    """Draw the figures of a finished benchmark from its table, results.csv. Nothing is computed.

    There is one set of PNGs for each law by which games were drawn:

    approximation_error and unexplained_variance: how far the networks' predictions are off.

    sender_utilities and welfare: what the best profiles gain over full revelation.

    not_refuted: how many profiles sampled deviations did not refute.

    Example: python -m dnl.plot results/paper --out figures

    Args:
        folder: Folder with the results.csv of python -m dnl.bench.
        out: Folder of the figures; by default FOLDER/figures.
    """
    from dnl.reporting.benchmark_figures import draw  # here: matplotlib loads slowly

    print(*draw(folder, out), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "dnl.plot"))
