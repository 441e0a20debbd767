"""Speed of simulation and verification, against plain versions (`plain.py`)."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch

from dnl.equilibria.sampled_deviations import DEVIATIONS_PER_ENTRY, unrefuted
from dnl.equilibria.verification import verify
from dnl.surrogates.registry import Shape
from experiments.shared.plain import plain_gain, plain_utility
from experiments.shared.timing import row, seconds
from games import synthetic_game
from games.persuasion import compiled


def simulation_work(shape: Shape) -> dict[str, int]:
    """The least cost of one profile of `shape` (N, M, S, A), counted before measuring.

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


# Chunk sizes of the plain version in profiles (the best one counts), and the size of the matrices
# whose product measures the peak.
CHUNKS = {"cpu": (1, 2, 4, 16, 64, 256), "cuda": (64, 256, 1024, 4096)}
PRODUCT = {"cpu": 600, "cuda": 8192}


def simulation_rate(
    shape: Shape, profiles: int, rounds: int, device: torch.device
) -> list[dict[str, object]]:
    """Profiles per second, on one thread or a GPU; plain at its best chunk, from `profiles`.

    The library simulates a small batch with tensors and one that is worth a build with machine
    code (no such row where there is no compiler, or the batch would be too large to hold).
    """
    game = synthetic_game(*shape, seed=0, law="contested")
    n_senders, n_signals, n_states, n_actions = shape
    worth = compiled.MIN_MULTIPLICATIONS // (n_signals**n_senders * n_states * n_actions) + 1
    count = max(profiles, min(worth, 5000))
    batch = game.sample_policies(count, torch.Generator().manual_seed(0)).to(device)
    few = batch[:profiles]
    sizes = [chunk for chunk in CHUNKS[device.type] if chunk <= profiles] or [profiles]
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        f"chunk {chunk}": (profiles, partial(plain_utility, game, few, chunk)) for chunk in sizes
    }
    runs["tensors"] = (profiles, lambda: game.ex_ante_utility(few))
    if compiled.kernel(batch.unsqueeze(0), n_actions, criteria=1) is not None:
        runs["machine code"] = (len(batch), lambda: game.ex_ante_utility(batch))
    size = PRODUCT[device.type]
    factor = torch.rand(size, size, dtype=torch.float64, device=device)
    runs["product"] = (1, lambda: factor @ factor)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):  # in turns, so that a slow moment of the machine affects all
            for name, (_, run) in runs.items():
                times[name].append(seconds(run))
    finally:
        torch.set_num_threads(threads)
    rates = {name: runs[name][0] / sorted(seen)[rounds // 4] for name, seen in times.items()}
    best = max((f"chunk {chunk}" for chunk in sizes), key=rates.__getitem__)
    peak = rates["product"] * 2 * size**3
    where = "one thread" if device.type == "cpu" else "GPU"
    what = f"simulating N={n_senders} ({n_signals},{n_states},{n_actions}), {where}, profiles/s"
    return [
        row(f"{what}: {name} (plain: {best})", rates[best], rates[name], rates[name] / rates[best])
        | {"share_of_peak": round(rates[name] * work / peak, 3)}
        for name, work in simulation_work(shape).items()
        if name in rates
    ]


def sampled_verification(
    shape: Shape, profiles: int, looped: int, device: torch.device
) -> list[dict[str, object]]:
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
    batch = game.sample_policies(profiles, torch.Generator().manual_seed(0)).to(device)
    noise = torch.rand(looped, n_states, n_signals, dtype=torch.float64, device=device)
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
        row(f"{what}: {name}", rates["plain"], rates[name], rates[name] / rates["plain"])
        for name in ("gains", "verdicts")
    ]


def simulation_memory(profiles: int, device: torch.device) -> list[dict[str, object]]:
    """Peak MiB of simulating N = 4, (10, 10, 10); plain: the table of posteriors.

    On a CPU the memory of a whole process, on a GPU the device's.
    """
    code = (
        "import torch, games, resource\n"
        "game = games.synthetic_game(4, 10, 10, 10, seed=0, law='paper')\n"
        f"game.ex_ante_utility(game.sample_policies({profiles}).to({str(device)!r}))\n"
    )
    if device.type == "cpu":
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"  # of KiB: Linux
    else:
        code += "print(torch.cuda.max_memory_allocated() / 2**20)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    peak = float(printed.stdout)
    table = profiles * 10**4 * 10 * 8 / 2**20
    what = f"simulating {profiles} profiles of N=4 (10,10,10), peak MiB"
    return [row(what, table, peak, table / peak)]
