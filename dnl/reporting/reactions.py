"""The receiver's reactions to joint signals, and to joint messages grouped by what follows.

Shapes: `N` senders, `S` states, `A` actions, `L` messages of a sender, `C` joint messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

from games import PersuasionGame
from games.persuasion.simulation import Scratch, slices

SAME = 1e-9  # difference of probabilities (scaled likelihoods, posteriors) that is rounding
MAX_JOINT_MESSAGES = 20_000  # of positive probability; more are not listed
CLOSE = 1e-4  # of the receiver's expected utility range: less is called nearly indifferent
SCORES_AT_ONCE = 10**7  # joint messages x states x actions in one simulation


@dataclass(frozen=True, eq=False)
class Reaction:
    """The receiver's response to one joint signal.

    Attributes:
        signals: `(m_1, ..., m_N)`, one per sender.
        probability: of the joint signal, above 0.
        posterior: `(S,)`.
        action: the receiver's.
    """

    signals: tuple[int, ...]
    probability: float
    posterior: Tensor
    action: int


@dataclass(frozen=True, eq=False)
class Case:
    """Joint messages of equal posterior and action.

    Attributes:
        messages: `(C, N)`: for each sender the index of its message.
        probability: of all of them together, above 0.
        posterior: `(S,)`.
        action: the receiver's.
        tied: other actions that are as good for the receiver up to the tie tolerance.
        next_best: the best of the others for the receiver; None if there is no other action.
        loss: expected utility that the receiver would lose by `next_best`.
        is_close: whether that is at most `CLOSE` of the receiver's expected utility range.
    """

    messages: Tensor
    probability: float
    posterior: Tensor
    action: int
    tied: tuple[int, ...]
    next_best: int | None
    loss: float
    is_close: bool


def reactions(game: PersuasionGame, policies: Tensor) -> list[Reaction]:
    """The receiver's reaction to each joint signal of positive probability, likeliest first.

    `policies` is one profile `(N, S, M)`. Equally likely joint signals stay in row-major order.
    `account` merges signals and groups reactions.
    """
    probability, posterior = game.posteriors(policies)  # (K,), (K, S)
    action = game.receiver_action(policies)
    place = [game.n_signals ** (game.n_senders - 1 - n) for n in range(game.n_senders)]
    return [
        Reaction(
            tuple(k // step % game.n_signals for step in place),
            float(probability[k]),
            posterior[k],
            int(action[k]),
        )
        for k in probability.argsort(descending=True, stable=True).tolist()
        if probability[k] > 0
    ]


def same_rows(rows: NDArray[np.float64]) -> list[int]:
    """For each of `rows (R, D)` the number of its group; rows within `SAME` are in one group."""
    found, inverse = np.unique((rows + 0.0).round(9), axis=0, return_inverse=True)
    pairs = KDTree(found).query_pairs(1.5 * SAME, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(found), len(found)))
    group = connected_components(links, directed=False)[1]
    return [int(g) for g in group[inverse.reshape(-1)]]


@dataclass(frozen=True, eq=False)
class JointMessages:
    """Joint messages of positive probability, row-major, and the receiver's actions.

    Attributes:
        messages: `(C, N)`: for each sender the index of its message.
        mass: `(C, S)`: probability of each state together with the joint message.
        action: `(C,)`.
    """

    messages: Tensor
    mass: Tensor
    action: Tensor

    def outcomes(self, n_actions: int) -> Tensor:
        """Joint distribution of state and action, `(S, A)`."""
        found = self.mass.new_zeros(n_actions, self.mass.shape[1])
        return found.index_add_(0, self.action, self.mass).mT


def joint_messages(game: PersuasionGame, policies: Sequence[Tensor]) -> JointMessages | None:
    """All joint messages that may happen; None if there are more than `MAX_JOINT_MESSAGES`.

    Args:
        game: in float64 on the CPU.
        policies: `(L, S)` of each sender, which need not have equally many messages.
    """
    messages = torch.zeros(1, 0, dtype=torch.int64)
    likelihood = torch.ones(1, game.n_states, dtype=torch.float64)
    for policy in policies:
        if len(messages) * len(policy) > MAX_JOINT_MESSAGES:
            return None
        likelihood = (likelihood[:, None] * policy).flatten(0, 1)
        here = torch.arange(len(policy)).repeat(len(messages))
        messages = torch.column_stack([messages.repeat_interleave(len(policy), 0), here])
        happens = likelihood @ game.prior > 0
        messages, likelihood = messages[happens], likelihood[happens]
    receiver = game.stacked().receiver(likelihood)
    prior, scratch = game.prior[None, None, None], Scratch(likelihood, reuse=False)
    step = max(1, SCORES_AT_ONCE // (game.n_states * game.n_actions))
    action = [
        receiver.react(likelihood[None, None, part], prior, scratch)[0, 0, :, 0]
        for part in slices(len(messages), step)
    ]
    return JointMessages(messages, likelihood * game.prior, torch.cat(action))


def cases(game: PersuasionGame, said: JointMessages) -> tuple[Case, ...]:
    """The joint messages grouped by posterior, equal within `SAME`, and action, likeliest first."""
    posterior = said.mass / said.mass.sum(1, keepdim=True)
    group = torch.tensor(same_rows(torch.column_stack([posterior, said.action]).numpy()))
    order = group.argsort(stable=True)
    members = order.split(group.bincount().tolist())
    mass = said.mass.new_zeros(len(members), game.n_states).index_add_(0, group, said.mass)
    action = said.action[torch.stack([part[0] for part in members])]
    found = _cases(game, [said.messages[part] for part in members], mass, action)
    return tuple(sorted(found, key=lambda case: -case.probability))


def _cases(
    game: PersuasionGame, messages: Sequence[Tensor], mass: Tensor, action: Tensor
) -> list[Case]:
    """Cases of `messages (C, N)`, total `mass (G, S)` and `action (G,)`."""
    probability = mass.sum(1)
    posterior = mass / probability[:, None]
    worth = game.receiver_utility[:, action].mT.unsqueeze(-1) - game.receiver_utility  # (G, S, A)
    losses = (posterior[:, None] @ worth).squeeze(1)  # (G, A)
    close = CLOSE * game.tie_units(torch.float64)[0]
    found = []
    for g, row in enumerate(losses.tolist()):
        others = sorted((a for a in range(game.n_actions) if a != action[g]), key=row.__getitem__)
        found.append(
            Case(
                messages=messages[g],
                probability=float(probability[g]),
                posterior=posterior[g],
                action=int(action[g]),
                tied=tuple(a for a in sorted(others) if abs(row[a]) <= game.tie_slacks[0]),
                next_best=others[0] if others else None,
                loss=row[others[0]] if others else 0.0,
                is_close=bool(others) and row[others[0]] <= close,
            )
        )
    return found
