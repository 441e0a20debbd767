"""A network for persuasion games: one discontinuous network, summed over joint signals.

The receiver reacts to a joint signal through its posterior alone. So every sender's ex-ante utility
is a sum `sum_m F_n(q_m)` over joint signals m, where `q_m` is the unnormalised posterior. `F_n` is
homogeneous of degree 1, and linear wherever the receiver's action stays the same. The sum does not
depend on the names of the signals.
"""

from math import prod

import torch
from torch import Tensor, nn

from dnl.layers import FollowerNetwork, least_squares, shapes
from games import checks
from games.checks import shown

SCORE_BYTES = 2**25  # of scores held at a time, per network; each counts 8 bytes


class PosteriorNetwork(nn.Module):
    """All senders' utilities from a joint policy, flattened: `(..., N * S * M) -> (..., N)`.

    One `FollowerNetwork`, the receiver and a head per sender, sees the normalised posterior of each
    joint signal and is weighted by the joint signal's probability. The prior need not be known: any
    positive weights of the states do, scores and heads make up for them.

    Args:
        n_senders, n_signals, n_states: sizes of the game.
        n_choices: actions that the receiver may be given, at least 2; more than there are do no
            harm.

    Attributes:
        signals: indices `(K',)` of the joint signals to sum over, as an estimate of the sum over
            all `M**N` (row-major, sender 0 slowest); None for all. A trainer may set it.
    """

    def __init__(
        self,
        n_senders: int,
        n_signals: int,
        n_states: int,
        n_choices: int,
    ) -> None:
        super().__init__()
        self.shape = (
            checks.positive_integer("n_senders", n_senders),
            checks.positive_integer("n_states", n_states),
            checks.positive_integer("n_signals", n_signals),
        )
        self.follower = FollowerNetwork(n_states, n_senders, n_choices)
        self.signals: Tensor | None = None
        self.register_buffer("prior", torch.ones(n_states))
        self.prior: Tensor

    @property
    def n_joint(self) -> int:
        """`K = M**N`."""
        return self.shape[2] ** self.shape[0]

    def set_prior(self, prior: Tensor) -> None:
        """Tell the network the game's prior, `(S,)`: weights that are not negative."""
        shapes.table("prior", prior, "(S,)", len(self.prior))
        if not (prior >= 0).all() or not 0 < prior.sum() < float("inf"):
            raise ValueError(
                f"prior must hold finite weights of at least 0, not all 0, got {shown(prior)}"
            )
        self.prior.copy_(prior)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        # Summed before they are multiplied: the heads see a few features, not all posteriors.
        return torch.einsum("...cs,ncs->...n", self.features(x), self._values())

    def features(self, x: Tensor) -> Tensor:
        """`(..., C, S)`: the posteriors' sum over the joint signals that lead to each choice."""
        shapes.rows("x", x, prod(self.shape), self.prior, "N * S * M")
        policies = x.unflatten(-1, self.shape)
        index = self.signals
        if index is None:
            index = torch.arange(self.n_joint, device=x.device)
        per_signal = x.shape[:-1].numel() * max(self.follower.choice.n_choices, self.shape[1])
        total = sum(
            self._chosen(self._posteriors(policies, block))
            for block in index.split(max(1, SCORE_BYTES // (8 * max(per_signal, 1))))
        )
        assert isinstance(total, Tensor)
        return total * (self.n_joint / len(index))

    def reaction(self, posteriors: Tensor, prior: Tensor) -> Tensor:
        """The receiver's choice, as it was learned, at posteriors `(..., S) -> (...)` int64.

        Choices have names of their own: two may stand for one action, and many for none.

        Args:
            posteriors: of the game.
            prior: `(S,)` of the game, positive: the network sees likelihoods only.
        """
        n_states = len(self.prior)
        shapes.table("prior", prior, "(S,)", n_states)
        if not (prior > 0).all():
            raise ValueError(f"prior must hold weights above 0, got {shown(prior)}")
        shapes.wide("posteriors", posteriors, n_states, "S")
        likelihood = posteriors / prior * self.prior.to(posteriors)
        weight = self.follower.choice.scores(likelihood / likelihood.sum(-1, keepdim=True))
        return weight.argmax(-1)

    def game(self) -> tuple[Tensor, Tensor, Tensor]:
        """The persuasion game that this network is: prior `(S,)`, `v (S, C)`, `u (N, S, C)`."""
        mass = self.prior.sum()
        with torch.no_grad():
            return self.prior / mass, self.follower.choice.weight.mT, self._values().mT * mass

    def refit(self, x: Tensor, y: Tensor) -> None:
        """Set the heads by least squares: the choices stay.

        Args:
            x: `(B, N * S * M)`.
            y: `(B, N)` utilities.
        """
        shapes.samples(x, y, prod(self.shape), self.shape[0])
        head = self.follower.head
        values = least_squares(self.features, x, y).movedim(-1, 0)  # (N, C, S)
        with torch.no_grad():
            head.bias.zero_()
            head.weight.zero_()[:, 1:] = values

    def _values(self) -> Tensor:
        """`(N, C, S)`: what a unit of each state is worth at each choice."""
        head = self.follower.head
        weight = head.weight[:, :1] + head.weight[:, 1:]
        bias = head.bias[:, :1] + head.bias[:, 1:]
        return weight + bias.unsqueeze(-1)

    def _posteriors(self, policies: Tensor, index: Tensor) -> Tensor:
        """Unnormalised posteriors `(..., S, K')` of the joint signals `index (K',)`."""
        n_senders, _, n_signals = self.shape
        joint = self.prior.to(policies).unsqueeze(-1)
        for n in range(n_senders):
            own = index // n_signals ** (n_senders - 1 - n) % n_signals
            joint = joint * policies[..., n, :, :].index_select(-1, own)
        return joint

    def _chosen(self, joint: Tensor) -> Tensor:
        """Unnormalised posteriors `(..., S, K')` summed by the choice that each leads to."""
        mass = joint.sum(-2, keepdim=True).clamp_min(torch.finfo(joint.dtype).tiny)
        return self.follower.choice.columns(joint / mass) @ joint.mT
