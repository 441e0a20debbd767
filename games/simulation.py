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

from collections.abc import Iterator, Sequence
from itertools import product

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


def halves(prior: Tensor, policies: Tensor) -> tuple[Tensor, Tensor]:
    """Factors `(G, B, L, S)`, `(G, B, R, S)` of the joint posteriors; the prior is in the right."""
    n_senders = policies.shape[-3]
    left = joint_weights(policies[..., : (n_senders + 1) // 2, :, :])
    return left, _right(prior, policies[..., (n_senders + 1) // 2 :, :, :])


def _right(prior: Tensor, policies: Tensor) -> Tensor:
    """Prior times the joint weights of `policies (G, B, n, S, M)`, where `n` may be 0."""
    if policies.shape[2] == 0:
        return prior[:, None, None, :].expand(-1, policies.shape[1], 1, -1)
    return joint_weights(policies) * prior[:, None, None, :]


def optimal_action(criteria: Sequence[tuple[Tensor, Tensor]], dim: int) -> Tensor:
    """The receiver's action: an index along `dim`.

    Args:
        criteria: pairs of scores and slack (shaped like the scores without `dim`), the most
            important first. Actions within the slack of the best are tied and go on to the next
            criterion; the lowest index wins at last. So rounding decides nothing.
        dim: the axis of actions.
    """
    scores, slack = criteria[0]
    optimal = scores >= scores.amax(dim, keepdim=True) - slack.unsqueeze(dim)
    for scores, slack in criteria[1:]:
        tied = scores.masked_fill(~optimal, float("-inf"))
        optimal &= tied >= tied.amax(dim, keepdim=True) - slack.unsqueeze(dim)
    first = optimal.select(dim, 0)
    action = torch.zeros(first.shape, dtype=torch.int64, device=first.device)
    for index in reversed(range(optimal.shape[dim])):
        action.masked_fill_(optimal.select(dim, index), index)
    return action


class Receiver:
    """A receiver per game, ready to react: criteria centred, tie tolerances worked out.

    Args:
        receiver_utility: `(G, S, A)`.
        sender_utility: `(G, N, S, A)`.
        tie_break: `"first"` or `"senders"`.
    """

    def __init__(self, receiver_utility: Tensor, sender_utility: Tensor, tie_break: str) -> None:
        tables = [receiver_utility]  # what the receiver looks at, in this order
        if tie_break == "senders":
            tables.append(sender_utility.sum(-3))  # (G, S, A)
        # A shift per state changes no decision, only rounding.
        self.tables = [table - table.mean(-1, keepdim=True) for table in tables]
        tolerance = TIE_TOLERANCE[receiver_utility.dtype]
        self.slacks = [
            tolerance * (table.amax((-2, -1)) - table.amin((-2, -1)))[:, None, None, None]
            for table in tables
        ]  # (G, 1, 1, 1) each, for a joint signal of probability 1

    def react(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Actions at every pair of rows of `left (G, B, L, S)` and `right (G, B, R, S)`.

        Returns:
            actions `(G, B, L, R)` int64 and probabilities `(G, B, L, R)` of the joint signals.
        """
        probability = left @ right.mT
        criteria = [
            (self._expected(table, left, right), slack * probability)
            for table, slack in zip(self.tables, self.slacks, strict=True)
        ]
        return optimal_action(criteria, dim=2), probability

    @staticmethod
    def _expected(table: Tensor, left: Tensor, right: Tensor) -> Tensor:
        weighted = left.unsqueeze(2) * table.mT[:, None, :, None, :]  # (G, B, A, L, S)
        return weighted @ right.unsqueeze(2).mT  # (G, B, A, L, R)


def slices(length: int, step: int) -> Iterator[slice]:
    """Consecutive slices of at most `step` that cover `range(length)`."""
    for start in range(0, length, step):
        yield slice(start, start + step)


def chunks(policies: Tensor, n_actions: int) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of games, profiles and left joint signals whose scores fit the memory budget."""
    n_games, n_profiles, n_senders, n_states, n_signals = policies.shape
    left_signals = n_signals ** ((n_senders + 1) // 2)
    rows = _budget(policies) // (n_actions * max(n_signals ** (n_senders // 2), n_states))
    profiles = min(max(n_profiles, 1), max(1, rows // left_signals))
    return product(
        slices(n_games, max(1, rows // (left_signals * profiles))),
        slices(n_profiles, profiles),
        slices(left_signals, max(1, rows)),
    )


def outcomes_held(policies: Tensor, n_actions: int) -> int:
    """How many profiles' outcome distributions `(G, ., S, A)` fit the memory budget."""
    n_games, _, _, n_states, _ = policies.shape
    return max(1, 16 * _budget(policies) // (n_games * n_states * n_actions))


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
    # Results go into one array: thousands of small ones between large temporaries would pin the
    # allocator's heap, whose size then grows with the batch.
    found = policies.new_zeros(n_games, n_profiles, n_states, n_actions)
    for games, profiles, signals in chunks(policies, n_actions):
        left, right = halves(prior[games], policies[games, profiles])
        left = left[:, :, signals]
        with torch.no_grad():
            receiver = Receiver(receiver_utility[games], sender_utility[games], tie_break)
            actions, _ = receiver.react(left, right)
        # P(s, a) = sum_l left[l, s] * sum_r [a*(l, r) = a] right[r, s]
        taken = [((actions == a).to(left.dtype) @ right * left).sum(-2) for a in range(n_actions)]
        found[games, profiles] += torch.stack(taken, -1)
    return found


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
    n_actions = receiver_utility.shape[-1]
    others = [n for n in range(policies.shape[2]) if n != sender]
    # Own columns of all deviations are the rows of one left factor, the others' joint weights are
    # the right factor: a matrix product serves every deviation.
    right_signals = n_signals ** len(others)
    per_deviation = n_games * n_signals * n_actions * max(right_signals, n_states)
    budget = _budget(policies) // per_deviation
    receiver = Receiver(receiver_utility, sender_utility, tie_break)
    found = policies.new_empty(n_games, n_profiles, n_deviations, n_states, n_actions)
    for profiles in slices(n_profiles, max(1, budget // max(n_deviations, 1))):
        right = _right(prior, policies[:, profiles][:, :, others])  # (G, b, K / M, S)
        for tried in slices(n_deviations, max(1, budget)):
            block = deviations[:, profiles, tried]  # (G, b, d, S, M)
            left = block.mT.flatten(2, 3)  # (G, b, d * M, S)
            with torch.no_grad():
                actions, _ = receiver.react(left, right)
            for a in range(n_actions):
                taken = (actions == a).to(left.dtype) @ right * left  # (G, b, d * M, S)
                per_signal = taken.reshape(*block.shape[:3], n_signals, n_states)
                found[:, profiles, tried, :, a] = per_signal.sum(3)
    return found


def _budget(like: Tensor) -> int:
    """How many numbers of one kind (scores, weighted factors, outcomes) are held at a time."""
    return CHUNK_SCORES.get(like.device.type, CHUNK_SCORES["cpu"])
