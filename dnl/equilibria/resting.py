"""Block profiles at rest: no sender gains by sending another message in one state.

Each state of each sender is treated as an agent that picks its message. If the new joint message is
impossible otherwise, the receiver recognises the state and takes its optimal action there.

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
    """Let every state of every sender pick its message until none wants to move.

    Args:
        game: the game.
        labels: `(B, N, S)` messages.
        generator: draws which of the states that want to move do so.
        budget: when the time is over, profiles that still move are given up.

    Returns:
        `(B', N, S)`: those that have come to rest.
    """
    labels = labels.clone()
    quiet = torch.zeros(len(labels), dtype=torch.int64)  # number of senders in a row that stayed
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
    """In which block profiles no sender gains by another message in one state: `(B,)` bool.

    Args:
        game: the game.
        labels: `(B, N, S)` messages.
        radius: how much of a state's probability a sender can move.
        allowed: gains up to this fraction of the payoff range do not count.
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

    Suppose the others send the same messages in two states and never together with some message of
    this sender. Then a little mass of both states on that message induces any posterior between
    them. The profile fails if this pays at a posterior where the receiver's action changes.

    Args:
        game: the game.
        labels: `(B, N, S)` messages.
        radius: how much of a state's probability a sender can move.
        allowed: gains up to this fraction of the payoff range do not count.
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
    """Posteriors between two states `(P,)` at which the receiver's action changes.

    Returns:
        `(P, A, 2)` the lowest and the highest weight of the first state at which each action is
        optimal, and `(P, A, 2)` how much mass can be moved to them: NaN where it is never optimal.
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
    )  # what can be moved at these weights
    return weights, mass.masked_fill((low > high).unsqueeze(-1), float("nan"))


def _exchanges(game: PersuasionGame, labels: Tensor, sender: int) -> tuple[Tensor, Tensor, Tensor]:
    """Joint messages of the others and of `sender`.

    Returns:
        `(B, S, S)` whether the others send the same in two states; `(B, S, M)` 1 for what the
        sender sends; `(B, S, M, S)` the mass of states at what the others send in one state
        together with one message of the sender.
    """
    others = labels[:, [k for k in range(game.n_senders) if k != sender]]  # (B, N-1, S)
    together = (others.unsqueeze(-1) == others.unsqueeze(-2)).all(1)  # (B, S, S)
    sent = pure_policies(labels[:, sender], game.n_signals)  # (B, S, M)
    mass = torch.einsum("bst,btm,t->bsmt", together.double(), sent, game.prior)
    return together, sent, mass


def _offers(game: PersuasionGame, labels: Tensor, sender: int) -> tuple[Tensor, Tensor]:
    """The sender's utility in each state from each message `(B, S, M)` and its own `(B, S, 1)`.

    Minus infinity for a message that no state sends, since it has no signals.
    """
    u = game.sender_utility[sender]
    _, sent, mass = _exchanges(game, labels, sender)
    empty = mass.sum(-1, keepdim=True) <= 0
    recognised = torch.eye(game.n_states, dtype=torch.float64).unsqueeze(1)  # (S, 1, S)
    action = game.action_at(torch.where(empty, recognised, mass))  # (B, S, M)
    utility = u[torch.arange(game.n_states)[:, None], action]
    utility = utility.masked_fill(sent.sum(1, keepdim=True) <= 0, float("-inf"))
    return utility, utility.gather(-1, labels[:, sender].unsqueeze(-1))
