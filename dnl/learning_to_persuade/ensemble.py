"""Several models of one receiver that agree on what was seen, and not where nothing was.

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
ENOUGH = 0.05  # nats
LAST = 0.02  # share of the learning rate at the end of a fit


class FollowerReceiver(nn.Module):
    """A receiver who chooses by expected utility, more or less surely: `(..., S) -> (..., A)`.

    From posteriors to logarithms of the probabilities of actions: quantal response at a precision
    of its own, which grows without bound where the receiver seen is rational.

    Args:
        n_states, n_actions: of the game.
    """

    def __init__(self, n_states: int, n_actions: int) -> None:
        super().__init__()
        self.choice = FollowerChoice(n_states, n_actions)
        self.log_precision = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))

    def forward(self, posteriors: Tensor) -> Tensor:
        """See the class."""
        return (self.choice.scores(posteriors) * self.log_precision.exp()).log_softmax(-1)

    @property
    def receiver_utility(self) -> Tensor:
        """`(S, A)`, float64: what a rational receiver would want who chooses alike."""
        weight = self.choice.weight
        sure = torch.eye(self.choice.in_features, dtype=weight.dtype, device=weight.device)
        return self.choice.scores(sure).detach().double()


class ReceiverEnsemble:
    """Receivers fitted to the same answers from initial utilities of their own.

    What the answers leave open stays as it was drawn. So members are about as far apart as what is
    known of the receiver allows, and a policy that is best against one of them asks where it
    matters what the receiver is like.

    Args:
        n_states, n_actions: of the game.
        members: `K`.
        identity: of the stream of initial values.
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
        """Go on fitting to all answers so far by Adam, at a rate that falls linearly.

        By cross-entropy (equation 7), as far as an answer is told by `ENOUGH` worse than possible:
        members who told all answers as well as they can would become alike.
        """
        from dnl.training import trainer  # here, so that importing this does not load Lightning

        mass = interview.columns.sum(1, keepdim=True)
        posteriors = (interview.columns / mass).float()  # (X, S)
        frequencies = interview.frequencies.float()  # (X, A)

        surprise = torch.special.entr(frequencies).sum(-1) + ENOUGH  # (X,)

        def cross_entropy(stack: nn.Module, step: int) -> Tensor:
            errors: Tensor = -(stack(posteriors) * frequencies).sum(-1)  # (K, X)
            return (errors - surprise).relu().mean(1).sum()

        trainer.minimise(
            self.stack,
            cross_entropy,
            steps,
            lr,
            rate=lambda progress: LAST + (1 - LAST) * (1 - progress),
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
