"""Speed of the library, as ratios against plain implementations in the same run."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from dnl.runtime import cli
from dnl.runtime.devices import describe_hardware, pick_device
from dnl.runtime.records import claim
from dnl.runtime.tables import write_table
from dnl.surrogates.registry import Shape
from experiments.shared.speed_of_ascent import ascents
from experiments.shared.speed_of_simulation import (
    sampled_verification,
    simulation_memory,
    simulation_rate,
)
from experiments.shared.speed_of_training import (
    dnl_training,
    one_after_another,
    quieten,
    stacked_fits,
)
from games import checks


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements: large enough to keep the machine busy, and no larger than needed.

    Attributes:
        training: shape (N, M, S, A) of the DNL trained on one batch, batch sizes (the best one
            counts), and steps.
        relu: games, samples and epochs of the stacked ReLU.
        dnl: shape, games, samples and epochs of the stacked DNL, and networks fitted one by one.
        ascent: shape, games and starts of extra-gradient.
        simulation: shapes, profiles for the plain version, and rounds.
        verification: shapes, profiles, and deviations tried by the loop.
        memory: profiles.
    """

    training: tuple[Shape, tuple[int, ...], int]
    relu: tuple[int, int, int]
    dnl: tuple[Shape, int, int, int, int]
    ascent: tuple[Shape, int, int]
    simulation: tuple[tuple[Shape, int, int], ...]
    verification: tuple[tuple[Shape, int, int], ...]
    memory: int


VERIFIED: tuple[Shape, ...] = ((2, 4, 4, 4), (2, 10, 10, 10), (4, 6, 6, 6))
SIZES = {
    "cpu": Sizes(
        training=((2, 2, 4, 2), (256, 512, 2048, 8192), 30),
        relu=(20, 20_000, 10),
        dnl=((2, 4, 4, 4), 5, 10_000, 2, 2),
        ascent=((4, 4, 4, 4), 3, 300),
        simulation=(((2, 10, 10, 10), 2048, 12), ((4, 10, 10, 10), 64, 12)),
        verification=tuple((shape, 20, 200) for shape in VERIFIED),
        memory=50_000,
    ),
    "cuda": Sizes(
        training=((2, 2, 4, 2), (2048, 8192, 32768, 131072), 30),
        relu=(20, 20_000, 3),
        dnl=((4, 4, 4, 4), 25, 50_000, 3, 2),
        ascent=((4, 4, 4, 4), 25, 300),
        simulation=(((2, 10, 10, 10), 4096, 8), ((4, 10, 10, 10), 4096, 4)),
        verification=tuple((shape, 300, 200) for shape in VERIFIED),
        memory=50_000,
    ),
}
SMALL = Sizes(
    training=((2, 2, 4, 2), (64, 256), 2),
    relu=(3, 600, 1),
    dnl=((2, 2, 2, 2), 2, 600, 1, 1),
    ascent=((3, 2, 2, 2), 2, 3),
    simulation=(((3, 2, 2, 2), 8, 1), ((4, 2, 3, 2), 8, 1)),
    verification=(((2, 2, 2, 2), 2, 3),),
    memory=20,
)


def main(*, device: str = "auto", out: Path = Path("results/speed"), small: bool = False) -> int:
    """Measure everything, print the ratios, write them to speed.csv.

    Args:
        device: "auto", "cpu" or "cuda".
        out: Folder of the table.
        small: Run for a few seconds only; the numbers mean nothing.
    """
    checks.one_of("device", device, ("auto", "cpu", "cuda"))
    where = pick_device(device)
    quieten()
    threads = torch.get_num_threads()
    held = claim(out, {"threads": threads, "device": describe_hardware(where)})
    sizes = SMALL if small else SIZES[where.type]
    rows = dnl_training(*sizes.training, where)
    rows += stacked_fits(*sizes.relu, where)
    rows += one_after_another(*sizes.dnl, where)
    rows += ascents(*sizes.ascent, where)
    for of_one in sizes.simulation:
        rows += simulation_rate(*of_one, where)
    for of_one in sizes.verification:
        rows += sampled_verification(*of_one, where)
    rows += simulation_memory(sizes.memory, where)
    table = pd.DataFrame(rows)
    write_table(table, out / "speed.csv")
    held.release()
    print(table[["what", "plain", "library", "ratio"]].to_string(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.speed"))
