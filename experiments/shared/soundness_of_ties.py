"""Test the exact bounds where payoffs tie, against an exact enumeration in random games.

Utilities are 0, 1 or 2, so that the receiver is indifferent at many posteriors and actions are
often alike; states may have probability 0; half of the games are in single precision. The true
values come from `tests/references/ties.py`, which decides every tie in integers and imports nothing
under test. All numbers drawn are fractions that both represent exactly.
"""

import importlib
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dnl import best_response, optimal_persuasion, welfare_ceiling
from dnl.exact.status import Status
from dnl.runtime.records import Row
from dnl.runtime.tables import Key
from games import PersuasionGame
from games.persuasion.game import TIE_BREAKS
from games.randomness import stream

TABLE = "ties.csv"
RADIUS = 0.25
TOLERANCE = 1e-7  # requested, as a fraction of the payoff range
BOUND_ERROR = 1.01e-6  # of the payoff range: largest allowed error of a bound
WITNESS_LOSS = 1e-5  # of the payoff range: largest loss of a witness to its margin
UNDECIDED = (Status.TIME_LIMIT, Status.MEMORY_LIMIT, Status.SUSPECT)
WRONG = ("beaten", "loose", "missed", "invented")
PRIOR_DENOMINATOR = 8  # denominator of priors: exact in any floating-point format

Found = tuple[float, float, str]  # bound, reached, status


def row_of(key: Key, time_limit: float, seed: int) -> list[Row]:
    """The rows of one game, one for each quantity that is computed and enumerated.

    A ceiling is a bound without a witness. The enumeration gives the welfare of a planner who may
    tell the receiver anything: no senders reach more, and one with enough signals reaches it.
    """
    (index,) = key
    game, policies = draw(index, seed)
    sender = index % game.n_senders
    truth = _reference()
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    own = game.sender_utility[sender : sender + 1]
    alone = PersuasionGame(*tables[:2], own, game.n_signals, game.tie_break)

    def responded(radius: float | None) -> Found:
        found = best_response(game, policies, sender, radius, time_limit, tolerance=TOLERANCE)
        return found.upper_bound, found.utility, str(found.status)

    def persuaded() -> Found:
        found = optimal_persuasion(alone, time_limit)
        return found.upper_bound, found.utility, str(found.status)

    def ceiling() -> Found:
        return welfare_ceiling(game).any_profile, math.nan, str(Status.OPTIMAL)

    def enumerated(radius: float | None) -> float:
        return float(truth.best_response(*tables, policies, sender, game.tie_break, radius))

    def planned() -> float:
        worth = truth.welfare(game.sender_utility)
        order = None if game.tie_break == "first" else worth
        return float(truth.planner(*tables[:2], worth, order))

    def optimum() -> float:
        return float(truth.optimal_persuasion(*tables[:2], own[0], game.n_signals, game.tie_break))

    quantities: dict[str, tuple[Callable[[], Found], Callable[[], float]]] = {
        "optimal persuasion": (persuaded, optimum),
        "ceiling": (ceiling, planned),
        "response": (lambda: responded(None), lambda: enumerated(None)),
    }
    if game.n_states * (game.n_signals - 1) <= 4:  # beyond this the enumeration takes minutes
        quantities["response nearby"] = (lambda: responded(RADIUS), lambda: enumerated(RADIUS))
    n, m, s, a = game.shape
    shared = {
        "game": index,
        "n_senders": n,
        "n_signals": m,
        "n_states": s,
        "n_actions": a,
        "identity": game.identity,
        "tie_break": game.tie_break,
        "dtype": str(game.prior.dtype).removeprefix("torch."),
        "impossible_states": int((game.prior == 0).sum()),
    }
    return [
        shared | {"quantity": name} | compared(game, *functions)
        for name, functions in quantities.items()
    ]


def compared(
    game: PersuasionGame, compute: Callable[[], Found], enumerate_: Callable[[], float]
) -> dict[str, Any]:
    """Bound, value reached, true value, and the errors among them.

    "beaten": the truth exceeds the bound; "loose": the bound exceeds the truth; "missed": the
    witness is worth less than the truth; "invented": it is worth more.
    """
    span = max(game.payoff_range.max().item(), 1.0)
    began = time.perf_counter()
    bound, reached, status = compute()
    seconds = time.perf_counter() - began
    truth = enumerate_()
    undecided = status in UNDECIDED
    return {
        "truth": truth,
        "bound": bound,
        "reached": reached,
        "status": status,
        "seconds": round(seconds, 4),
        "undecided": undecided,
        "beaten": truth > bound + BOUND_ERROR * span,
        "loose": not undecided and bound > truth + BOUND_ERROR * span,
        "missed": not undecided and reached < truth - WITNESS_LOSS * span,
        "invented": reached > truth + BOUND_ERROR * span,
    }


def draw(index: int, seed: int) -> tuple[PersuasionGame, Tensor]:
    """The game of this index and a profile `(N, S, M)` of multiples of a half or a quarter."""
    generator = stream("verifier", "soundness", "ties", seed, index)

    def pick(low: int, high: int, *size: int) -> Tensor:
        return torch.randint(low, high + 1, size, generator=generator)

    n = int(pick(1, 3))
    m, s, a = (int(pick(1, 4)) for _ in range(3))
    if n == 3 or m < s:  # limits the enumeration: others' joint signals, columns together
        m = min(m, 2)
    single = bool(pick(0, 1))
    if single:
        prior = torch.bincount(pick(0, s - 1, PRIOR_DENOMINATOR), minlength=s) / PRIOR_DENOMINATOR
    else:
        shares = pick(0, 3, s)
        shares[pick(0, s - 1)] += 1
        prior = shares.double() / shares.sum()
    dtype = torch.float32 if single else torch.float64
    game = PersuasionGame(
        prior.to(dtype),
        pick(0, 2, s, a).to(dtype),
        pick(0, 2, n, s, a).to(dtype),
        m,
        TIE_BREAKS[int(pick(0, 1))],
    )
    steps = int(2 ** pick(0, 2))
    sent = pick(0, m - 1, n, s, steps)
    policies = torch.nn.functional.one_hot(sent, m).sum(2) / steps
    return game, policies.to(dtype)


def _reference() -> ModuleType:
    folder = str(Path(__file__).resolve().parents[2])
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("tests.references.ties")


def report(rows: pd.DataFrame) -> str:
    """One sentence on the table."""
    counts = ", ".join(f"{int(rows[name].sum())} {name}" for name in (*WRONG, "undecided"))
    return f"{rows['game'].nunique()} games with ties, {len(rows)} values enumerated: {counts}"
