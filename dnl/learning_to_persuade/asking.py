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

from dnl.learning_to_persuade.ensemble import ReceiverEnsemble
from dnl.learning_to_persuade.problem import Interview, LearnedPolicy, SenderProblem
from dnl.persuasion import obeyed
from games import PersuasionGame, checks
from games.randomness import stream
from games.receivers import BaseReceiver

FINAL = 5  # times the usual steps, once, before the last query
CONCENTRATION = 0.1  # of the Dirichlet law of random policies: few messages per state


@dataclass(frozen=True)
class AskingConfig:
    """How to ask.

    Attributes:
        queries: policies asked at most, with the random ones and the last.
        random_queries: before the first fit.
        members: of the ensemble.
        steps: of Adam, after every query.
        lr: its rate at the start of each fit.
        margins: by which recommended actions must be best for a member, in turn, as fractions of
            its utility range; below 0 they may fall short by as much.
        tolerance: stop where no member has promised more than was reached, by this fraction of the
            sender's utility range, until each was asked about with each margin.
    """

    queries: int = 60
    random_queries: int = 5
    members: int = 4
    steps: int = 200
    lr: float = 0.03
    margins: tuple[float, ...] = (0.01, 0.003, -0.03)
    tolerance: float = 0.003

    def __post_init__(self) -> None:
        for name in ("random_queries", "members", "steps"):
            checks.positive_integer(name, getattr(self, name))
        checks.positive_integer("queries", self.queries, least=self.random_queries + 1)
        checks.positive_number("lr", self.lr)
        checks.positive_number("tolerance", self.tolerance, allow_zero=True)
        margins = tuple(self.margins)
        if not margins or not all(isinstance(m, int | float) and abs(m) < 1 for m in margins):
            raise ValueError(f"margins must hold numbers between -1 and 1, got {self.margins!r}")
        object.__setattr__(self, "margins", margins)


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
        The best policy that was asked, after asking it once more.

    Raises:
        ValueError: for fewer messages than actions, a receiver of another game or a bad seed.
    """
    config = config or AskingConfig()
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
    slack = config.tolerance * (problem.utility.max() - problem.utility.min()).item()
    foreseen: list[float] = []
    idle, patience = 0, config.members * len(config.margins)
    for turn in range(config.queries - config.random_queries):
        ensemble.fit(interview, config.steps, config.lr)
        promised = _promise(problem, ensemble) > max(interview.utilities) + slack
        idle = 0 if promised else idle + 1
        if idle == patience or len(interview.utilities) == config.queries - 1:
            break
        margin = config.margins[turn % len(config.margins)]
        plan = obeyed(_game(problem, ensemble, turn % config.members), margin)
        if plan is None:  # this member obeys nothing by such a margin
            plan = _random(problem, 1, stream("starts", "asking", seed, turn))[0]
        foreseen.append(_foresight(interview, ensemble, plan))
    best = interview.best
    assert best is not None
    ensemble.fit(interview, FINAL * config.steps, config.lr, enough=0.0)  # to foretell it well
    predicted = problem.value(best.unsqueeze(0), ensemble.response(_columns(problem, best))[None])
    _, utility = interview.ask(best.unsqueeze(0))
    return LearnedPolicy(
        method="asking",
        policies=best,
        utility=utility.item(),
        predicted=predicted.item(),
        queries=len(interview.utilities),
        utilities=tuple(interview.utilities),
        accuracy=(
            _agreement(ensemble.response(interview.columns), interview.frequencies),
            sum(foreseen) / len(foreseen) if foreseen else float("nan"),
        ),
        converged=idle == patience,
    )


def _random(problem: SenderProblem, count: int, generator: torch.Generator) -> Tensor:
    """Random policies `(count, 1, S, M)` whose states have few messages each."""
    shape = (count, 1, len(problem.prior), problem.n_signals)
    alpha = torch.full(shape, CONCENTRATION, dtype=torch.float64)
    drawn: Tensor = torch._sample_dirichlet(alpha, generator=generator)
    return drawn


def _game(problem: SenderProblem, ensemble: ReceiverEnsemble, member: int) -> PersuasionGame:
    """The game as it is if one member of the ensemble is right."""
    v = ensemble.receiver_utility(member)
    return PersuasionGame(
        problem.prior, v, problem.utility.unsqueeze(0), problem.n_signals, "senders"
    )


def _promise(problem: SenderProblem, ensemble: ReceiverEnsemble) -> float:
    """The most that a member promises."""
    promises = [float("-inf")]
    for member in range(len(ensemble)):
        game = _game(problem, ensemble, member)
        if (plan := obeyed(game, 0.0)) is not None:
            promises.append(_recommended(problem, plan))
    return max(promises)


def _recommended(problem: SenderProblem, plan: Tensor) -> float:
    """The sender's utility if every recommendation of `plan (1, S, M)` is followed."""
    n_actions = problem.utility.shape[1]
    return (problem.prior.unsqueeze(-1) * plan[0, :, :n_actions] * problem.utility).sum().item()


def _columns(problem: SenderProblem, policies: Tensor) -> Tensor:
    """Joint probabilities of messages and states `(M, S)` under `(1, S, M)`."""
    return (problem.prior.unsqueeze(-1) * policies[0]).mT


def _foresight(interview: Interview, ensemble: ReceiverEnsemble, plan: Tensor) -> float:
    """Ask `plan (1, S, M)`; the share of its messages whose answer the ensemble foresaw."""
    before = len(interview.columns)
    interview.ask(plan.unsqueeze(0))
    columns = interview.columns[before:]
    return _agreement(ensemble.response(columns), interview.frequencies[before:])


def _agreement(first: Tensor, second: Tensor) -> float:
    """Share of rows `(X, A)` whose largest entries are at the same place."""
    return (first.argmax(-1) == second.argmax(-1)).double().mean().item()
