"""How fast the library is, as ratios against plain implementations in the same run."""

import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from dnl import FitConfig, cli, fit, fit_many
from dnl.results import write_record
from dnl.surrogates import Shape, make_surrogate
from experiments.plain import PlainDNL, SideBySide, plain_lightning_fit
from games import synthetic_game


def training_rate(network: nn.Module, features: int, batch: int, steps: int) -> float:
    """Samples per second of Adam steps on random data, the median step of `steps`."""
    x, y = torch.rand(batch, features), torch.randn(batch, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)

    def step() -> None:
        loss = (network(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step()
    times = [_seconds(step) for _ in range(steps)]
    return batch / sorted(times)[len(times) // 2]


def dnl_training(shape: Shape, steps: int) -> list[dict[str, object]]:
    """DNL's training, emitted layers as matrix products against a weight matrix per sample."""
    n_senders, n_signals, n_states, _ = shape
    features = n_senders * n_signals * n_states
    rates: dict[str, list[float]] = {"plain": [], "library": []}
    for _ in range(3):  # in turns, so that a slow moment of the machine hits both
        for name, rate in rates.items():
            network = PlainDNL(features) if name == "plain" else make_surrogate("dnl", shape)
            rate.append(training_rate(network, features, 1024, steps))
    plain, ours = (sorted(rate)[1] for rate in rates.values())
    return [
        _row(f"DNL training, batch 1024, {features} inputs, samples/s", plain, ours, ours / plain)
    ]


def stacked_fits(n_games: int, samples: int, epochs: int) -> list[dict[str, object]]:
    """ReLU on `n_games` games of N = 2, (2, 2, 2): `fit_many` against separate fits."""
    games = [synthetic_game(2, 2, 2, 2, seed, "contested") for seed in range(n_games)]
    config = FitConfig(samples=samples, test_samples=1000, epochs=epochs, device="cpu")
    fit(games[0], "relu", FitConfig(samples=600, test_samples=100, epochs=1, device="cpu"))

    def plain() -> None:
        for game in games:
            profiles = game.sample_policies(samples)
            y = game.ex_ante_utility(profiles)
            y = ((y - y.mean(0)) / y.std(0)).float()
            network = SideBySide(
                make_surrogate("relu", (2, 2, 2, 2)) for _ in range(game.n_senders)
            )
            plain_lightning_fit(network, profiles.flatten(1).float(), y, epochs)

    together = _seconds(lambda: fit_many(games, "relu", config))
    one_by_one = _seconds(lambda: [fit(game, "relu", config) for game in games])
    loaders = _seconds(plain)
    what = f"ReLU, {n_games} games of N=2 (2,2,2), {samples} samples, {epochs} epochs, seconds"
    return [
        _row(
            f"{what}: separate Lightning fits with a DataLoader",
            loaders,
            together,
            loaders / together,
        ),
        _row(f"{what}: separate calls of dnl.fit", one_by_one, together, one_by_one / together),
    ]


def simulation_memory(profiles: int) -> list[dict[str, object]]:
    """Peak MiB of a process that simulates N = 4, (10, 10, 10); plain: the table of posteriors."""
    code = (
        "import torch, games, resource\n"
        "game = games.synthetic_game(4, 10, 10, 10, seed=0, law='paper')\n"
        f"game.ex_ante_utility(game.sample_policies({profiles}))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    peak = int(printed.stdout) / 1024  # Linux reports KiB
    table = profiles * 10**4 * 10 * 8 / 2**20
    return [
        _row(
            f"simulating {profiles} profiles of N=4 (10,10,10), peak MiB", table, peak, table / peak
        )
    ]


def main(*, out: Path = Path("results/speed"), small: bool = False) -> int:
    """Measure everything, print the ratios, write them to speed.csv.

    Args:
        out: Folder of the table.
        small: Seconds: the code runs, the numbers mean nothing.
    """
    quieten()
    rows = dnl_training((2, 2, 4, 2), steps=2 if small else 30)
    rows += stacked_fits(*((2, 600, 1) if small else (20, 20_000, 10)))
    rows += simulation_memory(20 if small else 50_000)
    table = pd.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "speed.csv", index=False)
    write_record(out, {"threads": torch.get_num_threads()})
    print(table[["what", "plain", "library", "ratio"]].to_string(index=False))
    return 0


def _row(what: str, plain: float, library: float, ratio: float) -> dict[str, object]:
    return {
        "what": what,
        "plain": round(plain, 3),
        "library": round(library, 3),
        "ratio": round(ratio, 2),
    }


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def quieten() -> None:
    """Silence Lightning in the plain fits."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.speed"))
