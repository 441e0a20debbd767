"""The two networks of "Learning to Persuade": the sender's table and the receiver's response.

Shapes: `R` restarts, `S` states, `M` messages, `A` actions.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dnl.layers import shapes
from games import checks


class TableNet(nn.Module):
    """A sender's policy as a table of logits: section 3.1's network.

    The paper feeds a constant 1 into one fully connected layer with a softmax per state. On a
    constant input such a layer is the sum of its bias and its weight: a free table.

    Args:
        logits: `(..., S, M)`, initial values; copied.

    Attributes:
        logits: parameter.
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        shapes.floating("logits", logits)
        self.logits = nn.Parameter(logits.detach().clone())

    @classmethod
    def random(cls, size: tuple[int, ...], generator: torch.Generator) -> "TableNet":
        """Tables `(..., S, M)` initialised like PyTorch's layers of one input.

        Weight and bias are uniform on [-1, 1], so that logits have a standard deviation of 0.8.
        """
        weight, bias = torch.rand((2, *size), generator=generator, dtype=torch.float32) * 2 - 1
        return cls(weight + bias)

    def forward(self) -> Tensor:
        """The policies, `(..., S, M)`."""
        return self.logits.softmax(-1)


class ReceiverNetwork(nn.Module):
    """A learned model of the receiver's response: section 3.2's multi-layer perceptron.

    Its input is the message's column of the policy, `p(s) pi(m | s)`, divided by its mean over all
    messages, `1 / (S * M)`. The paper's input is `pi(m | s)`. The prior is constant, so the first
    layer's weights absorb it, and inputs of about 1 are easier to learn from.

    Args:
        n_states, n_signals, n_actions: `S`, `M`, `A`.
        hidden: widths of ReLU layers.

    Raises:
        ValueError: for a bad size.
    """

    def __init__(
        self, n_states: int, n_signals: int, n_actions: int, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        sizes = {"n_states": n_states, "n_signals": n_signals, "n_actions": n_actions}
        for name, value in sizes.items():
            checks.positive_integer(name, value)
        self.unit = 1 / (n_states * n_signals)
        widths = [n_states, *shapes.widths("hidden", hidden, least=0)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], n_actions))

    def forward(self, columns: Tensor) -> Tensor:
        """From joint probabilities with states `(..., S)` to logits of actions `(..., A)`."""
        logits: Tensor = self.layers(columns / self.unit)
        return logits


def columns_of(policies: Tensor, prior: Tensor) -> Tensor:
    """Joint probabilities of message and state, `(..., S, M) -> (..., M, S)`."""
    return (prior.unsqueeze(-1) * policies).mT


def expected_utility(columns: Tensor, response: Tensor, utility: Tensor) -> Tensor:
    """Equation 8's utility `(...)`.

    Args:
        columns: `(..., M, S)`, joint probabilities.
        response: `(..., M, A)`.
        utility: `(S, A)`.
    """
    return (response * (columns @ utility)).sum((-2, -1))
