"""An ensemble of models of one receiver: they agree on the answers seen and differ elsewhere.

Shapes: `K` members, `X` messages seen, `S` states, `A` actions.
"""

import math

import torch
from torch import Tensor, nn

from dnl.layers import FollowerChoice
from dnl.layers.stack import NetworkStack
from dnl.learning_to_persuade.problem import Interview
from games.randomness import global_stream
from games.surroundings import own_surroundings

TEMPERATURE = 0.02  # of a new model, in units of the spread of its score weights
TOLERATED_ERROR = 0.05  # nats per answer above the least possible cross-entropy
FINAL_RATE = 0.02  # share of the learning rate at the end of a fit


class FollowerReceiver(nn.Module):
    """Quantal response to expected utilities, both learned: `(..., S) -> (..., A)`.

    Maps posteriors to logarithms of the probabilities of actions. The precision is learned too; it
    grows without bound if the observed receiver is rational.

    Args:
        n_states, n_actions: of the game.
    """

    def __init__(self, n_states: int, n_actions: int) -> None:
        super().__init__()
        self.choice = FollowerChoice(n_states, n_actions)
        self.log_precision = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))

    def forward(self, posteriors: Tensor) -> Tensor:
        """Log-probabilities of actions; see the class."""
        return (self.choice.scores(posteriors) * self.log_precision.exp()).log_softmax(-1)

    @property
    def receiver_utility(self) -> Tensor:
        """`(S, A)`, float64: the utility of a rational receiver with the same choices."""
        weight = self.choice.weight
        sure = torch.eye(self.choice.in_features, dtype=weight.dtype, device=weight.device)
        return self.choice.scores(sure).detach().double()


class ReceiverEnsemble:
    """Models fitted to the same answers from different initial utilities.

    What the answers leave open stays as it was drawn. So members differ about as much as the
    answers allow, and the best policy against a member asks where the difference matters.

    Args:
        n_states, n_actions: of the game.
        members: `K`.
        identity: of the random stream of initial values.
    """

    @own_surroundings()
    def __init__(self, n_states: int, n_actions: int, members: int, *identity: object) -> None:
        with global_stream("initialisation", *identity):
            networks = [FollowerReceiver(n_states, n_actions) for _ in range(members)]
        self.stack = NetworkStack(networks)

    def __len__(self) -> int:
        return len(self.stack)

    @own_surroundings()
    def fit(self, interview: Interview, steps: int, lr: float) -> None:
        """Continue fitting to all answers so far, by Adam at a rate that falls linearly.

        The loss is the cross-entropy (equation 7) in excess of the least possible one plus
        `TOLERATED_ERROR`: members that fitted all answers as well as possible would become alike.
        """
        from dnl.training import trainer  # here, so that importing this does not load Lightning

        mass = interview.columns.sum(1, keepdim=True)
        posteriors = (interview.columns / mass).float()  # (X, S)
        frequencies = interview.frequencies.float()  # (X, A)

        surprise = torch.special.entr(frequencies).sum(-1) + TOLERATED_ERROR  # (X,)

        def cross_entropy(stack: nn.Module, step: int) -> Tensor:
            errors: Tensor = -(stack(posteriors) * frequencies).sum(-1)  # (K, X)
            return (errors - surprise).relu().mean(1).sum()

        trainer.minimise(
            self.stack,
            cross_entropy,
            steps,
            lr,
            rate=lambda progress: FINAL_RATE + (1 - FINAL_RATE) * (1 - progress),
        )

    def receiver_utility(self, member: int) -> Tensor:
        """`(S, A)` of one member."""
        network = self.stack.network(member)
        assert isinstance(network, FollowerReceiver)
        return network.receiver_utility

    @torch.no_grad()
    def response(self, columns: Tensor) -> Tensor:
        """Mean over members of the probabilities of actions: `(X, S) -> (X, A)`, float64.

        Zero after messages of probability zero.
        """
        mass = columns.sum(-1, keepdim=True)
        posteriors = columns / torch.where(mass > 0, mass, 1.0)
        mean: Tensor = self.stack(posteriors.float()).exp().mean(0)
        return torch.where(mass > 0, mean.double(), 0.0)
