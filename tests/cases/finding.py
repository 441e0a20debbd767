"""Games, and what is found in them, for the tests of the finder and its members."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from dnl import Equilibrium, Verification, find_equilibria, verify
from dnl.equilibria.search import Search
from dnl.runtime.budget import Budget
from games import PersuasionGame, synthetic_game

Sizes = tuple[int, int, int, int]  # N, M, S, A
IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
GAMES = [((2, 2, 2, 2), 1), ((2, 2, 3, 2), 1), ((3, 2, 2, 2), 2)]


def contested(sizes: Sizes, seed: int) -> PersuasionGame:
    return synthetic_game(*sizes, seed=seed, law="contested")


def searching(game: PersuasionGame, radius: float = 0.005, seconds: float = 1e6) -> Search:
    return Search(game, radius, Budget.within(seconds))


def tensors(proposals: Iterator[Tensor | None]) -> list[Tensor]:
    return [policies for policies in proposals if policies is not None]


def prosecutors(
    guilty: tuple[float, ...] = (0.3, 0.3, 0.3),
    weights: tuple[float, ...] = (1.0, 1.0, 1.0),
    *,
    own: bool = False,
    tie_break: str = "first",
) -> PersuasionGame:
    """Independent cases, a prosecutor for each, and a judge who gives a verdict on all.

    The judge earns a case's weight for a right verdict. Every sender earns 1 for each conviction;
    with `own` for that in its own case only. Two signals.
    """
    verdicts = torch.tensor(list(product((0, 1), repeat=len(guilty)))).double()  # (S, cases)
    odds = torch.tensor(guilty).double()
    prior = torch.where(verdicts > 0, odds, 1 - odds).prod(1)
    right = (verdicts[:, None] == verdicts[None]).double()  # (S, A, cases)
    convicted = verdicts.T[:, None, :].repeat(1, len(verdicts), 1)  # (N, S, A)
    u = convicted if own else convicted.sum(0).repeat(len(guilty), 1, 1)
    return PersuasionGame(prior, right @ torch.tensor(weights).double(), u, 2, tie_break)


def convicted_best(guilty: tuple[float, ...]) -> float:
    """Expected convictions if every prosecutor is as persuasive as one alone can be.

    The judge must find guilt at least as likely as innocence, so that the innocent can be convicted
    as often as the guilty: twice the probability of guilt (Kamenica and Gentzkow 2011).
    """
    return sum(2 * odds for odds in guilty)


def groups(n_senders: int, n_groups: int, n_pairs: int, n_signals: int) -> PersuasionGame:
    """Equally likely states in pairs, pairs in groups; the best is to reveal the pair, no more.

    Actions: *pool p* pays the receiver 0.7 in both states of pair p and every sender 2; *name s*
    pays the receiver 1 in state s and -1 in its twin; *group g* pays the receiver 0.5 in its
    states, one sender 3 and the others -6; a fallback pays the receiver 0.2 and senders -5. Outside
    of an action's states the receiver gets -10; what is not stated pays senders 0.
    """
    n_states = 2 * n_groups * n_pairs
    v, u = [], []

    def action(values: dict[int, float], paid: list[float]) -> None:
        v.append([values.get(s, -10.0) for s in range(n_states)])
        u.append([[pay if s in values else 0.0 for s in range(n_states)] for pay in paid])

    for p in range(0, n_states, 2):
        action({p: 0.7, p + 1: 0.7}, [2.0] * n_senders)
    for s in range(n_states):
        action({s: 1.0, s ^ 1: -1.0}, [0.0] * n_senders)
    for g in range(n_groups):
        inside = range(2 * n_pairs * g, 2 * n_pairs * (g + 1))
        paid = [3.0 if n == g % n_senders else -6.0 for n in range(n_senders)]
        action(dict.fromkeys(inside, 0.5), paid)
    action(dict.fromkeys(range(n_states), 0.2), [-5.0] * n_senders)
    utility = torch.tensor(u).permute(1, 2, 0).double()  # (N, S, A)
    prior = torch.full((n_states,), 1 / n_states, dtype=torch.float64)
    return PersuasionGame(prior, torch.tensor(v).T.double(), utility, n_signals)


def verified(game: PersuasionGame, policies: Tensor, *args: Any, **more: Any) -> Verification:
    """What `verify` says of one profile."""
    found = verify(game, policies, *args, **more)
    assert isinstance(found, Verification)
    return found


@cache
def found_in(sizes: Sizes, seed: int) -> tuple[Equilibrium, ...]:
    """By the whole portfolio; called from tests only, so with few starts."""
    return find_equilibria(contested(sizes, seed), time_limit=30.0)


def assert_equal(first: Equilibrium, second: Equilibrium) -> None:
    assert first.game == second.game
    assert torch.equal(first.policies, second.policies)
    assert (first.source, first.status) == (second.source, second.status)
    for name in ("verification", "global_verification"):
        one, two = getattr(first, name), getattr(second, name)
        assert (one.verdict, one.radius, one.status) == (two.verdict, two.radius, two.status)
        # Bounds: the search may have a looser one, that the senders' own ceilings imply.
        slack = 1e-5 * first.game.payoff_range
        assert ((one.gain - two.gain).abs() <= slack + 1e-9).all()
