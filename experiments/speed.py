"""How fast the library is, as ratios against plain implementations in the same run."""

from pathlib import Path

import pandas as pd
import torch

from dnl import cli
from dnl.results import make_writable, write_record
from experiments.speed_of_simulation import (
    sampled_verification,
    simulation_memory,
    simulation_rate,
)
from experiments.speed_of_training import dnl_training, quieten, stacked_fits


def main(*, out: Path = Path("results/speed"), small: bool = False) -> int:
    """Measure everything, print the ratios, write them to speed.csv.

    Args:
        out: Folder of the table.
        small: Seconds: the code runs, the numbers mean nothing.
    """
    quieten()
    make_writable(out)
    write_record(out, {"threads": torch.get_num_threads()})
    rows = dnl_training((2, 2, 4, 2), steps=2 if small else 30)
    rows += stacked_fits(*((2, 600, 1) if small else (20, 20_000, 10)))
    rows += simulation_rate(*(((3, 2, 2, 2), 8, 1) if small else ((2, 10, 10, 10), 2048, 12)))
    rows += simulation_rate(*(((4, 2, 3, 2), 8, 1) if small else ((4, 10, 10, 10), 64, 12)))
    for shape in [(2, 2, 2, 2)] if small else [(2, 4, 4, 4), (2, 10, 10, 10), (4, 6, 6, 6)]:
        rows += sampled_verification(shape, *((2, 3) if small else (20, 200)))
    rows += simulation_memory(20 if small else 50_000)
    table = pd.DataFrame(rows)
    table.to_csv(out / "speed.csv", index=False)
    print(table[["what", "plain", "library", "ratio"]].to_string(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.speed"))
