"""The stages that `growth.py` measures, each in its own process, and their cost in theory.

A stage is first prepared for games and a count, then run; only the run is measured.
"""

import ctypes
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from dnl import ExtragradientConfig, FitConfig, extragradient, fit_many, verify
from dnl.layers.posterior import PosteriorNetwork
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from dnl.surrogates.fitted import stack_surrogates
from dnl.surrogates.registry import (
    PAPER_SURROGATES,
    SURROGATES,
    Shape,
    make_surrogate,
    parameter_count,
)
from dnl.training.regression import SAMPLED_SIGNALS
from games import PersuasionGame, stack, synthetic_game
from games.randomness import stream

importlib.import_module("dnl.training.trainer")  # load Lightning before any time is taken

Run = Callable[[], Row]  # returns the columns of a row
Games = Sequence[PersuasionGame]
LEAST_RUNS, MOST_RUNS = 2, 10
ENOUGH_SECONDS = 0.5  # of all runs of a stage together: no further run after them


@dataclass(frozen=True)
class Stage:
    """One line of the figure.

    Attributes:
        prepare: maps games and a count to the run that is measured.
        count: the count at the base size.
        unit: the things counted.
    """

    prepare: Callable[[Games, int], Run]
    count: int
    unit: str


def simulation(games: Games, count: int) -> Run:
    """Exact utilities of `count` profiles of each game."""
    whole = stack(games)
    policies = torch.stack([game.sample_policies(count, stream("data", 0)) for game in games])

    def run() -> Row:
        utilities = whole.ex_ante_utility(policies, check=False)
        return {"utility": utilities[0, 0, 0].item()}

    return run


def estimation(games: Games, count: int) -> Run:
    """Estimated utilities of one profile of each game from `count` draws."""
    profiles = [game.sample_policies(1, stream("data", 0))[0] for game in games]

    def run() -> Row:
        found = [
            game.estimate_ex_ante_utility(profile, count, stream("draws", 0))
            for game, profile in zip(games, profiles, strict=True)
        ]
        return {
            "utility": found[0].utility[0].item(),
            "half_width": found[0].half_width[0].item(),
            "relative_half_width": (found[0].half_width / games[0].payoff_range).mean().item(),
        }

    return run


def training(surrogate: str, games: Games, count: int) -> Run:
    """One pass over `count` samples of each game: no restarts, no least squares."""
    recipe = replace(SURROGATES[surrogate].recipes["paper"], restarts=1, refit=0)
    config = FitConfig(recipe, samples=count, epochs=1, test_samples=100, device="cpu")

    def run() -> Row:
        began = time.perf_counter()
        fitted = fit_many(games, surrogate, config)
        # The rest simulates the samples, which is a separate stage.
        share = sum(f.fit_seconds for f in fitted) / (time.perf_counter() - began)
        return {"share": share}

    return run


def least_squares(games: Games, count: int) -> Run:
    """The heads of one posterior-dnl for each game, from `count` samples."""
    networks, x, y = [], [], []
    for game in games:
        networks.append(make_surrogate("posterior-dnl", game.shape))
        policies = game.sample_policies(count, stream("data", 0))
        x.append(policies.float().flatten(1))
        y.append(policies[:, :, 0, 0].float())

    def run() -> Row:
        for network, inputs, targets in zip(networks, x, y, strict=True):
            assert isinstance(network, PosteriorNetwork)
            network.refit(inputs, targets)
        return {}

    return run


def ascent(games: Games, count: int) -> Run:
    """Two iterations of extra-gradient from `count` starts on DNL surrogates of all games."""
    config = FitConfig(samples=100, epochs=1, test_samples=100, device="cpu")
    utility = stack_surrogates(fit_many(games, "dnl", config))
    starts = torch.stack([game.sample_policies(count, stream("starts", 0)) for game in games])
    starts = starts.float()

    def run() -> Row:
        extragradient(utility, starts, ExtragradientConfig(iterations=2))
        return {}

    return run


def verification(games: Games, count: int) -> Run:
    """`count` deviations of each sender from one profile of each game."""
    profiles = [game.sample_policies(1, stream("data", 0))[0] for game in games]

    def run() -> Row:
        for game, profile in zip(games, profiles, strict=True):
            verify(game, profile, method="sampled", deviations=count)
        return {}

    return run


STAGES: Mapping[str, Stage] = {
    "simulation": Stage(simulation, 16_000, "profiles"),
    "estimation": Stage(estimation, 64_000, "draws"),
    "relu": Stage(partial(training, "relu"), 4_000, "samples"),
    "delu": Stage(partial(training, "delu"), 4_000, "samples"),
    "dnl": Stage(partial(training, "dnl"), 4_000, "samples"),
    "posterior-dnl": Stage(partial(training, "posterior-dnl"), 4_000, "samples"),
    "its least squares": Stage(least_squares, 2_000, "samples"),
    "extra-gradient": Stage(ascent, 256, "starts"),
    "verification": Stage(verification, 16_000, "deviations"),
}


def work(stage: str, shape: Shape, n_games: int, count: int) -> float:
    """Multiplications in theory, up to a constant, as in the table in `growth.py`."""
    n, m, s, a = shape
    joint, choices = m**n, 2 * a + 4
    each = {
        "simulation": joint * s * a,
        "estimation": n * (s + m) + s * (n + a),
        **{name: n * _weights(name, shape) for name in PAPER_SURROGATES},
        "posterior-dnl": min(joint, SAMPLED_SIGNALS) * s * (n + 2 * choices),
        "its least squares": joint * s * (n + 2 * choices) + (s * choices) ** 2,
        "extra-gradient": n * _weights("dnl", shape),
        "verification": n * joint * s * a,
    }
    return float(n_games * count * each[stage])


def _weights(surrogate: str, shape: Shape) -> int:
    return parameter_count(make_surrogate(surrogate, shape))


def game_of(shape: Shape, instance: int) -> PersuasionGame:
    """A game with the paper's utilities and equally likely states.

    Unlike the law `"contested"`, drawing it needs no simulation.
    """
    game = synthetic_game(*shape, seed=instance, law="paper")
    return replace(game, prior=torch.full_like(game.prior, 1 / game.n_states))


def measured(key: Key) -> Row:
    """Seconds and memory of `key`: a stage, N, M, S, A, number of games and count.

    They are measured in a process forked from one that has only imported modules (Linux).
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["experiments.shared.stages"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured, key).result()


def _measured(key: Key) -> Row:
    """The least seconds of a few runs, and the peak memory of the first one."""
    torch.set_num_threads(1)
    stage, n, m, s, a, n_games, count = key
    prepare = STAGES[stage].prepare
    prepare([game_of((2, 2, 2, 2), 0)], 20)()  # the first call does one-time work
    run = prepare([game_of((n, m, s, a), instance) for instance in range(n_games)], count)
    ctypes.CDLL(None).malloc_trim(0)  # reuse of freed memory would not be counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = _memory("VmRSS")
    rows = [_timed(run)]
    peak = _memory("VmHWM")
    while len(rows) < LEAST_RUNS or (
        len(rows) < MOST_RUNS and sum(row["seconds"] for row in rows) < ENOUGH_SECONDS
    ):
        rows.append(_timed(run))
    best = min(rows, key=lambda row: row["seconds"])
    return best | {"added_mib": peak - before, "process_mib": peak}


def _timed(run: Run) -> Row:
    """The result of `run`, and its seconds of processor time.

    If the result has a `share`, only that share of the seconds counts.
    """
    began = time.process_time()
    row = run()
    seconds = time.process_time() - began
    return {"seconds": seconds * row.pop("share", 1.0)} | row


def _memory(name: str) -> float:
    """One entry of this process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024
