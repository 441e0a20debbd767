"""The most that a sender gains by moving some probability of one state to another signal.

A sender's utility is a sum over its signals of one and the same function of the signal's column
(the probabilities with which the states send it), and such a move changes two columns.
"""

import torch
from torch import Tensor

from games import PersuasionGame
from games.persuasion.simulation import joint_weights


def best_move(game: PersuasionGame, policies: Tensor, sender: int, radius: float) -> Tensor:
    """The most that `sender` gains by one move: `(B, N, S, M) -> (B,)`.

    Args:
        game: the game.
        policies: `(B, N, S, M)`.
        sender: who moves up to `radius` of one state's probability from one signal to another.
        radius: above 0.
    """
    n_signals = game.n_signals
    column = _Column(game, policies, sender, radius)
    moved = policies[:, sender].clamp_max(radius)  # (B, S, M): others have room for it
    gain = policies.new_full((len(policies),), -float("inf"))
    if n_signals == 1:
        return gain
    for state in range(game.n_states):
        mass = moved[:, state]  # (B, M)
        less = column.gain(state, -mass)
        more = less
        for source in range(n_signals):
            some = mass[:, source]
            if not (some > 0).any():
                continue
            # Most signals have as much to move as the one before.
            if source == 0 or more is less or not torch.equal(some, mass[:, source - 1]):
                more = column.gain(state, some.unsqueeze(1).expand_as(mass))
            others = [m for m in range(n_signals) if m != source]
            best = less[:, source] + more[:, others].amax(1)
            gain = torch.where(some > 0, torch.maximum(gain, best), gain)
    return gain


class _Column:
    """What a sender earns with each of its signals, and with a little more or less of a state.

    Where the receiver clearly prefers its action, such a change moves nothing but the weight of
    what there is. Only at the other joint signals is the receiver asked again.
    """

    def __init__(self, game: PersuasionGame, policies: Tensor, sender: int, radius: float) -> None:
        others = [n for n in range(game.n_senders) if n != sender]
        self.weights = game.prior.expand(len(policies), 1, -1)  # (B, J, S)
        if others:
            self.weights = joint_weights(policies[:, others]) * game.prior
        joint = policies[:, sender].mT.unsqueeze(2) * self.weights.unsqueeze(1)  # (B, M, J, S)
        self.game, v, self.utility = game, game.receiver_utility, game.sender_utility[sender]
        self.tables = [*game.criteria, self.utility]
        scores = joint @ v  # (B, M, J, A)
        self.action = scores.argmax(-1)  # (B, M, J), right where the receiver is clear
        best = scores.topk(min(2, game.n_actions), -1).values
        reach = (self.weights * (v.amax(1) - v.amin(1))).amax(-1) * radius  # (B, J)
        reach += 4 * game.tie_slacks[0] * self.weights.sum(-1)
        asked = best[..., 0] - best[..., -1] <= 1.01 * reach.unsqueeze(1)
        if game.n_actions == 1:
            asked = torch.zeros_like(asked)
        asked &= (self.weights.sum(-1) > 0).unsqueeze(1)
        self.clear = ~asked
        self.profile, self.signal, self.other = asked.nonzero().T  # (T,) each
        there = joint[self.profile, self.signal, self.other]  # (T, S)
        self.mass = there.sum(-1)
        self.expected = [there @ table for table in self.tables]  # (T, A) each
        self.nearby = self.weights[self.profile, self.other]  # (T, S)
        self.present = self._at(self.mass, self.expected)

    def gain(self, state: int, change: Tensor) -> Tensor:
        """`(B, M)`: what each signal earns more after a `change (B, M)` of one state."""
        clear = self.utility[state][self.action] * self.weights[:, None, :, state] * self.clear
        gain = change * clear.sum(-1)
        more = change[self.profile, self.signal] * self.nearby[:, state]  # (T,)
        expected = [
            e + more.unsqueeze(1) * table[state]
            for e, table in zip(self.expected, self.tables, strict=True)
        ]
        asked = self._at(self.mass + more, expected) - self.present
        index = self.profile * gain.shape[1] + self.signal
        return gain.flatten().index_add(0, index, asked).view_as(gain)

    def _at(self, mass: Tensor, expected: list[Tensor]) -> Tensor:
        """`(T,)`: what is earned at joint signals of this mass and expected utilities `(T, A)`."""
        action = self.game.action_of(expected[:-1], mass)
        return expected[-1].gather(-1, action.unsqueeze(-1)).squeeze(-1)
