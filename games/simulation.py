"""The receiver's reaction to a batch of profiles, and what follows from it.

Shapes: `G` games, `B` profiles, `N` senders, `S` states, `M` signals, `A` actions, `K = M**N` joint
signals. Everything here is unchecked arithmetic on stacked tensors; the checked, public face is
`games.persuasion`.

A joint posterior is a product over senders. So the senders are paired into a left and a right
half, `q_m(s) = left[m_left, s] * right[m_right, s]`, and sums over states become matrix products:
the `(K, S)` table of joint posteriors is never formed. The result is the *outcome distribution*
`P(s, a)`, the probability that the state is `s` and the receiver takes `a`; every ex-ante utility,
any sender's or the receiver's, is `sum_{s,a} P(s, a) * utility(s, a)`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Largest number of scores (games x profiles x actions x joint signals) held at a time. 2**20 double
# precision numbers are 8 MiB: small enough for the caches of a CPU, and bounded on a GPU.
CHUNK_SCORES = {"cpu": 2**20, "cuda": 2**27}
TIE_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-6}


def joint_weights(policies: Tensor) -> Tensor:
    """`prod_n pi_n(m_n | s)`: `(..., N, S, M) -> (..., M**N, S)`, sender 0 slowest."""
    senders = policies.unbind(-3)
    weights = senders[0].mT  # (..., M, S)
    for sender in senders[1:]:
        weights = (weights.unsqueeze(-2) * sender.mT.unsqueeze(-3)).flatten(-3, -2)
    return weights


def optimal_action(scores: Tensor, slack: Tensor, welfare: Tensor | None, dim: int) -> Tensor:
    """The receiver's action: an index along `dim` of `scores`.

    Actions within `slack` of the best are tied. Ties go to the lowest index, or, where `welfare`
    (shaped like `scores`) is given, to the action of highest welfare; welfare within `slack` of
    the highest is tied again, and then the lowest index wins. So rounding decides nothing.

    Args:
        scores: expected receiver utilities, unnormalised.
        slack: tie tolerance, shaped like `scores` without `dim`.
        welfare: expected sums of sender utilities, in units where the same slack applies, or None.
        dim: the axis of actions.
    """
    slack = slack.unsqueeze(dim)
    optimal = scores >= scores.amax(dim, keepdim=True) - slack
    if welfare is not None:
        welfare = welfare.masked_fill(~optimal, float("-inf"))
        optimal &= welfare >= welfare.amax(dim, keepdim=True) - slack
    first = optimal.select(dim, 0)
    action = torch.zeros(first.shape, dtype=torch.int64, device=scores.device)
    for index in reversed(range(scores.shape[dim])):
        action.masked_fill_(optimal.select(dim, index), index)
    return action


class Receiver:
    """A receiver per game, ready to react: utilities centred, tie rule and tolerances worked out.

    Args:
        receiver_utility: `(G, S, A)`.
        sender_utility: `(G, N, S, A)`.
        tie_break: `"first"` or `"senders"`.
    """

    def __init__(self, receiver_utility: Tensor, sender_utility: Tensor, tie_break: str):
        v = receiver_utility
        self.spread = v.amax((-2, -1)) - v.amin((-2, -1))  # (G,)
        self.v = v - v.mean(
            -1, keepdim=True
        )  # a shift per state changes no decision, only rounding
        self.w: Tensor | None = None
        if tie_break == "senders":
            w = sender_utility.sum(-3)  # (G, S, A)
            width = (w.amax((-2, -1)) - w.amin((-2, -1)))[..., None, None]
            # scaled to the receiver's range, so that one slack serves both comparisons
            scale = torch.where(width > 0, self.spread[..., None, None] / width, 0.0)
            self.w = (w - w.mean(-1, keepdim=True)) * scale
        self.tolerance = TIE_TOLERANCE[v.dtype]

    def react(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Actions at every pair of rows of `left (G, B, L, S)` and `right (G, B, R, S)`.

        Returns:
            actions `(G, B, L, R)` int64 and probabilities `(G, B, L, R)` of the joint signals.
        """
        probability = left @ right.mT
        slack = self.tolerance * probability * self.spread[:, None, None, None]
        scores = self._expected(self.v, left, right)
        welfare = None if self.w is None else self._expected(self.w, left, right)
        return optimal_action(scores, slack, welfare, dim=2), probability

    @staticmethod
    def _expected(table: Tensor, left: Tensor, right: Tensor) -> Tensor:
        weighted = left.unsqueeze(2) * table.mT[:, None, :, None, :]  # (G, B, A, L, S)
        return weighted @ right.unsqueeze(2).mT  # (G, B, A, L, R)


def halves(prior: Tensor, policies: Tensor) -> tuple[Tensor, Tensor]:
    """Factors `(G, B, L, S)`, `(G, B, R, S)` of the joint posteriors; the prior is in the right."""
    n_senders = policies.shape[-3]
    left = joint_weights(policies[..., : (n_senders + 1) // 2, :, :])  # (G, B, L, S)
    if n_senders == 1:
        return left, prior[:, None, None, :].expand(-1, policies.shape[1], 1, -1)
    right = joint_weights(policies[..., (n_senders + 1) // 2 :, :, :])
    return left, right * prior[:, None, None, :]


def chunks(policies: Tensor, n_actions: int) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of games, profiles and left joint signals whose scores fit the memory budget."""
    n_games, n_profiles, n_senders, _, n_signals = policies.shape
    left_signals = n_signals ** ((n_senders + 1) // 2)
    right_signals = n_signals ** (n_senders // 2)
    budget = CHUNK_SCORES.get(policies.device.type, CHUNK_SCORES["cpu"])
    rows = max(1, budget // (n_actions * right_signals))
    signals = min(left_signals, rows)
    profiles = min(max(n_profiles, 1), max(1, rows // left_signals))
    games = min(max(n_games, 1), max(1, rows // (left_signals * profiles)))
    for game in range(0, n_games, games):
        for profile in range(0, n_profiles, profiles):
            for signal in range(0, left_signals, signals):
                yield (
                    slice(game, game + games),
                    slice(profile, profile + profiles),
                    slice(signal, signal + signals),
                )


def outcome_distribution(
    prior: Tensor,
    receiver_utility: Tensor,
    sender_utility: Tensor,
    policies: Tensor,
    tie_break: str,
) -> Tensor:
    """Joint distribution of state and action under each profile.

    Args:
        prior: `(G, S)`.
        receiver_utility: `(G, S, A)`.
        sender_utility: `(G, N, S, A)`.
        policies: `(G, B, N, S, M)`.
        tie_break: `"first"` or `"senders"`.

    Returns:
        `(G, B, S, A)`; differentiable in `policies` inside a region where no action changes.
    """
    n_games, n_profiles = policies.shape[:2]
    n_states, n_actions = receiver_utility.shape[-2:]
    pieces: dict[tuple[int, int], Tensor] = {}
    for games, profiles, signals in chunks(policies, n_actions):
        left, right = halves(prior[games], policies[games, profiles])
        left = left[:, :, signals]
        with torch.no_grad():
            receiver = Receiver(receiver_utility[games], sender_utility[games], tie_break)
            actions, _ = receiver.react(left, right)
        # P(s, a) = sum_l left[l, s] * sum_r [a*(l, r) = a] right[r, s]
        taken = [((actions == a).to(left.dtype) @ right * left).sum(-2) for a in range(n_actions)]
        piece = torch.stack(taken, -1)
        key = (games.start, profiles.start)
        pieces[key] = pieces[key] + piece if key in pieces else piece
    if not pieces:
        return policies.new_zeros(n_games, n_profiles, n_states, n_actions)
    starts = sorted({game for game, _ in pieces})
    return torch.cat(
        [torch.cat([piece for (game, _), piece in pieces.items() if game == g], 1) for g in starts]
    )


def deviation_outcomes(
    prior: Tensor,
    receiver_utility: Tensor,
    sender_utility: Tensor,
    policies: Tensor,
    sender: int,
    deviations: Tensor,
    tie_break: str,
) -> Tensor:
    """Outcome distributions when one sender deviates; what the others contribute is computed once.

    Args:
        prior, receiver_utility, sender_utility, tie_break: as in `outcome_distribution`.
        policies: `(G, B, N, S, M)`; the row of `sender` is not read.
        sender: who deviates.
        deviations: `(G, B, D, S, M)`.

    Returns:
        `(G, B, D, S, A)`.
    """
    n_games, n_profiles, n_deviations, n_states, n_signals = deviations.shape
    others = [n for n in range(policies.shape[2]) if n != sender]
    # One more "profile axis" would repeat the others' factor for each deviation. Instead all own
    # columns of all deviations are rows of one left factor, the others' joint weights the right.
    right = (
        joint_weights(policies[:, :, others]) * prior[:, None, None, :]
        if others
        else prior[:, None, None, :].expand(-1, n_profiles, 1, -1)
    )  # (G, B, K/M, S)
    n_actions = receiver_utility.shape[-1]
    budget = CHUNK_SCORES.get(policies.device.type, CHUNK_SCORES["cpu"])
    per_deviation = n_signals * n_actions * right.shape[2]
    step = max(1, budget // (per_deviation * n_games * n_profiles))
    receiver = Receiver(receiver_utility, sender_utility, tie_break)
    found = []
    for start in range(0, n_deviations, step):
        block = deviations[:, :, start : start + step]  # (G, B, d, S, M)
        left = block.mT.flatten(2, 3)  # (G, B, d * M, S)
        actions, _ = receiver.react(left, right)
        taken = [(actions == a).to(left.dtype) @ right * left for a in range(n_actions)]
        outcomes = torch.stack(taken, -1)  # (G, B, d * M, S, A)
        per_signal = outcomes.reshape(n_games, n_profiles, -1, n_signals, n_states, n_actions)
        found.append(per_signal.sum(3))
    if not found:
        return policies.new_zeros(n_games, n_profiles, 0, n_states, n_actions)
    return torch.cat(found, 2)
