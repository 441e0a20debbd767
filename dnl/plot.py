"""The figures of a benchmark: `python -m dnl.plot results/paper`."""

from pathlib import Path

from dnl.reporting.benchmark_figures import draw
from dnl.runtime import cli


def main(folder: Path, /, *, out: Path | None = None) -> int:
    """Draw the figures of the results.csv in FOLDER, into --out or else into FOLDER/figures."""
    print(*draw(folder, out), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "dnl.plot"))
