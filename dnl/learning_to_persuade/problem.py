"""What a sender knows, whom it asks, and what it has learned in the end.

Shapes: `B` policies, `S` states, `M` messages, `A` actions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.learning_to_persuade.networks import columns_of
from games import PersuasionGame, checks
from games.persuasion.game import of_one_sender
from games.receivers import BaseReceiver

ROUNDING = 1e-6  # of utilities: what single precision may make of them


@dataclass(frozen=True, eq=False)
class SenderProblem:
    """A persuasion game as its sender knows it: without the receiver's utility.

    Args:
        prior: `(S,)`, as of a `PersuasionGame`.
        utility: `(S, A)`, the sender's own.
        n_signals: `M`.

    Both tables become float64 on the CPU.

    Raises:
        ValueError: naming the argument that is malformed, and what came.
    """

    prior: Tensor
    utility: Tensor
    n_signals: int

    def __post_init__(self) -> None:
        utility = checks.as_float_tensor("utility", self.utility)
        if utility.ndim != 2 or 0 in utility.shape:
            raise checks.shape_error("utility", "(S, A)", ("S >= 1", "A >= 1"), utility)
        prior = checks.as_float_tensor("prior", self.prior)
        if prior.shape != utility.shape[:1]:
            raise checks.shape_error("prior", "(S,)", utility.shape[:1], prior)
        # A game checks the rest; its receiver wants nothing.
        game = PersuasionGame(
            prior, torch.zeros_like(utility), utility.unsqueeze(0), self.n_signals
        ).to("cpu", torch.float64)
        object.__setattr__(self, "prior", game.prior)
        object.__setattr__(self, "utility", game.sender_utility[0])

    @classmethod
    def of(cls, game: PersuasionGame) -> "SenderProblem":
        """What the sender of a one-sender game knows, in float64 on the CPU."""
        known = of_one_sender(game).to("cpu", torch.float64)
        return cls(known.prior, known.sender_utility[0], known.n_signals)

    def distance(self, share: float) -> float:
        """This share of the range of the sender's utility, or what single precision may hide."""
        low, high = self.utility.min(), self.utility.max()
        noise = ROUNDING * max(low.abs().item(), high.abs().item())
        return max(share * (high - low).item(), noise)

    def value(self, policies: Tensor, response: Tensor) -> Tensor:
        """The sender's utility `(B,)` if `response (B, M, A)` follows policies `(B, 1, S, M)`."""
        joint = self.prior.to(policies).unsqueeze(-1) * policies[:, 0]  # (B, S, M)
        return torch.einsum("bsm,bma,sa->b", joint, response, self.utility.to(policies))


@dataclass(frozen=True, eq=False)
class LearnedPolicy:
    """The policy that a sender ends with.

    Attributes:
        method: which one.
        policies: `(1, S, M)`.
        utility: what the sender gets with it, by the receiver's answer to it.
        predicted: what the method expected; NaN where it has no model of the receiver.
        queries: policies that the receiver has answered, this one included; 0 where it is known.
        utilities: what each query was worth, in order; where the receiver is known, what the policy
            was worth on its way.
        accuracy: share of right predictions of the receiver's most frequent action after messages
            that the model was trained on, and after others; NaN where there is none.
        converged: whether the method's own stopping rule ended it, and not its budget; true where
            it has no such rule.
    """

    method: str
    policies: Tensor
    utility: float
    predicted: float
    queries: int
    utilities: tuple[float, ...]
    accuracy: tuple[float, float] = (float("nan"), float("nan"))
    converged: bool = True


class Interview:
    """A sender asking a receiver, and keeping the answers.

    Attributes:
        columns: `(X, S)`, joint probabilities of state and message, one row for each message that
            was sent.
        frequencies: `(X, A)`, what followed them.
        policies: `(1, S, M)` each, in the order of asking, one per query.
        utilities: what they were worth.
    """

    def __init__(self, problem: SenderProblem, receiver: BaseReceiver) -> None:
        checks.instance("problem", problem, SenderProblem)
        if not isinstance(receiver, BaseReceiver):
            raise ValueError(f"receiver must be a BaseReceiver, got {receiver!r}")
        n_states, n_actions = problem.utility.shape
        expected = (1, problem.n_signals, n_states, n_actions)
        if receiver.game.shape != expected:
            raise ValueError(
                f"receiver must be one of games of shape (N, M, S, A) = {expected}, got {receiver}"
            )
        self.problem, self.receiver = problem, receiver
        self.columns = problem.prior.new_zeros(0, n_states)
        self.frequencies = problem.prior.new_zeros(0, n_actions)
        self.policies: list[Tensor] = []
        self.utilities: list[float] = []

    @property
    def best(self) -> Tensor:
        """The policy that was worth most so far, `(1, S, M)`; the first of equals.

        Raises:
            ValueError: before the first query.
        """
        if not self.policies:
            raise ValueError("policies must hold at least one that was asked, got none")
        return self.policies[self.utilities.index(max(self.utilities))]

    def ask(self, policies: Tensor) -> tuple[Tensor, Tensor]:
        """Answers `(B, M, A)` to policies `(B, 1, S, M)`, and what those are worth, `(B,)`.

        Raises:
            ValueError: if `policies` has the wrong shape or holds rows that are no distributions.
        """
        if not isinstance(policies, Tensor) or policies.ndim != 4:
            raise ValueError(f"policies must be a tensor (B, 1, S, M), got {policies!r}")
        policies = policies.detach().to(self.problem.prior)
        response = self.receiver.respond(policies)
        value = self.problem.value(policies, response)
        columns = columns_of(policies[:, 0], self.problem.prior).flatten(0, 1)
        sent = columns.sum(-1) > 0
        self.columns = torch.cat([self.columns, columns[sent]])
        self.frequencies = torch.cat([self.frequencies, response.flatten(0, 1)[sent]])
        self.policies += policies
        self.utilities += value.tolist()
        return response, value


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of rows `(X, A)` whose largest entries are at the same place."""
    return (first.argmax(-1) == second.argmax(-1)).double().mean().item()
