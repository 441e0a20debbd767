"""Our method: persuade optimally the receivers that are consistent with the answers so far.

A receiver that maximises expected utility is described by its utilities, up to changes that change
no choice. An ensemble of such receivers (`dnl.layers.FollowerChoice`) is fitted to the answers.
Optimal persuasion of one member is a linear program; its policy is the next query. If the member is
right, this policy is optimal; if not, the receiver disobeys some recommendation where the member is
wrong. So, as in Thompson sampling, queries go only where the answers leave open what matters to the
sender. Recommendations keep a margin, so that a small error of the model does not lose the
receiver; some queries try a negative margin. The method may still miss an action that is best at
few posteriors only: nothing is proven about policies that were not asked.

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
from dnl.runtime.settings import config_of
from games import PersuasionGame, checks
from games.randomness import seed_of, stream
from games.receivers import BaseReceiver
from games.surroundings import own_surroundings

SAME_POLICY = 1e-3  # largest difference of probabilities between policies that count as one
CONCENTRATION = 0.1  # of the Dirichlet law of random policies; small: few messages per state


@dataclass(frozen=True)
class AskingConfig:
    """Settings. Every turn fits the ensemble and asks the best policy against each member.

    Attributes:
        queries: largest number of policies asked, including random and repeated ones.
        random_queries: before the first fit.
        finalists: at most so many of the best policies are asked again before one is chosen.
        answers: to each finalist then, and again to the chosen policy for its prediction. One is
            not enough for a receiver that learns and may settle elsewhere next time.
        members: of the ensemble.
        steps: of Adam, in every turn.
        lr: Adam's learning rate at the start of each fit.
        margins: by which recommended actions must be best for a member, in turn, as fractions of
            its utility range; with a negative margin they may fall short by as much.
        tolerance: stop once, for as many successive turns as there are margins, no member promises
            more than the best utility so far plus this fraction of the sender's utility range.
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
            raise ValueError(
                f"margins must hold numbers between -1 and 1, got {checks.shown(margins)}"
            )
        object.__setattr__(self, "margins", margins)

    @property
    def reserved(self) -> int:
        """Queries reserved for repetitions: finalists, the prediction, and the last one."""
        return (self.finalists + 1) * self.answers + 1


@own_surroundings()
def learn_by_asking(
    problem: SenderProblem,
    receiver: BaseReceiver,
    config: AskingConfig | None = None,
    seed: int | None = None,
    *,
    generator: torch.Generator | None = None,
) -> LearnedPolicy:
    """Learn to persuade a nearly rational receiver from its actions alone.

    Args:
        problem: what the sender knows, with a message for every action.
        receiver: answers the queries.
        config: default: `AskingConfig()`.
        seed: of random queries and of the models' initial values; None for 0.
        generator: instead of `seed`.

    Returns:
        The policy asked whose worst answer is best. `predicted` is the mean of fresh answers to it,
        which played no part in the choice; `utility` is the last answer. `accuracy` is the
        ensemble's: on the answers it was fitted to, and on each turn's answers before it saw them.

    Raises:
        ValueError: for fewer messages than actions, a single action, a receiver of another game or
            a bad seed.
    """
    config = config_of(config, AskingConfig)
    interview = Interview(problem, receiver)
    n_states, n_actions = problem.utility.shape
    if n_actions < 2:
        raise ValueError(f"problem must have at least two actions, got {n_actions}")
    if problem.n_signals < n_actions:
        raise ValueError(
            f"problem must have a message for every action, got {problem.n_signals} messages "
            f"for {n_actions} actions"
        )
    seed = seed_of(seed, generator)
    interview.ask(_random(problem, config.random_queries, stream("starts", "asking", seed)))
    ensemble = ReceiverEnsemble(n_states, n_actions, config.members, "asking", seed)
    foreseen, converged = _query_in_turns(interview, ensemble, config, seed)
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
        accuracy=(fitted, foreseen),
        converged=converged,
    )


def _query_in_turns(
    interview: Interview, ensemble: ReceiverEnsemble, config: AskingConfig, seed: int
) -> tuple[float, bool]:
    """Fit the ensemble and ask the best policies against its members, turn by turn.

    Returns:
        how often the ensemble predicted an answer before it saw it, the mean over turns, NaN
        without a turn; and whether the stopping rule ended the turns.
    """
    problem = interview.problem
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
        if not asked:  # no member obeys any plan by this margin
            asked = [*_random(problem, 1, stream("starts", "asking", seed, turn))]
        foreseen.append(_foresight(interview, ensemble, torch.stack(asked)))
        turn += 1
    mean = sum(foreseen) / len(foreseen) if foreseen else float("nan")
    return mean, idle == len(config.margins)


def _confirmed(interview: Interview, finalists: int, answers: int) -> Tensor:
    """Ask the best policies again; the one `(1, S, M)` whose worst answer is best.

    A receiver that learns may settle elsewhere next time if that hardly matters to it, so the best
    of many answers may be luck. Only one of several nearly equal policies is a finalist.
    """
    chosen: list[int] = []
    for index in sorted(range(len(interview.policies)), key=lambda i: -interview.utilities[i]):
        policy = interview.policies[index]
        if all((interview.policies[i] - policy).abs().amax() > SAME_POLICY for i in chosen):
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
    """Random policies `(count, 1, S, M)` with few messages per state."""
    shape = (count, 1, len(problem.prior), problem.n_signals)
    alpha = torch.full(shape, CONCENTRATION, dtype=torch.float64)
    drawn: Tensor = torch._sample_dirichlet(alpha, generator=generator)
    return drawn


def _games(problem: SenderProblem, ensemble: ReceiverEnsemble) -> list[PersuasionGame]:
    """For each member of the ensemble, the game if that member is right."""
    u = problem.utility.unsqueeze(0)
    utilities = map(ensemble.receiver_utility, range(len(ensemble)))
    return [PersuasionGame(problem.prior, v, u, problem.n_signals, "senders") for v in utilities]


def _promise(problem: SenderProblem, games: list[PersuasionGame]) -> float:
    """The highest utility that optimal persuasion of a member promises."""
    plans = [obeyed(game, 0.0) for game in games]
    promises = [_recommended(problem, plan) for plan in plans if plan is not None]
    return max(promises, default=float("-inf"))


def _recommended(problem: SenderProblem, plan: Tensor) -> float:
    """The sender's utility if every recommendation of `plan (1, S, M)` is followed."""
    n_actions = problem.utility.shape[1]
    return (problem.prior.unsqueeze(-1) * plan[0, :, :n_actions] * problem.utility).sum().item()


def _foresight(interview: Interview, ensemble: ReceiverEnsemble, plans: Tensor) -> float:
    """Ask `plans (B, 1, S, M)`; how often the ensemble predicted the answer to a message."""
    before = len(interview.columns)
    interview.ask(plans)
    columns = interview.columns[before:]
    return agreement(ensemble.response(columns), interview.frequencies[before:])
