"""Bandit algorithms for many independent contexts, which see only their own actions and rewards.

A learner holds `L` contexts that learn side by side, each from its own rounds only. A context is,
for example, one message to one receiver. Rewards lie between 0 and 1.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

ALL = slice(None)


def draw_(distributions: Tensor, uniforms: Tensor) -> Tensor:
    """Which entry each of `uniforms (X,)` picks from `distributions (X, A)`, up to scale: `(X,)`.

    The first entry up to which the probabilities sum to more than the uniform. Overwrites the
    distributions.
    """
    cumulative = distributions.cumsum_(-1)
    reached = cumulative <= uniforms.unsqueeze(-1) * cumulative[:, -1:]
    return reached.sum(-1).clamp_(max=distributions.shape[-1] - 1)


class Learner(ABC):
    """`L` contexts that each learn by themselves which of `A` actions pays.

    A round is one call of `act` and one of `learn`.

    Args:
        contexts: `L`.
        n_actions: `A`.
    """

    def __init__(self, contexts: int, n_actions: int) -> None:
        self.visits = torch.zeros(contexts, 1, dtype=torch.float64)
        self.n_actions = n_actions
        self.first = torch.arange(contexts) * n_actions  # entry of a context's first action
        self.contexts: Tensor | slice = ALL
        self.actions = torch.empty(0, dtype=torch.int64)

    def act(self, contexts: Tensor | slice, uniforms: Tensor) -> Tensor:
        """The action `(X,)` in each of `contexts (X,)`, all different, by `uniforms (X, 2)`.

        `ALL` the contexts, in order, cost no copy of what was learned.
        """
        self.contexts = contexts
        self.visits[contexts] += 1
        self.actions = self._act(uniforms)
        return self.actions

    def learn(self, rewards: Tensor) -> None:
        """Learn from what the actions just taken were paid, `(X,)`."""
        self._learn(rewards.unsqueeze(-1), self.actions.unsqueeze(-1))

    @abstractmethod
    def _act(self, uniforms: Tensor) -> Tensor:
        """The action `(X,)` in each of `self.contexts`, whose visits count this one already."""

    @abstractmethod
    def _learn(self, rewards: Tensor, actions: Tensor) -> None:
        """Learn from `rewards (X, 1)` of `actions (X, 1)` in `self.contexts`."""


class Bandit(Learner):
    """No regret, whether rewards are drawn by chance or chosen by an adversary: Tsallis-INF.

    Zimmert and Seldin, "Tsallis-INF: An Optimal Algorithm for Stochastic and Adversarial Bandits"
    (2021), with power 1/2, the reduced-variance estimator and its rate `4 / sqrt(t)`. The expected
    regret of a context grows as the square root of its rounds at worst, and as their logarithm
    while the sender's policy stays. (Exp3-IX, tried beside it, had two to seven times its regret.)
    """

    def __init__(self, contexts: int, n_actions: int) -> None:
        super().__init__(contexts, n_actions)
        self.losses = torch.zeros(contexts, n_actions, dtype=torch.float64)
        self.probability = self.rate = self.losses

    def _act(self, uniforms: Tensor) -> Tensor:
        self.rate = 4 / self.visits[self.contexts].sqrt()  # (X, 1)
        self.probability = tsallis_distribution(self.rate * self.losses[self.contexts])
        return draw_(self.probability.clone(), uniforms[:, 0])

    def _learn(self, rewards: Tensor, actions: Tensor) -> None:
        guess = (self.probability >= self.rate.square()).double() / 2  # (X, A)
        error = 1 - rewards - guess.gather(1, actions)
        guess.scatter_add_(1, actions, error / self.probability.gather(1, actions))
        self.losses[self.contexts] += guess


def tsallis_distribution(losses: Tensor) -> Tensor:
    """The distributions `(X, A)` with entries `4 / (losses - x)**2`, `x` below all `losses (X, A)`.

    Newton on the sum to the power -1/2, which is concave in `x` and almost linear: from the right
    end of where `x` can be it falls towards the solution, in four steps to 1e-6 of every entry.
    """
    x = losses.amin(-1, keepdim=True) - 2
    for _ in range(4):
        root = 2 / (losses - x)
        entries = root.square()
        total = entries.sum(-1, keepdim=True)
        x -= 2 * total * (total.sqrt() - 1) / root.mul_(entries).sum(-1, keepdim=True)
    return entries / total


class QLearner(Learner):
    """Tabular Q-learning of one-round games, from optimistic first values, epsilon-greedily.

    The step after the `n`-th reward of an action is `1 / (patience + n)`: its value is the mean of
    its rewards and of `patience` imagined ones of 1, the best there is. An action is therefore
    tried until it is known to be worse, the longer the closer it is; ties go to the lowest index.
    Values converge, if actions are tried for ever, as epsilon above 0 makes sure.

    Args:
        contexts: `L`.
        n_actions: `A`.
        patience: how many imagined rewards the first value counts for.
        epsilon: with which probability the action is any, each as likely.
    """

    def __init__(self, contexts: int, n_actions: int, patience: float, epsilon: float) -> None:
        super().__init__(contexts, n_actions)
        self.patience, self.epsilon = patience, epsilon
        self.values = torch.ones(contexts, n_actions, dtype=torch.float64)
        self.tried = torch.zeros(contexts, n_actions, dtype=torch.float64)

    def _act(self, uniforms: Tensor) -> Tensor:
        greedy = self.values[self.contexts].max(-1).indices  # the first; faster than argmax
        other = (uniforms[:, 0] * self.n_actions).long()
        return torch.where(uniforms[:, 1] < self.epsilon, other, greedy)

    def _learn(self, rewards: Tensor, actions: Tensor) -> None:
        at = self.first[self.contexts] + actions[:, 0]
        tried, value = self.tried.take(at) + 1, self.values.take(at)
        self.tried.view(-1).scatter_(0, at, tried)
        moved = value + (rewards[:, 0] - value) / (self.patience + tried)
        self.values.view(-1).scatter_(0, at, moved)


class Reinforce(Learner):
    """Softmax policies that follow the policy gradient, less a running mean of rewards.

    REINFORCE (Williams 1992) of one-round games. It may settle on an action that is not the best:
    what is hardly ever taken is hardly ever learned about.

    Args:
        contexts: `L`.
        n_actions: `A`.
        step: how far the logits follow each gradient.
    """

    MEMORY = 100  # rewards that the running mean goes back, about

    def __init__(self, contexts: int, n_actions: int, step: float) -> None:
        super().__init__(contexts, n_actions)
        self.step = step
        self.logits = torch.zeros(contexts, n_actions, dtype=torch.float64)
        self.mean = torch.zeros(contexts, 1, dtype=torch.float64)
        self.probability = self.logits

    def _act(self, uniforms: Tensor) -> Tensor:
        self.probability = self.logits[self.contexts].softmax(-1)
        return draw_(self.probability.clone(), uniforms[:, 0])

    def _learn(self, rewards: Tensor, actions: Tensor) -> None:
        surprise = rewards - self.mean[self.contexts]  # (X, 1)
        self.mean[self.contexts] += surprise / self.visits[self.contexts].clamp(max=self.MEMORY)
        gradient = self.probability.neg_()
        gradient.scatter_add_(1, actions, torch.ones_like(rewards))
        self.logits[self.contexts] += self.step * surprise * gradient
