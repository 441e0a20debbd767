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

import math
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import product

import torch
from torch import Tensor

from games.chunk_sizes import NUMBER_BYTES, SCORE_BYTES
from games.persuasion import compiled
from games.surroundings import full_precision, matrix_product

TIE_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-6}


def joint_weights(policies: Tensor) -> Tensor:
    """`prod_n pi_n(m_n | s)`: `(..., N, S, M) -> (..., M**N, S)`, sender 0 slowest."""
    senders = policies.unbind(-3)
    weights = senders[0]  # (..., S, M): signals side by side, which suits what comes of it
    for sender in senders[1:]:
        weights = (weights.unsqueeze(-1) * sender.unsqueeze(-2)).flatten(-2, -1)
    return weights.mT


def halves(prior: Tensor, policies: Tensor) -> tuple[Tensor, Tensor]:
    """Factors `(G, B, L, S)`, `(G, B, R, S)` of the joint posteriors; the prior is in the right."""
    n_senders = policies.shape[-3]
    left = joint_weights(policies[..., : (n_senders + 1) // 2, :, :])
    return left, others_weights(prior, policies[..., (n_senders + 1) // 2 :, :, :])


def others_weights(prior: Tensor, policies: Tensor) -> Tensor:
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


class Scratch:
    """Memory for the large temporaries of one chunk after another.

    Fresh pages for each would cost as much time as the arithmetic. Not for what a backward pass
    will look at again.

    Args:
        like: tells dtype and device.
        reuse: False hands out nothing, so that everything is fresh.
    """

    def __init__(self, like: Tensor, reuse: bool = True) -> None:
        self._like = like.detach()
        self._held: dict[str, Tensor] = {}
        self._reuse = reuse

    def out(self, name: str, *shape: int) -> Tensor | None:
        """Where to put the temporary `name`, over what it held before; None for fresh memory."""
        if not self._reuse:
            return None
        size = math.prod(shape)
        if name not in self._held or self._held[name].numel() < size:
            self._held[name] = self._like.new_empty(size)
        return self._held[name][:size].view(shape)


class Receiver:
    """A receiver per game, ready to react: criteria centred, tie tolerances worked out.

    Args:
        receiver_utility: `(G, S, A)`.
        sender_utility: `(G, N, S, A)`.
        tie_break: `"first"` or `"senders"`.
        units: `(G, C)`, what is 1 in the tie tolerance of each of the C tables that a receiver
            looks at: its own utility and, with `"senders"`, the sum of theirs.
    """

    def __init__(
        self, receiver_utility: Tensor, sender_utility: Tensor, tie_break: str, units: Tensor
    ) -> None:
        tables = [receiver_utility]  # what the receiver looks at, in this order
        if tie_break == "senders":
            tables.append(sender_utility.sum(-3))  # (G, S, A)
        # A shift per state changes no decision, only rounding: so nothing is rounded to the size of
        # utilities that all actions share, or of an action that is never taken.
        best = receiver_utility.argmax(-1, keepdim=True)
        self.tables = [table - table.gather(-1, best) for table in tables]
        tolerance = TIE_TOLERANCE[receiver_utility.dtype]
        # (G,) each, for a joint signal of probability 1
        self.slacks = [tolerance * unit for unit in units.unbind(1)]

    def of(self, games: Tensor) -> "Receiver":
        """The receivers of the games with these indices, one after another."""
        chosen = copy(self)
        chosen.tables = [picked(table, games) for table in self.tables]
        chosen.slacks = [picked(slack, games) for slack in self.slacks]
        return chosen

    def part(self, games: slice) -> "Receiver":
        """The receivers of some consecutive games."""
        chosen = copy(self)
        chosen.tables = [table[games] for table in self.tables]
        chosen.slacks = [slack[games] for slack in self.slacks]
        return chosen

    @torch.no_grad()
    @full_precision()
    def choose(self, left: Tensor, right: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
        """The actions at every pair of rows of `left (G, B, L, S)` and `right (G, B, R, S)`.

        The rule is `optimal_action`'s. Ties are rare, so whatever only they need waits for one
        (an impossible joint signal is one: all scores are 0).

        Returns:
            chosen `(G, B, R, A, L)`, 1 for the action taken and 0 for the others, and
            probabilities `(G, B, R, L)` of the joint signals; both in `scratch`.
        """
        certain = torch.ones_like(self.tables[0][..., :1])  # its expectation is the probability
        scores = _expected(torch.cat([self.tables[0], certain], -1), left, right, scratch)
        scores, probability = scores[..., :-1, :], scores[..., -1, :]
        # Comparisons are made in place and give numbers: they go into matrix products.
        chosen = scores.ge_(self._bar(0, scores, probability, scratch))
        if chosen.sum(dtype=torch.float64) == probability.numel():  # exact in either dtype
            return chosen, probability
        fresh = Scratch(left, reuse=False)
        for k, table in enumerate(self.tables[1:], start=1):
            scores = _expected(table, left, right, fresh).masked_fill_(chosen == 0, float("-inf"))
            chosen = scores.ge_(self._bar(k, scores, probability, fresh))
        free = torch.ones_like(probability)
        for action in chosen.unbind(3):
            free -= action.mul_(free)
        return chosen, probability

    def _bar(self, k: int, scores: Tensor, probability: Tensor, scratch: Scratch) -> Tensor:
        """`(G, B, R, 1, L)`: the lowest score that ties with the best, by criterion `k`."""
        slack = self.slacks[k][:, None, None, None]
        # Rounding of policies may go below 0.
        mass = torch.clamp(probability, min=0, out=scratch.out("mass", *probability.shape))
        best = torch.amax(scores, 3, out=scratch.out("best", *probability.shape))
        return best.addcmul_(mass, -slack).unsqueeze(3)

    @torch.no_grad()
    @full_precision()
    def decided(self, low: Tensor, high: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Where the receiver's action is the same for all columns of a box, beyond any tie.

        Args:
            low, high: `(G, S, M)`, the corners of boxes of columns, one for each receiver.
            right: `(G, R, S)`.

        Returns:
            action `(G, M, R)` in the middle of the box, and `(G, M, R)` bool: nowhere in the box
            is another one within four tie tolerances of it, or the joint signal is impossible.
        """
        worth, slack = self.tables[0].mT, self.slacks[0][:, None, None]  # (G, A, S), (G, 1, 1)
        middle = ((low + high) / 2).mT.unsqueeze(2) * right.unsqueeze(1)  # (G, M, R, S)
        reach = ((high - low) / 2).mT.unsqueeze(2) * right.unsqueeze(1)
        action = (middle.flatten(1, 2) @ worth.mT).argmax(-1).unflatten(1, middle.shape[1:3])
        game = torch.arange(len(action), device=action.device)[:, None, None]
        mass = (middle + reach).sum(-1)
        decided = torch.ones_like(action, dtype=torch.bool)
        for other in range(worth.shape[1]):
            ahead = (worth - worth[:, other : other + 1])[game, action]  # (G, M, R, S)
            least = (middle * ahead - reach * ahead.abs()).sum(-1)
            decided &= (least > 4 * slack * mass) | (action == other)
        return action, decided | (mass <= 0)

    def react(self, left: Tensor, right: Tensor, scratch: Scratch) -> Tensor:
        """Actions `(G, B, L, R)` int64, -1 where the probability is 0; arguments as above."""
        chosen, probability = self.choose(left, right, scratch)
        index = torch.arange(chosen.shape[3], device=chosen.device, dtype=chosen.dtype)
        action = (chosen * index.unsqueeze(1)).sum(3).to(torch.int64)  # (G, B, R, L)
        return action.masked_fill(probability <= 0, -1).mT


def picked(tables: Tensor, games: Tensor) -> Tensor:
    """`(B, ...)`: of each of `games (B,)` its row of `tables (G, ...)`; of one game not copied."""
    if len(tables) == 1:
        return tables.expand(len(games), *tables.shape[1:])
    return tables[games]


def _expected(table: Tensor, left: Tensor, right: Tensor, scratch: Scratch) -> Tensor:
    """`sum_s left(s) right(s) table(s, .)` at every pair of rows: `(G, B, R, A, L)`."""
    factor = left.mT.unsqueeze(3)  # (G, B, S, 1, L)
    weights = table[:, None, :, :, None]  # (G, 1, S, A, 1)
    shape = (*left.shape[:2], table.shape[1], table.shape[2], left.shape[2])
    weighted = torch.mul(factor, weights, out=scratch.out("weighted", *shape)).flatten(3)
    room = scratch.out("scores", *right.shape[:3], weighted.shape[3])
    return matrix_product(right, weighted, out=room).unflatten(3, shape[3:])


def slices(length: int, step: int) -> Iterator[slice]:
    """Consecutive slices of at most `step` that cover `range(length)`."""
    for start in range(0, length, step):
        yield slice(start, start + step)


def chunks(
    policies: Tensor, per_signal: int, workers: int = 1
) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of games, profiles and left joint signals that fit the memory budget.

    Args:
        policies: `(G, B, N, S, M)`.
        per_signal: how many numbers are held for a left joint signal.
        workers: how many budgets are at hand.
    """
    n_games, n_profiles, n_senders, _, n_signals = policies.shape
    left_signals = n_signals ** ((n_senders + 1) // 2)
    rows = workers * memory_budget(policies) // per_signal
    profiles = min(max(n_profiles, 1), max(1, rows // left_signals))
    return product(
        slices(n_games, max(1, rows // (left_signals * profiles))),
        slices(n_profiles, profiles),
        slices(left_signals, max(1, rows)),
    )


def scores_held(n_right: int, n_states: int, n_actions: int) -> int:
    """How many numbers of one kind `Receiver.choose` holds for a left joint signal."""
    return (n_actions + 1) * max(n_right, n_states)


def outcomes_held(policies: Tensor, n_actions: int) -> int:
    """How many profiles' outcome distributions `(G, ., S, A)` fit the memory budget."""
    n_games, _, _, n_states, _ = policies.shape
    return max(1, 16 * memory_budget(policies) // (n_games * n_states * n_actions))


def outcome_distribution(prior: Tensor, receiver: Receiver, policies: Tensor) -> Tensor:
    """Joint distribution of state and action under each profile.

    Args:
        prior: `(G, S)`.
        receiver: of `G` games.
        policies: `(G, B, N, S, M)`.

    Returns:
        `(G, B, S, A)`; differentiable in `policies` inside a region where no action changes.
    """
    n_games, n_profiles, n_senders, n_states, n_signals = policies.shape
    n_actions = receiver.tables[0].shape[-1]
    # Results go into one array: thousands of small ones between large temporaries would pin the
    # allocator's heap, whose size then grows with the batch.
    found = policies.new_zeros(n_games, n_profiles, n_states, n_actions)
    kernel = compiled.kernel(policies, n_actions, len(receiver.tables))
    if kernel is None:
        n_right = n_signals ** (n_senders // 2)
        parts = chunks(policies, scores_held(n_right, n_states, n_actions))
    else:
        parts = chunks(policies, 2 * n_states, workers=torch.get_num_threads())
    scratch = Scratch(policies, reuse=not (policies.requires_grad and torch.is_grad_enabled()))
    for games, profiles, signals in parts:
        left, right = halves(prior[games], policies[games, profiles])
        left = left[:, :, signals]
        here = receiver.part(games)
        if kernel is None:
            outcomes = taken(here, left, right, scratch).sum(-1)
        else:
            outcomes = kernel(left, right, here.tables, here.slacks)
        found[games, profiles] += outcomes
    return found


def joint_actions(prior: Tensor, receiver: Receiver, policies: Tensor) -> Tensor:
    """The action of one game's receiver at every joint signal, -1 where its probability is 0.

    Args:
        prior: `(1, S)`.
        receiver: of one game.
        policies: `(1, B, N, S, M)`.

    Returns:
        `(B, K)` int64.
    """
    _, n_profiles, n_senders, n_states, n_signals = policies.shape
    size = (n_profiles, n_signals**n_senders)
    rows = torch.empty(size, dtype=torch.int64, device=policies.device)
    n_right = n_signals ** (n_senders // 2)
    table = rows.view(n_profiles, n_signals ** ((n_senders + 1) // 2), n_right)
    scratch = Scratch(policies)
    held = scores_held(n_right, n_states, receiver.tables[0].shape[-1])
    for _, profiles, signals in chunks(policies, held):
        left, right = halves(prior, policies[:, profiles])
        table[profiles, signals] = receiver.react(left[:, :, signals], right, scratch)[0]
    return rows


def taken(receiver: Receiver, left: Tensor, right: Tensor, scratch: Scratch) -> Tensor:
    """Outcome distributions by left joint signal, `(G, B, S, A, L)`, of factors as in `halves`.

    `left[l, s] * sum_r right[r, s] [a*(l, r) = a]`, in `scratch`.
    """
    chosen, _ = receiver.choose(left, right, scratch)  # (G, B, R, A, L)
    n_games, n_profiles, _, n_actions, n_left = chosen.shape
    room = scratch.out("sums", n_games, n_profiles, left.shape[3], n_actions * n_left)
    sums = matrix_product(right.mT, chosen.flatten(3), out=room).unflatten(3, (n_actions, n_left))
    return torch.mul(sums, left.mT.unsqueeze(3), out=None if room is None else sums)


def memory_budget(like: Tensor) -> int:
    """How many numbers of one kind (scores, weighted factors, outcomes) are held at a time."""
    return SCORE_BYTES.get(like.device.type, SCORE_BYTES["cpu"]) // NUMBER_BYTES
