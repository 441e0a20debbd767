"""Senders of one message per state that learn what to send while they play.

Shapes: `P` plays side by side, `S` states, `M` messages, `A` actions.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from games import checks


@dataclass(frozen=True)
class PlayConfig:
    """Settings of repeated play.

    Attributes:
        rounds: one state, message and action each, at least 10.
        step: how far the sender's averages follow what it sees, above 0 and below 1.
        exploration: ModelR's probability of any message in the first round; it falls linearly to 0
            over four fifths of the rounds. The other senders explore by themselves and ignore it.
        seed: of the draws.
    """

    rounds: int = 20_000
    step: float = 0.1
    exploration: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        checks.positive_integer("rounds", self.rounds, least=10)
        checks.open_share("step", self.step)
        checks.open_share("exploration", self.exploration)
        checks.positive_integer("seed", self.seed, least=0)


class Sender(ABC):
    """`P` senders of one message per state, each in a game of its own.

    Args:
        prior: `(P, S)`.
        utility: `(P, S, A)`, the senders'.
        n_signals: `M`.
        config: settings.
        streams: one random stream for each sender.
    """

    def __init__(
        self,
        prior: Tensor,
        utility: Tensor,
        n_signals: int,
        config: PlayConfig,
        streams: Sequence[torch.Generator],
    ) -> None:
        self.prior, self.utility, self.config = prior, utility, config
        self.n_signals, self.plays = n_signals, torch.arange(len(prior))
        self._begin(streams)

    @abstractmethod
    def _begin(self, streams: Sequence[torch.Generator]) -> None:
        """Set what is learned to its values before the first round."""

    @abstractmethod
    def intended(self) -> Tensor:
        """The message `(P, S)` that each would send in each state, without exploring."""

    def send(self, number: int, states: Tensor, uniforms: Tensor) -> Tensor:
        """The message `(P,)` sent in round `number` in `states (P,)`, by `uniforms (P, 2)`."""
        return self.intended()[self.plays, states]

    @abstractmethod
    def see(self, states: Tensor, messages: Tensor, actions: Tensor) -> None:
        """Learn from one round: its states, messages and actions `(P,)`."""

    def predicted(self, policies: Tensor) -> Tensor:
        """Expected utilities `(P,)` of policies `(P, S, M)`; NaN for senders without a model."""
        return policies.new_full((len(policies),), float("nan"))


class ModelSender(Sender):
    """ModelR: models which action follows each message, and sends the message that is best then.

    The model of a message is a moving average of the actions that followed it; before it is sent,
    all actions are equally likely. Ties go to the lowest index.

    Bhatt and Buro's published code, for players with a common payoff, models only the most frequent
    answer and learns payoffs too. Our sender knows its payoffs and takes expectations, because
    answers can stay mixed; the rates are ours.
    """

    def _begin(self, streams: Sequence[torch.Generator]) -> None:
        n_plays, _, n_actions = self.utility.shape
        self.model = self.utility.new_full((n_plays, self.n_signals, n_actions), 1 / n_actions)

    def intended(self) -> Tensor:
        # Sums rather than matrix products: equal models must tie exactly, whatever the batch.
        return (self.utility.unsqueeze(2) * self.model.unsqueeze(1)).sum(-1).argmax(-1)

    def send(self, number: int, states: Tensor, uniforms: Tensor) -> Tensor:
        value = (self.model * self.utility[self.plays, states].unsqueeze(1)).sum(-1)  # (P, M)
        share = max(0.0, 1 - number / (0.8 * self.config.rounds))
        other = (uniforms[:, 0] * self.n_signals).long()
        explores = uniforms[:, 1] < self.config.exploration * share
        return torch.where(explores, other, value.argmax(-1))

    def see(self, states: Tensor, messages: Tensor, actions: Tensor) -> None:
        at = (self.plays, messages)
        self.model[at] *= 1 - self.config.step
        self.model[(*at, actions)] += self.config.step

    def predicted(self, policies: Tensor) -> Tensor:
        joint = self.prior.unsqueeze(-1) * policies  # (P, S, M)
        return (joint.mT @ self.utility * self.model).sum((1, 2))


class InferenceSender(Sender):
    """Bhatt and Buro's sender: sends the message from which its state is inferred most surely.

    The sender keeps an average payoff of every message in every state. The naive message of a state
    is the one with the highest average. The sender computes the posterior of its state after each
    message, if all states sent their naive messages, and sends the message with the highest one. A
    message that is naive in no state would reveal the state: its posterior counts as 1. So states
    that share a message separate as long as there are unused messages.

    Averages start below the lowest payoff by the range of payoffs, so that a message that was sent
    stays the naive one. Our choices: the sender knows the prior instead of counting states; ties go
    to the higher average; initial averages differ at random by a millionth, which breaks the first
    ties.
    """

    def _begin(self, streams: Sequence[torch.Generator]) -> None:
        size = (self.prior.shape[1], self.n_signals)
        drawn = [torch.rand(size, dtype=torch.float64, generator=one) for one in streams]
        low, high = self.utility.amin((1, 2)), self.utility.amax((1, 2))
        spread = torch.where(high > low, high - low, 1.0).view(-1, 1, 1)
        self.average = low.view(-1, 1, 1) - spread * (1 + 1e-6 * torch.stack(drawn))  # (P, S, M)

    def intended(self) -> Tensor:
        naive = self.average.argmax(-1)  # (P, S)
        mass = self.prior.new_zeros(len(naive), self.n_signals).scatter_add_(1, naive, self.prior)
        alone = self.prior >= mass.gather(1, naive)
        unused = (mass == 0).unsqueeze(1)  # (P, 1, M)
        fresh = self.average.masked_fill(~unused, float("-inf")).argmax(-1)
        return torch.where(alone | ~unused.any(-1), naive, fresh)

    def see(self, states: Tensor, messages: Tensor, actions: Tensor) -> None:
        at = (self.plays, states, messages)
        payoff = self.utility[self.plays, states, actions]
        self.average[at] += self.config.step * (payoff - self.average[at])
