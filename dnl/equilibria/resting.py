"""Block profiles at rest: no state of any sender wants to change its message.

A state that changes its message is an agent of its own: where the others' messages make the new
joint message impossible, the state is recognised, and the receiver takes its optimal action there.

Shapes: `B` profiles, `N` senders, `S` states, `M` messages, `A` actions; a block profile is given
by its messages, labels `(B, N, S)`.
"""

import torch
from torch import Tensor

from dnl.equilibria.partitions import pure_policies
from dnl.runtime.budget import Budget
from dnl.runtime.memory import PAIR_BYTES
from games import PersuasionGame
from games.chunk_sizes import NUMBER_BYTES

MOST_SWEEPS = 30  # over senders and states before a batch is given up


def settle(
    game: PersuasionGame, labels: Tensor, generator: torch.Generator, budget: Budget
) -> Tensor:
    """Let every state of every sender pick its message until nobody wants to move.

    A state that joins a message which the others' messages make impossible is recognised, and the
    receiver takes its optimal action for that state.

    Args:
        game: the game.
        labels: `(B, N, S)` messages.
        generator: which of the states that want to move do so.
        budget: when the time is over, those that still move are given up.

    Returns:
        `(B', N, S)`, those that have come to rest.
    """
    labels = labels.clone()
    quiet = torch.zeros(len(labels), dtype=torch.int64)  # senders in a row that stayed
    for sweep in range(MOST_SWEEPS * game.n_senders):
        n = sweep % game.n_senders
        utility, present = _offers(game, labels, n)
        stay = 1e-9 * game.payoff_range[n] * (utility == present)
        best, message = (utility + stay).max(-1)
        wants = best > present.squeeze(-1) + 1e-7 * game.payoff_range[n]
        quiet = torch.where(wants.any(-1), 0, quiet + 1)
        if (quiet >= game.n_senders).all() or budget.over:
            break
        # One or a few of those that want to move do: all at once would overshoot.
        draw = torch.rand(wants.shape, generator=generator) * wants
        moves = wants & ((draw > 0.7) | (draw >= draw.amax(-1, keepdim=True)))
        labels[:, n] = torch.where(moves, message, labels[:, n])
    return labels[quiet >= game.n_senders]


def at_rest(game: PersuasionGame, labels: Tensor, radius: float, allowed: float) -> Tensor:
    """Which block profiles `(B, N, S)` no state of a sender gains by leaving: `(B,)` bool.

    Args:
        game: the game.
        labels: `(B, N, S)` messages.
        radius: how much of a state's probability can move.
        allowed: gain, as a fraction of the payoff range, that does not count.
    """
    passed = torch.ones(len(labels), dtype=torch.bool)
    mass = min(radius, 1.0) * game.prior
    for n in range(game.n_senders):
        utility, present = _offers(game, labels, n)
        gain = mass * (utility.amax(-1) - present.squeeze(-1))  # (B, S)
        passed &= (gain <= allowed * game.payoff_range[n]).all(1)
    return passed


def unpooled(game: PersuasionGame, labels: Tensor, radius: float, allowed: float) -> Tensor:
    """Which block profiles survive pooling two states on an impossible joint message: `(B,)`.

    Where the others send the same in two states and one of a sender's messages is then impossible,
    a little mass of both states on it induces any posterior between them. The profile fails if that
    pays at one of the posteriors where the receiver changes its mind.

    Args:
        game: the game.
        labels: `(B, N, S)` messages.
        radius: how much of a state's probability can move.
        allowed: gain, as a fraction of the payoff range, that does not count.
    """
    passed = torch.ones(len(labels), dtype=torch.bool)
    if game.n_states < 2 or not len(labels):
        return passed
    pairs = torch.combinations(torch.arange(game.n_states))  # (P, 2)
    step = max(1, PAIR_BYTES // (NUMBER_BYTES * game.n_actions * max(game.n_actions, len(labels))))
    for n in range(game.n_senders):
        together, sent, joint = _exchanges(game, labels, n)
        own = labels[:, n, :, None, None].expand(-1, -1, 1, game.n_states)
        action = game.action_at(joint.gather(2, own).squeeze(2))  # (B, S)
        u = game.sender_utility[n]
        present = u[torch.arange(game.n_states), action]  # (B, S)
        used = sent.sum(1) > 0  # (B, M)
        impossible = (used.unsqueeze(1) & (joint.sum(-1) <= 0)).any(-1)  # (B, S)
        for part in pairs.split(step):
            one, two = part.T
            weights, most = _crossings(game, one, two, radius)
            more = [u[state] - present[:, state].unsqueeze(-1) for state in (one, two)]  # (B, P, A)
            gain = weights * more[0].unsqueeze(-1) + (1 - weights) * more[1].unsqueeze(-1)
            gain = (gain * most).nan_to_num(nan=float("-inf")).amax((2, 3))  # (B, P)
            pays = gain > allowed * game.payoff_range[n]
            passed &= ~(pays & together[:, one, two] & impossible[:, one]).any(1)
    return passed


def _crossings(
    game: PersuasionGame, one: Tensor, two: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    """Posteriors between two states `(P,)` where the receiver changes its mind.

    Returns:
        `(P, A, 2)` the lowest and the highest weight of the first state at which each action is
        optimal, and how much mass can be moved to them: NaN where an action never is.
    """
    v = game.receiver_utility
    # Action a is optimal for weights [low, high] of the first state: one condition per rival b.
    first = v[one].unsqueeze(2) - v[one].unsqueeze(1)  # (P, A, A)
    second = v[two].unsqueeze(2) - v[two].unsqueeze(1)
    crossing = -second / torch.where(first == second, 1.0, first - second)
    low = torch.where(second < 0, torch.where(first > 0, crossing, 2.0), 0.0).amax(2)  # (P, A)
    high = torch.where(first < 0, torch.where(second > 0, crossing, -1.0), 1.0).amin(2)
    weights = torch.stack([low, high], -1)  # (P, A, 2)
    mass = min(radius, 1.0) * torch.minimum(
        game.prior[one, None, None] / weights.clamp_min(1e-12),
        game.prior[two, None, None] / (1 - weights).clamp_min(1e-12),
    )  # that can be moved at these weights
    return weights, mass.masked_fill((low > high).unsqueeze(-1), float("nan"))


def _exchanges(game: PersuasionGame, labels: Tensor, sender: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the messages of the others and of `sender` say together.

    Returns:
        `(B, S, S)` whether the others send the same in two states; `(B, S, M)` what the sender
        sends; `(B, S, M, S)` the mass of each joint message of the others' in a state and one of
        the sender's.
    """
    others = labels[:, [k for k in range(game.n_senders) if k != sender]]  # (B, N-1, S)
    together = (others.unsqueeze(-1) == others.unsqueeze(-2)).all(1)  # (B, S, S)
    sent = pure_policies(labels[:, sender], game.n_signals)  # (B, S, M)
    mass = torch.einsum("bst,btm,t->bsmt", together.double(), sent, game.prior)
    return together, sent, mass


def _offers(game: PersuasionGame, labels: Tensor, sender: int) -> tuple[Tensor, Tensor]:
    """What the sender gets in each state for each message `(B, S, M)`, and for its own `(B, S, 1)`.

    A state that joins an impossible joint message is recognised; a message that no state sends has
    no signals.
    """
    u = game.sender_utility[sender]
    _, sent, mass = _exchanges(game, labels, sender)
    empty = mass.sum(-1, keepdim=True) <= 0
    recognised = torch.eye(game.n_states, dtype=torch.float64).unsqueeze(1)  # (S, 1, S)
    action = game.action_at(torch.where(empty, recognised, mass))  # (B, S, M)
    utility = u[torch.arange(game.n_states)[:, None], action]
    utility = utility.masked_fill(sent.sum(1, keepdim=True) <= 0, float("-inf"))
    return utility, utility.gather(-1, labels[:, sender].unsqueeze(-1))
