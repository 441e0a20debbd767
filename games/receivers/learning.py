"""Receivers that do not see the policy and learn from play which action pays after each message.

Section 5.2.2 of "Learning to Persuade": implicit commitment. The sender keeps to a policy; the
receiver learns from its messages, its own actions and its payoffs.
"""

from typing import ClassVar

import torch
from torch import Tensor

from games import checks
from games.chunk_sizes import DRAW_BYTES
from games.persuasion.game import PersuasionGame
from games.randomness import seed_of, stream, uniform_blocks
from games.receivers.base import BaseReceiver
from games.receivers.learners import ALL, Bandit, Learner, QLearner, Reinforce

MAX_CONTEXTS = 4096  # that learn side by side
VISITS = 8000  # of each message, by default


class LearningReceiver(BaseReceiver):
    """Learns what pays after each message, anew for every policy; the last half of play counts.

    The paper assumes that where the receiver settles depends on the policy only, so a policy meets
    a receiver that has learned nothing yet. Each message that the policy sends is met `visits`
    times, however rarely it is sent: in endless play all are met without end, and a message of
    probability `p` has been met that often after about `visits / p` rounds. So rows of the answer
    sum to 1 for every message that is ever sent. In each visit the state is drawn from its
    posterior; frequencies are those of the last half of the visits.

    How far that settles them at the defaults, against random policies in four random matrix games:
    at 4 states and actions the most frequent action is the rational one after 98% of messages with
    each learner, and frequencies lose 0.001 to 0.002 of utilities between 0 and 1; at 32 after 81%
    (bandit), 88% (Q-learning) and 70% (REINFORCE), losing 0.020, 0.006 and 0.013.

    The `i`-th query draws from a stream of its own: the answer depends on the game, the seed, the
    policy and `i`, not on which policies are asked together.

    Args:
        game: of one sender.
        visits: of each message, at least 2.
        seed: of the draws; 0 if neither it nor `generator` is given.
        generator: draws the seed instead.

    Attributes:
        rewards: `(S, A)`, what actions pay: the receiver's utility on a scale from 0 to 1.
        settings: the arguments of its learners, by name.

    Raises:
        ValueError: for a bad argument.
    """

    kind: ClassVar[type[Learner]]

    def __init__(
        self,
        game: PersuasionGame,
        visits: int,
        seed: int | None,
        generator: torch.Generator | None,
        settings: dict[str, float],
    ) -> None:
        super().__init__(game)
        self.visits = checks.positive_integer("visits", visits, least=2)
        self.seed = seed_of(seed, generator)
        self.settings = settings
        utility = game.receiver_utility.double().cpu()
        spread = utility.max() - utility.min()
        self.rewards = (utility - utility.min()) / torch.where(spread > 0, spread, 1.0)

    def learner(self, contexts: int) -> Learner:
        """One that has learned nothing yet, of `contexts` independent contexts."""
        return self.kind(contexts, self.game.n_actions, **self.settings)

    def _settle(self, policies: Tensor) -> Tensor:
        together = max(1, MAX_CONTEXTS // self.game.n_signals)
        first = range(0, len(policies), together)
        parts = [self._play(policies[i : i + together], self.queries + i) for i in first]
        return torch.cat([policies.new_zeros(0, self.game.n_signals, self.game.n_actions), *parts])

    def _play(self, policies: Tensor, number: int) -> Tensor:
        """Frequencies `(B, M, A)` of the last half of play; `number` is the first query's."""
        probability, posterior = self.game.posteriors(policies)  # (B, M), (B, M, S)
        sent = probability.flatten() > 0
        cumulative = posterior.flatten(0, 1)[sent].cumsum(-1)  # (L, S)
        cumulative /= cumulative[:, -1:].clone()
        learner = self.learner(len(cumulative))
        counts = policies.new_zeros(len(cumulative), self.game.n_actions)
        once = policies.new_ones(len(cumulative))
        identity = self.game.identity
        streams = [
            stream("receiver", self.seed, identity, number + i) for i in range(len(policies))
        ]
        size = (self.game.n_signals, 3)
        for start, drawn in uniform_blocks(streams, self.visits, size, DRAW_BYTES):
            uniforms = drawn.flatten(1, 2)[:, sent]  # (visits, L, 3)
            states = torch.searchsorted(cumulative, uniforms[..., 2].T.contiguous(), right=True)
            begins = states.T.contiguous() * self.game.n_actions  # where states' rewards do
            for visit, (numbers, begin) in enumerate(zip(uniforms, begins, strict=True), start):
                actions = learner.act(ALL, numbers)
                learner.learn(self.rewards.take(begin + actions))
                if visit >= self.visits // 2:
                    counts.view(-1).scatter_add_(0, learner.first + actions, once)
        frequencies = policies.new_zeros(sent.numel(), self.game.n_actions)
        frequencies[sent] = counts / counts.sum(-1, keepdim=True)
        return frequencies.view(*probability.shape, -1)


class BanditReceiver(LearningReceiver):
    """A contextual bandit without regret: `games.receivers.learners.Bandit` for each message.

    The receiver of the paper's section 2: whoever has no regret takes rational actions in the end,
    but for those that are as good. With many actions that are almost as good "the end" is far off.

    Args:
        game: of one sender.
        visits: of each message, at least 2.
        seed, generator: of the draws, see `LearningReceiver`.
    """

    kind = Bandit

    def __init__(
        self,
        game: PersuasionGame,
        *,
        visits: int = VISITS,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(game, visits, seed, generator, {})


class QLearningReceiver(LearningReceiver):
    """Q-learning from optimistic values: `games.receivers.learners.QLearner` for each message.

    Args:
        game: of one sender.
        patience: how many rewards of 1 the first value counts for, above 0.
        epsilon: the probability of any action instead of the best, above 0 and below 1.
        visits: of each message, at least 2.
        seed, generator: of the draws, see `LearningReceiver`.
    """

    kind = QLearner

    def __init__(
        self,
        game: PersuasionGame,
        *,
        patience: float = 20.0,
        epsilon: float = 0.01,
        visits: int = VISITS,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        patience = checks.positive_number("patience", patience)
        epsilon = checks.open_share("epsilon", epsilon)
        settings = {"patience": patience, "epsilon": epsilon}
        super().__init__(game, visits, seed, generator, settings)


class ReinforceReceiver(LearningReceiver):
    """Policy gradients with a baseline: `games.receivers.learners.Reinforce` for each message.

    Args:
        game: of one sender.
        step: how far logits follow each gradient, above 0. Larger ones settle earlier, on worse.
        visits: of each message, at least 2.
        seed, generator: of the draws, see `LearningReceiver`.
    """

    kind = Reinforce

    def __init__(
        self,
        game: PersuasionGame,
        *,
        step: float = 0.1,
        visits: int = VISITS,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        settings = {"step": checks.positive_number("step", step)}
        super().__init__(game, visits, seed, generator, settings)
