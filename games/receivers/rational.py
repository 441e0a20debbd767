"""Receivers that see the policy and update by Bayes: explicit commitment."""

import torch
from torch import Tensor

from games import checks
from games.persuasion.game import PersuasionGame
from games.receivers.base import BaseReceiver


class RationalReceiver(BaseReceiver):
    """Sees the policy, updates by Bayes and takes an optimal action; ties by the game's rule.

    Section 5.2.1 of "Learning to Persuade".
    """

    def _settle(self, policies: Tensor) -> Tensor:
        action = self.game.receiver_action(policies)  # (B, M); -1 where never sent
        number = torch.arange(self.game.n_actions)
        return (action.unsqueeze(-1) == number).to(policies)


class QuantalReceiver(BaseReceiver):
    """Sees the policy and takes an action the likelier the better it is: logit quantal response.

    Frequencies are the probabilities themselves, those of endless play. Appendix C, equation 13.

    Args:
        game: of one sender.
        precision: lambda, above 0: how much the log-odds of two actions differ per unit of expected
            utility. The receiver is rational as it grows.

    Raises:
        ValueError: for a bad argument.
    """

    def __init__(self, game: PersuasionGame, precision: float) -> None:
        super().__init__(game)
        self.precision = checks.positive_number("precision", precision)

    def _settle(self, policies: Tensor) -> Tensor:
        probability, posterior = self.game.posteriors(policies)  # (B, M), (B, M, S)
        utility = posterior @ self.game.receiver_utility.to(policies)  # (B, M, A)
        response = (self.precision * utility).softmax(-1)
        return torch.where(probability.unsqueeze(-1) > 0, response, 0.0)
