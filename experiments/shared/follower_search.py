"""Search through surrogates: which points of a game its surrogate proposes, round by round.

Uniform samples do not show what a follower does near an optimum. So single leaders go round by
round, with fresh samples: on a smaller part of the game each time around the best point so far, or,
for the follower network, whose pieces tell one another apart, on that part and all earlier ones
together. A point where the follower network was wrong shows a choice that it has hardly seen: it is
shown more there.
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

SHRINK = 0.7  # of the part of the game that is left, from round to round
WRONG = 0.01  # of the spread of utilities: a larger error of a prediction is a surprise
PROFILES = 10_000  # by which a learned choice is known to occur
DEVIATIONS = 100  # random decisions of each leader by which a surrogate judges a profile


@dataclass(frozen=True, eq=False)
class Task:
    """One game to be optimised.

    Attributes:
        game: the true game.
        starts: `(B, N, S, M)`, where ascents begin.
        score: what the true game says of a profile `(N, S, M)`: `"reached"` and more.
    """

    game: FollowerGame
    starts: Tensor
    score: Callable[[Tensor], Row]


Propose = Callable[[FittedSurrogate, Task, FollowerGame], Tensor]  # a few points (few, N, S, M)


@dataclass(eq=False)
class _Search:
    """Where the search in one game stands: what is sampled, the best point (at first any), row."""

    task: Task
    part: FollowerGame
    best: Tensor
    row: Row = field(default_factory=dict)


def zoom(
    tasks: Sequence[Task], surrogate: str, config: FitConfig, propose: Propose, rounds: int
) -> list[Row]:
    """What surrogates lead to: of a single leader the best of all rounds.

    Of several leaders there is one round, of all rounds' samples.

    Args:
        tasks: whose networks are trained as one model.
        surrogate: name of the networks.
        config: how they are trained in a round.
        propose: the points about which the true game is asked in a round.
        rounds: how many.

    Returns:
        for each task the best point's score, what was predicted of it and in which round, and the
        error of the first round's surrogate, which is on uniform profiles.
    """
    if tasks[0].game.shape[0] > 1:
        config, rounds = replace(config, samples=rounds * config.samples), 1
    searches = [_Search(task, task.game, task.starts[0]) for task in tasks]
    for turn in range(rounds):
        fits = fit_many([search.part for search in searches], surrogate, config)
        for search, fitted in zip(searches, fits, strict=True):
            surprises = _ask(search, fitted, propose, turn)
            size = SHRINK ** (turn + 1)
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
    """Ask the true game about proposed points; those at which the surrogate was wrong."""
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
    slack = WRONG * fitted.scale.sum().item()
    pairs = zip(real, predicted, scores, strict=True)
    return [point for point, p, score in pairs if abs(p - score["reached"]) > slack]


def programmed(fitted: FittedSurrogate, part: FollowerGame, margins: Sequence[float]) -> Tensor:
    """Optima of what was learned, `(few, 1, S, M)`, one for each margin that leaves room.

    Margins are of the smallest part that the surrogate was shown.
    """
    sizes = [zoomed.size for zoomed in part.parts] if isinstance(part, Focused) else []
    profiles = part.sample_policies(PROFILES, stream("learned optimum", 0, part.identity))
    points = []
    for margin in sorted(margins):
        try:
            points.append(learned_optimum(fitted, margin * min(sizes, default=1.0), profiles))
        except ValueError:  # no choice has so much room
            break
    if not points:
        raise ValueError(f"margins must leave room in the piece of some choice, got {margins!r}")
    return torch.stack(points)


def ascend(
    utility: Utility, game: FollowerGame, starts: Tensor, config: ExtragradientConfig
) -> Tensor:
    """The profile `(N, S, M)`, of those that extra-gradient visits, that the surrogate likes best.

    A single leader's by its utility. Several leaders' by the most that one of them gains, as the
    surrogate sees it, by one of 100 random decisions; that takes time, so only at every tenth one.
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
    """What a surrogate thinks of profiles, `(B, N, S, M) -> (B,)`: see `ascend`."""
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
