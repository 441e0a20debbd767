"""A sender's problem, its queries to a receiver, and the policy it ends with.

Shapes: `B` policies, `S` states, `M` messages, `A` actions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.learning_to_persuade.networks import columns_of
from games import PersuasionGame, checks
from games.persuasion.game import of_one_sender
from games.receivers import BaseReceiver

SINGLE_PRECISION_ERROR = 1e-6  # relative to the largest utility


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
        # The game checks the rest; its receiver is indifferent.
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

    def __repr__(self) -> str:
        n_states, n_actions = self.utility.shape
        return f"SenderProblem(S={n_states}, M={self.n_signals}, A={n_actions})"

    def distance(self, share: float) -> float:
        """`share` of the range of the sender's utility, at least the error of single precision."""
        low, high = self.utility.min(), self.utility.max()
        noise = SINGLE_PRECISION_ERROR * max(low.abs().item(), high.abs().item())
        return max(share * (high - low).item(), noise)

    def value(self, policies: Tensor, response: Tensor) -> Tensor:
        """The sender's utility `(B,)` of policies `(B, 1, S, M)` and responses `(B, M, A)`."""
        joint = self.prior.to(policies).unsqueeze(-1) * policies[:, 0]  # (B, S, M)
        return torch.einsum("bsm,bma,sa->b", joint, response, self.utility.to(policies))


@dataclass(frozen=True, eq=False)
class LearnedPolicy:
    """The policy that a sender ends with.

    Attributes:
        method: its name.
        policies: `(1, S, M)`.
        utility: the sender's utility, by the receiver's answer to the policy.
        predicted: the utility that the method expected; NaN if it has no model of the receiver.
        queries: policies that the receiver has answered, this one included; 0 for a known receiver.
        utilities: of each query, in order; for a known receiver, of the policy at each look-up
            during the ascent.
        accuracy: how often the model predicts the receiver's most frequent action, after messages
            that it was trained on and after others; NaN without a model.
        converged: whether the method ended by its own stopping rule and not by its budget; true if
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

    def __repr__(self) -> str:
        return (
            f"LearnedPolicy({self.method!r}, utility={self.utility:.6g}, "
            f"predicted={self.predicted:.6g}, queries={self.queries}, converged={self.converged}, "
            f"policies: {tuple(self.policies.shape)})"
        )


class Interview:
    """Queries to a receiver, with all answers.

    Attributes:
        columns: `(X, S)`, joint probabilities of state and message, one row for each message that
            was sent.
        frequencies: `(X, A)`, of the actions that followed.
        policies: `(1, S, M)` each, one per query, in order.
        utilities: the sender's, one per query.
    """

    def __init__(self, problem: SenderProblem, receiver: BaseReceiver) -> None:
        checks.instance("problem", problem, SenderProblem)
        if not isinstance(receiver, BaseReceiver):
            raise ValueError(f"receiver must be a BaseReceiver, got {checks.shown(receiver)}")
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
        """The policy of the highest utility so far, `(1, S, M)`; the first of equals.

        Raises:
            ValueError: before the first query.
        """
        if not self.policies:
            raise ValueError("policies must hold at least one query, got none")
        return self.policies[self.utilities.index(max(self.utilities))]

    def ask(self, policies: Tensor) -> tuple[Tensor, Tensor]:
        """Answers `(B, M, A)` to policies `(B, 1, S, M)`, and the sender's utilities `(B,)`.

        Raises:
            ValueError: if `policies` has the wrong shape or holds rows that are no distributions.
        """
        if not isinstance(policies, Tensor) or policies.ndim != 4:
            raise ValueError(
                f"policies must be a tensor (B, 1, S, M), got {checks.shown(policies)}"
            )
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
    """Share of rows `(X, A)` that have their largest entry in the same place."""
    return (first.argmax(-1) == second.argmax(-1)).double().mean().item()
