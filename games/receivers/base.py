"""The base class of receivers: how often each action follows each message."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from games.checks import Array
from games.persuasion.game import PersuasionGame, of_one_sender


class BaseReceiver(ABC):
    """The receiver of a game of one sender, who answers queries.

    A query is a policy that the sender keeps until the receiver has settled. The answer is how
    often each action then follows each message. A sender who does not know the receiver sees
    nothing else; only receivers may use `game.receiver_utility`.

    Args:
        game: of one sender.

    Attributes:
        queries: policies answered so far.

    Raises:
        ValueError: if `game` has several senders.
    """

    def __init__(self, game: PersuasionGame) -> None:
        self.game = of_one_sender(game)
        self.queries = 0

    @torch.no_grad()
    def respond(self, policies: Array) -> Tensor:
        """How often each action follows each message: `(B, 1, S, M) -> (B, M, A)`.

        Every row sums to 1, but for messages that were never sent: those are zero. Without `B` for
        one policy. Each policy is a query of its own, answered as if it were the only one.

        Raises:
            ValueError: if `policies` has the wrong shape or holds rows that are no distributions.
        """
        policies = self.game.as_policies(policies)
        batch = policies.unsqueeze(0) if policies.ndim == 3 else policies
        frequencies = self._settle(batch.detach().double().cpu())
        self.queries += len(batch)
        return (frequencies[0] if policies.ndim == 3 else frequencies).to(policies)

    @abstractmethod
    def _settle(self, policies: Tensor) -> Tensor:
        """Frequencies `(B, M, A)` under policies `(B, 1, S, M)`, both float64 on the CPU.

        `self.queries` is the number of the first of these policies.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.game!r})"
