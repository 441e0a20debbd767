"""How fast the library is, as ratios against plain implementations in the same run."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from dnl import FitConfig, cli, fit, fit_many
from dnl.deviations import DEVIATIONS_PER_ENTRY, unrefuted
from dnl.results import make_writable, write_record
from dnl.surrogates import Shape, make_surrogate, parameter_count
from dnl.verification import verify
from experiments.plain import (
    PlainDNL,
    SideBySide,
    plain_gain,
    plain_lightning_fit,
    plain_utility,
)
from experiments.timing import seconds
from games import compiled, synthetic_game


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
    return batch / seconds(step, repeats=steps)


def dnl_training(shape: Shape, steps: int) -> list[dict[str, object]]:
    """DNL's training, emitted layers as matrix products against a weight matrix per sample.

    Each at its best batch. A weight is multiplied with each sample once in the forward pass and
    twice in the backward pass, so a sample takes 6 operations for each of the parameters.
    """
    n_senders, n_signals, n_states, _ = shape
    features = n_senders * n_signals * n_states
    factor = torch.rand(1024, 1024)
    rates: dict[tuple[str, int], list[float]] = {}
    peaks = []
    for _ in range(3):  # in turns, so that a slow moment of the machine hits all
        for batch in (256, 512, 1024, 2048):
            for name in ("plain", "library"):
                network = PlainDNL(features) if name == "plain" else make_surrogate("dnl", shape)
                rate = training_rate(network, features, batch, steps)
                rates.setdefault((name, batch), []).append(rate)
            product = seconds(lambda: factor @ factor, repeats=10)
            peaks.append(2 * 1024**3 / product)
    middle = {way: sorted(rate)[1] for way, rate in rates.items()}
    plain, ours = (
        max((way for way in middle if way[0] == name), key=middle.__getitem__)
        for name in ("plain", "library")
    )
    what = f"DNL training, {features} inputs, samples/s (batch: plain {plain[1]}, library {ours[1]}"
    needed = 6 * parameter_count(make_surrogate("dnl", shape)) / sorted(peaks)[len(peaks) // 2]
    return [
        _row(f"{what})", middle[plain], middle[ours], middle[ours] / middle[plain])
        | {
            "plain_share_of_peak": round(middle[plain] * needed, 3),
            "share_of_peak": round(middle[ours] * needed, 3),
        }
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

    together = seconds(lambda: fit_many(games, "relu", config))
    one_by_one = seconds(lambda: [fit(game, "relu", config) for game in games])
    loaders = seconds(plain)
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


def simulation_work(shape: Shape) -> dict[str, int]:
    """Counted before measuring: what one profile of `shape` (N, M, S, A) costs at least.

    With K = M**N joint signals, in double precision:

    ==================== ======================================== ============== ==============
    what                 formula                                  N=2 (10,10,10) N=4 (10,10,10)
    ==================== ======================================== ============== ==============
    operations, scores   2 K S A                                  20,000         2,000,000
    operations, outcomes tensors, as products: 2 K S A            20,000         2,000,000
    operations, outcomes machine code, where they land: K S       1,000          100,000
    bytes in and out     8 (N S M + S A)                          2,400          4,000
    bytes of tables      plain: 8 K (S + A + N S + 1)             32,800         4,880,000
    bytes of tables      tensors: 8 K (A + 1), in cache           8,800          880,000
    ==================== ======================================== ============== ==============

    So nothing but the arithmetic must cost anything: 1,000 operations for each byte in or out at
    N = 4. Plain is slow because its tables of joint posteriors and of the utilities gathered for
    them go through memory.

    Returns:
        `tensors` and `machine code`: operations of a profile.
    """
    n_senders, n_signals, n_states, n_actions = shape
    joint = n_signals**n_senders
    scores = 2 * joint * n_states * n_actions
    return {"tensors": 2 * scores, "machine code": scores + joint * n_states}


def simulation_rate(shape: Shape, profiles: int, rounds: int) -> list[dict[str, object]]:
    """Profiles per second on one thread; plain at its best chunk, from `profiles` profiles.

    The library simulates a small batch with tensors and one that is worth a build with machine
    code (no such row where there is no compiler, or the batch would be too large to hold).
    """
    game = synthetic_game(*shape, seed=0, law="contested")
    n_senders, n_signals, n_states, n_actions = shape
    worth = compiled.WORTH // (n_signals**n_senders * n_states * n_actions) + 1
    batch = game.sample_policies(min(worth, 5000), torch.Generator().manual_seed(0))
    few = batch[:profiles]
    sizes = [chunk for chunk in (1, 2, 4, 16, 64, 256) if chunk <= profiles]
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        f"chunk {chunk}": (profiles, partial(plain_utility, game, few, chunk)) for chunk in sizes
    }
    runs["tensors"] = (profiles, lambda: game.ex_ante_utility(few))
    if compiled.kernel(batch.unsqueeze(0), n_actions, game.tie_break) is not None:
        runs["machine code"] = (len(batch), lambda: game.ex_ante_utility(batch))
    factor = torch.rand(600, 600, dtype=torch.float64)
    runs["product"] = (1, lambda: factor @ factor)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):  # in turns, so that a slow moment of the machine hits all
            for name, (_, run) in runs.items():
                times[name].append(seconds(run))
    finally:
        torch.set_num_threads(threads)
    rates = {name: runs[name][0] / sorted(seen)[rounds // 4] for name, seen in times.items()}
    best = max((f"chunk {chunk}" for chunk in sizes), key=rates.__getitem__)
    peak = rates["product"] * 2 * 600**3
    what = f"simulating N={n_senders} ({n_signals},{n_states},{n_actions}), one thread, profiles/s"
    return [
        _row(f"{what}: {name} (plain: {best})", rates[best], rates[name], rates[name] / rates[best])
        | {"share_of_peak": round(rates[name] * work / peak, 3)}
        for name, work in simulation_work(shape).items()
        if name in rates
    ]


def sampled_verification(shape: Shape, profiles: int, looped: int) -> list[dict[str, object]]:
    """Deviations per second: random profiles and all the paper's deviations, against a loop.

    `gains` looks for the best deviation; `verdicts`, what the benchmark asks for, spares a profile
    that is refuted the deviations that are left (they count as dealt with).

    Args:
        shape: (N, M, S, A) of the game.
        profiles: random ones that the library verifies.
        looped: deviations of one sender that the loop tries.
    """
    game = synthetic_game(*shape, seed=0, law="contested")
    n_senders, n_signals, n_states, n_actions = shape
    batch = game.sample_policies(profiles, torch.Generator().manual_seed(0))
    noise = torch.rand(looped, n_states, n_signals, dtype=torch.float64)
    every = DEVIATIONS_PER_ENTRY * n_states * n_signals
    tried = profiles * n_senders * every
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "plain": (looped, lambda: plain_gain(game, batch[0], 0, 0.005, noise)),
        "gains": (tried, lambda: verify(game, batch, method="sampled")),
        "verdicts": (tried, lambda: unrefuted(game.stacked(), batch.unsqueeze(0), 0.005, 0, every)),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(3):
        for name, (_, run) in runs.items():
            times[name].append(seconds(run))
    rates = {name: runs[name][0] / sorted(seen)[1] for name, seen in times.items()}
    what = f"sampled verification of {profiles} random profiles, N={n_senders} "
    what += f"({n_signals},{n_states},{n_actions}), radius 0.005, deviations/s"
    return [
        _row(f"{what}: {name}", rates["plain"], rates[name], rates[name] / rates["plain"])
        for name in ("gains", "verdicts")
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


def _row(what: str, plain: float, library: float, ratio: float) -> dict[str, object]:
    return {
        "what": what,
        "plain": round(plain, 3),
        "library": round(library, 3),
        "ratio": round(ratio, 2),
    }


def quieten() -> None:
    """Silence Lightning in the plain fits."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.speed"))
