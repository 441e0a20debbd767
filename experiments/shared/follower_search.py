"""Optimise a game through surrogates, in rounds that sample ever closer to the best point so far.

Uniform samples do not show what a follower does near an optimum. So games with a single leader are
searched in rounds with fresh samples, each on a smaller part of the game around the best point so
far. The follower network is fitted to that part and all earlier ones together. Where its prediction
was wrong, it has hardly seen the follower's choice, so more samples are drawn there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dnl import ExtragradientConfig, FitConfig, FittedSurrogate, extragradient, fit_many
from dnl.gradients.own_gradient import Utility
from dnl.runtime.records import Row
from dnl.surrogates.learned_optimum import learned_optimum
from games import Focused, FollowerGame, Zoomed
from games.randomness import stream

SHRINK_FACTOR = 0.7  # size of the sampled part of the game, relative to the round before
WRONG_SHARE = 0.01  # of the spread of utilities: a prediction with a larger error is wrong
DRAWN_PROFILES = 10_000  # random profiles that show whether a learned choice occurs
DEVIATIONS = 100  # random decisions of each leader that rate a profile


@dataclass(frozen=True, eq=False)
class Task:
    """One game to be optimised.

    Attributes:
        game: the true game.
        starts: `(B, N, S, M)`, starting points of the ascents.
        score: maps a profile `(N, S, M)` to its values in the true game, `"reached"` among them.
    """

    game: FollowerGame
    starts: Tensor
    score: Callable[[Tensor], Row]


Propose = Callable[[FittedSurrogate, Task, FollowerGame], Tensor]  # a few points (few, N, S, M)


@dataclass(eq=False)
class _Search:
    """State of the search in one game: the part to sample, the best point (at first any), row."""

    task: Task
    part: FollowerGame
    best: Tensor
    row: Row = field(default_factory=dict)


def zoom(
    tasks: Sequence[Task], surrogate: str, config: FitConfig, propose: Propose, rounds: int
) -> list[Row]:
    """Optimise the tasks through surrogates; with a single leader the best of all rounds counts.

    With several leaders there is one round, with the samples of all rounds.

    Args:
        tasks: games whose networks are trained as one model.
        surrogate: name of the networks.
        config: how they are trained in a round.
        propose: the points to evaluate in the true game in a round.
        rounds: number of rounds.

    Returns:
        for each task the best point's score, its prediction and round, and the error of the first
        round's surrogate on uniform profiles.
    """
    if tasks[0].game.shape[0] > 1:
        config, rounds = replace(config, samples=rounds * config.samples), 1
    searches = [_Search(task, task.game, task.starts[0]) for task in tasks]
    for turn in range(rounds):
        fits = fit_many([search.part for search in searches], surrogate, config)
        for search, fitted in zip(searches, fits, strict=True):
            surprises = _ask(search, fitted, propose, turn)
            size = SHRINK_FACTOR ** (turn + 1)
            if turn == rounds - 1:
                continue
            around = Zoomed(search.task.game, search.best, size)
            if surrogate != "follower-dnl":
                search.part = around
                continue
            before = search.part.parts if isinstance(search.part, Focused) else ()
            more = (Zoomed(search.task.game, point, size / 2) for point in surprises[:1])
            search.part = Focused(search.task.game, (*before, around, *more))
    return [search.row for search in searches]


def _ask(search: _Search, fitted: FittedSurrogate, propose: Propose, turn: int) -> list[Tensor]:
    """Evaluate proposed points in the true game; return those where the surrogate was wrong."""
    points = propose(fitted, search.task, search.part)  # (few, N, S, M)
    real = search.part.real(points) if isinstance(search.part, Zoomed) else points
    scores = [search.task.score(point) for point in real]
    predicted = [fitted(point).sum().item() for point in points]
    best = max(range(len(scores)), key=lambda k: scores[k]["reached"])
    if turn == 0:
        search.row |= {
            "unexplained": fitted.unexplained.mean().item(),
            "parameters": fitted.parameter_count,
            "fit_seconds": 0.0,
        }
    if turn == 0 or scores[best]["reached"] > search.row["reached"]:
        search.row |= {"predicted": predicted[best], "round": turn, **scores[best]}
        search.best = real[best]
    search.row["fit_seconds"] += fitted.fit_seconds
    slack = WRONG_SHARE * fitted.scale.sum().item()
    pairs = zip(real, predicted, scores, strict=True)
    return [point for point, p, score in pairs if abs(p - score["reached"]) > slack]


def programmed(fitted: FittedSurrogate, part: FollowerGame, margins: Sequence[float]) -> Tensor:
    """Optima of what was learned, `(few, 1, S, M)`, one for each margin that leaves room.

    Margins are relative to the smallest part that the surrogate was trained on.
    """
    sizes = [zoomed.size for zoomed in part.parts] if isinstance(part, Focused) else []
    profiles = part.sample_policies(DRAWN_PROFILES, stream("learned optimum", 0, part.identity))
    points = []
    for margin in sorted(margins):
        try:
            points.append(learned_optimum(fitted, margin * min(sizes, default=1.0), profiles))
        except ValueError:  # no choice has a piece of that size
            break
    if not points:
        raise ValueError(f"margins must leave room in the piece of some choice, got {margins!r}")
    return torch.stack(points)


def ascend(
    utility: Utility, game: FollowerGame, starts: Tensor, config: ExtragradientConfig
) -> Tensor:
    """The profile `(N, S, M)` that the surrogate rates best among those that extra-gradient visits.

    With a single leader the rating is its utility. With several it is the largest predicted gain of
    any of them by one of 100 random decisions; that is slow, so only every tenth profile is rated.
    """
    worth = _worth(utility, game)
    every = 1 if game.shape[0] == 1 else 10
    calls, best, policies = 0, float("-inf"), starts[0]

    def watched(at: Tensor) -> Tensor:
        nonlocal calls, best, policies
        if calls % every == 0:
            with torch.no_grad():
                value, index = worth(at).max(0)
            if value.item() > best:
                best, policies = value.item(), at[index].detach()
        calls += 1
        return utility(at)

    ends = extragradient(watched, starts, config).policies
    calls = 0
    watched(ends)
    exact = policies.double()
    return exact / exact.sum(-1, keepdim=True)


def _worth(utility: Utility, game: FollowerGame) -> Utility:
    """The surrogate's rating of profiles, `(B, N, S, M) -> (B,)`: see `ascend`."""
    n_leaders = game.shape[0]
    if n_leaders == 1:
        return lambda at: utility(at)[:, 0]
    decisions = game.sample_policies(DEVIATIONS, stream("deviations", 0, game.identity))

    def least_gain(at: Tensor) -> Tensor:
        now, gains = utility(at), []
        for n in range(n_leaders):
            deviated = at.unsqueeze(1).repeat(1, DEVIATIONS, 1, 1, 1)  # (B, D, N, S, M)
            deviated[:, :, n] = decisions[:, n].to(at)
            values = utility(deviated.flatten(0, 1))[:, n].view(len(at), DEVIATIONS)
            gains.append((values.amax(1) - now[:, n]) / game.payoff_range[n].to(at))
        return -torch.stack(gains).amax(0)

    return least_gain
