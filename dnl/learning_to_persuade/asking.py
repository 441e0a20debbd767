"""Our way: optimal persuasion of receivers that the answers allow for, one after the other.

A receiver who maximises expected utility is known by its utilities, up to what changes no choice.
An ensemble of such receivers (`dnl.layers.FollowerChoice`) is fitted to the answers. Optimal
persuasion of one of them is a linear program; its policy is the next query. If the member is right,
this is the best that can be done; if not, the receiver disobeys some recommendation, right where
the member's error pays. So queries go where the answers leave something open that matters for the
sender, as in Thompson sampling, and nowhere else. Recommendations keep a margin, so that a small
error of the model does not lose the receiver; some queries dare the opposite. An action that is
best for few posteriors only may still be overlooked: nothing is proven about what was not asked.

Shapes: `S` states, `M` messages, `A` actions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.exact.optimal_persuasion import obeyed
from dnl.learning_to_persuade.ensemble import ReceiverEnsemble
from dnl.learning_to_persuade.problem import (
    Interview,
    LearnedPolicy,
    SenderProblem,
    agreement,
)
from games import PersuasionGame, checks
from games.randomness import stream
from games.receivers import BaseReceiver
from games.surroundings import own_surroundings

SAME = 1e-3  # largest difference of two policies that count as one
CONCENTRATION = 0.1  # of the Dirichlet law of random policies: few messages per state


@dataclass(frozen=True)
class AskingConfig:
    """How to ask.

    In every turn the ensemble is fitted, and the best policy against each of its members asked.

    Attributes:
        queries: policies asked at most, with the random ones, and all that is asked again.
        random_queries: before the first fit.
        finalists: the policies worth most, which are asked again before one is chosen, at most.
        answers: to each finalist then, and to the one chosen once more for its prediction. Of a
            receiver who learns, and may settle elsewhere next time, one is not enough.
        members: of the ensemble.
        steps: of Adam, in every turn.
        lr: its rate at the start of each fit.
        margins: by which recommended actions must be best for a member, one turn after the other,
            as fractions of its utility range; below 0 they may fall short by as much.
        tolerance: stop where no member promises more than was reached, by this fraction of the
            sender's utility range, as many turns on end as there are margins.
    """

    queries: int = 80
    random_queries: int = 5
    finalists: int = 3
    answers: int = 1
    members: int = 4
    steps: int = 200
    lr: float = 0.03
    margins: tuple[float, ...] = (0.03, 0.01, 0.003, -0.03)
    tolerance: float = 0.003

    def __post_init__(self) -> None:
        for name in ("random_queries", "finalists", "answers", "members", "steps"):
            checks.positive_integer(name, getattr(self, name))
        checks.positive_integer("queries", self.queries, least=self.random_queries + self.reserved)
        checks.positive_number("lr", self.lr)
        checks.positive_number("tolerance", self.tolerance, allow_zero=True)
        margins = checks.sequence("margins", self.margins)
        if not margins or not all(isinstance(m, int | float) and abs(m) < 1 for m in margins):
            raise ValueError(f"margins must hold numbers between -1 and 1, got {margins!r}")
        object.__setattr__(self, "margins", margins)

    @property
    def reserved(self) -> int:
        """Queries that are kept for asking again: finalists, prediction, and the last one."""
        return (self.finalists + 1) * self.answers + 1


@own_surroundings()
def learn_by_asking(
    problem: SenderProblem,
    receiver: BaseReceiver,
    config: AskingConfig | None = None,
    seed: int = 0,
) -> LearnedPolicy:
    """Learn to persuade a receiver who is about rational, from its actions only.

    Args:
        problem: what the sender knows, with a message for every action.
        receiver: whom it asks.
        config: default: `AskingConfig()`.
        seed: of random queries and of the models' initial values.

    Returns:
        The best policy that was asked, by its worst answer. Fresh ones, which chose nothing, are on
        average what is `predicted`; the last of all is its `utility`. `accuracy` is of the
        ensemble: on answers it was fitted to, and on those to each turn's queries before it saw
        them.

    Raises:
        ValueError: for fewer messages than actions, a receiver of another game or a bad seed.
    """
    config = checks.instance("config", config or AskingConfig(), AskingConfig)
    seed = checks.positive_integer("seed", seed, least=0)
    interview = Interview(problem, receiver)
    n_states, n_actions = problem.utility.shape
    if problem.n_signals < n_actions:
        raise ValueError(
            f"problem must have a message for every action, got {problem.n_signals} messages "
            f"for {n_actions} actions"
        )
    interview.ask(_random(problem, config.random_queries, stream("starts", "asking", seed)))
    ensemble = ReceiverEnsemble(n_states, n_actions, config.members, "asking", seed)
    slack = problem.distance(config.tolerance)
    foreseen: list[float] = []
    turn = idle = 0
    while True:
        ensemble.fit(interview, config.steps, config.lr)
        games = _games(problem, ensemble)
        promised = _promise(problem, games) > max(interview.utilities) + slack
        idle = 0 if promised else idle + 1
        left = config.queries - config.reserved - len(interview.utilities)
        if idle == len(config.margins) or left == 0:
            break
        margin = config.margins[turn % len(config.margins)]
        plans = [obeyed(game, margin) for game in games][:left]
        asked = [plan for plan in plans if plan is not None]
        if not asked:  # no member obeys anything by such a margin
            asked = [*_random(problem, 1, stream("starts", "asking", seed, turn))]
        foreseen.append(_foresight(interview, ensemble, torch.stack(asked)))
        turn += 1
    fitted = agreement(ensemble.response(interview.columns), interview.frequencies)
    best = _confirmed(interview, config.finalists, config.answers)
    _, (*fresh, utility) = interview.ask(torch.stack([best] * (config.answers + 1)))
    return LearnedPolicy(
        method="asking",
        policies=best,
        utility=utility.item(),
        predicted=(sum(fresh) / len(fresh)).item(),
        queries=len(interview.utilities),
        utilities=tuple(interview.utilities),
        accuracy=(fitted, sum(foreseen) / len(foreseen) if foreseen else float("nan")),
        converged=idle == len(config.margins),
    )


def _confirmed(interview: Interview, finalists: int, answers: int) -> Tensor:
    """Of the policies worth most, asked again, the one `(1, S, M)` whose worst answer is best.

    A receiver who learns may settle elsewhere next time where it hardly matters to it. The best of
    many answers is then a lucky one. Of policies that are nearly the same one is a finalist.
    """
    chosen: list[int] = []
    for index in sorted(range(len(interview.policies)), key=lambda i: -interview.utilities[i]):
        policy = interview.policies[index]
        if all((interview.policies[i] - policy).abs().amax() > SAME for i in chosen):
            chosen.append(index)
        if len(chosen) == finalists:
            break
    before = [interview.utilities[i] for i in chosen]
    again = torch.stack([interview.policies[i] for i in chosen]).repeat(answers, 1, 1, 1)
    _, values = interview.ask(again)
    lowest = values.view(answers, -1).amin(0).tolist()
    worst = [min(pair) for pair in zip(before, lowest, strict=True)]
    return interview.policies[chosen[worst.index(max(worst))]]


def _random(problem: SenderProblem, count: int, generator: torch.Generator) -> Tensor:
    """Random policies `(count, 1, S, M)` whose states have few messages each."""
    shape = (count, 1, len(problem.prior), problem.n_signals)
    alpha = torch.full(shape, CONCENTRATION, dtype=torch.float64)
    drawn: Tensor = torch._sample_dirichlet(alpha, generator=generator)
    return drawn


def _games(problem: SenderProblem, ensemble: ReceiverEnsemble) -> list[PersuasionGame]:
    """The game as it is if a member of the ensemble is right, for each."""
    u = problem.utility.unsqueeze(0)
    utilities = map(ensemble.receiver_utility, range(len(ensemble)))
    return [PersuasionGame(problem.prior, v, u, problem.n_signals, "senders") for v in utilities]


def _promise(problem: SenderProblem, games: list[PersuasionGame]) -> float:
    """The most that a member promises."""
    plans = [obeyed(game, 0.0) for game in games]
    promises = [_recommended(problem, plan) for plan in plans if plan is not None]
    return max(promises, default=float("-inf"))


def _recommended(problem: SenderProblem, plan: Tensor) -> float:
    """The sender's utility if every recommendation of `plan (1, S, M)` is followed."""
    n_actions = problem.utility.shape[1]
    return (problem.prior.unsqueeze(-1) * plan[0, :, :n_actions] * problem.utility).sum().item()


def _foresight(interview: Interview, ensemble: ReceiverEnsemble, plans: Tensor) -> float:
    """Ask `plans (B, 1, S, M)`; the share of their messages whose answer the ensemble foresaw."""
    before = len(interview.columns)
    interview.ask(plans)
    columns = interview.columns[before:]
    return agreement(ensemble.response(columns), interview.frequencies[before:])
