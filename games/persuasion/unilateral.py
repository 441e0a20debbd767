"""One sender's gain from each of many deviations, the other senders' policies fixed.

A sender's utility is then a sum over its own signals m and the others' joint signals r:
`sum_{m,r,s} c_m(s) right(r, s) u(s, a*(m, r))`, c_m the column of its policy, `right` the prior
times the others' joint weights. At most joint signals no deviation of a small box changes the
receiver's mind: *decided*. There the sum is linear in the deviation, and one table of `S * M`
numbers serves all of them. The other joint signals are simulated, deviation by deviation.

Shapes as in `games.persuasion.simulation`; `R = M**(N - 1)` joint signals of the others, `D`
deviations. Each profile is of one of the games.
"""

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

from games.persuasion.simulation import (
    Receiver,
    Scratch,
    memory_budget,
    others_weights,
    picked,
    scores_held,
    slices,
    taken,
)
from games.surroundings import contract, matrix_product


def deviation_gain(
    prior: Tensor,
    sender_utility: Tensor,
    receiver: Receiver,
    games: Tensor,
    policies: Tensor,
    sender: int,
    deviations: Tensor,
) -> Tensor:
    """What `sender` gains by each deviation over its own policy in `policies`.

    A difference is taken joint signal by joint signal, so whatever no action changes cancels.

    Args:
        prior: `(G, S)`.
        sender_utility: `(G, N, S, A)`.
        receiver: of `G` games.
        games: `(B,)`, which game each profile is of.
        policies: `(B, N, S, M)`.
        sender: who deviates.
        deviations: `(B, D, S, M)`.

    Returns:
        `(B, D)`; differentiable along the simplex where no action changes.
    """
    n_profiles, n_deviations, n_states, n_signals = deviations.shape
    if n_deviations == 0:
        return deviations.new_zeros(n_profiles, 0)
    others = [n for n in range(policies.shape[1]) if n != sender]
    own_utility = sender_utility[:, sender]  # (G, S, A)
    # A constant per state is no gain; without it there is less to round.
    best = receiver.tables[0].argmax(-1, keepdim=True)
    worth = own_utility - own_utility.gather(-1, best)
    found = [deviations.new_zeros(0, n_deviations)]
    held = n_signals * scores_held(1, n_states, sender_utility.shape[-1])
    most = max(1, memory_budget(policies) // held)  # joint signals of the others
    for rows in slices(n_profiles, max(1, most // n_signals ** len(others))):
        game = games[rows]
        here, value = receiver.of(game), picked(worth, game)
        right = others_weights(picked(prior, game), policies[rows, None][:, :, others])[:, 0]
        own, tried = policies[rows, sender], deviations[rows]
        parts = (_gain(here, value, own, tried, part) for part in right.split(most, 1))
        found.append(reduce(torch.add, parts))
    return torch.cat(found)


def _gain(receiver: Receiver, worth: Tensor, own: Tensor, tried: Tensor, right: Tensor) -> Tensor:
    """`(B, D)`, of `worth (B, S, A)`, `own (B, S, M)`, `tried (B, D, S, M)`, `right (B, R, S)`."""
    every = torch.cat([own.unsqueeze(1), tried], 1)  # (B, 1 + D, S, M)
    low, high = every.detach().aminmax(dim=1)
    action, decided = receiver.decided(low, high, right.detach())  # (B, M, R)
    moved = tried - own.unsqueeze(1)
    n_profiles, n_deviations, _, n_signals = tried.shape
    columns = every.movedim(3, 1).flatten(0, 1)  # (B M, 1 + D, S)
    total = moved.new_zeros(n_profiles, n_deviations)
    scratch = Scratch(right, reuse=not (moved.requires_grad or right.requires_grad))
    for pairs, heard in _groups(~decided.flatten(0, 1), n_deviations, worth.shape[1:], right):
        profile = pairs // n_signals
        # What is simulated is not added once more.
        decided.view(-1, decided.shape[2])[pairs.unsqueeze(1), heard] = False
        # (P, 1, U, S): of every pair of a profile and an own signal, what the others may say
        signals = right[profile.unsqueeze(1), heard].unsqueeze(1)
        listening, weight = receiver.of(profile), worth[profile]
        same = torch.arange(n_profiles, device=pairs.device).unsqueeze(1) == profile  # (B, P)
        held = len(pairs) * scores_held(heard.shape[1], *worth.shape[1:])
        for part in slices(n_deviations, max(1, memory_budget(right) // held)):
            both = torch.cat([columns[pairs, :1], columns[pairs, 1:][:, part]], 1).unsqueeze(1)
            outcomes = taken(listening, both, signals, scratch)[:, 0]  # (P, S, A, 1 + d)
            gains = contract("psad,psa->pd", outcomes[..., 1:] - outcomes[..., :1], weight)
            total[:, part] += matrix_product(same.to(gains), gains)
    each = torch.arange(n_profiles, device=action.device)[:, None, None]
    value = worth.mT[each, action]  # (B, M, R, S)
    linear = contract("bmrs,bmr,brs->bsm", value, decided.to(value), right)
    return total + contract("bdsm,bsm->bd", moved, linear)


def _groups(
    undecided: Tensor, n_deviations: int, sizes: tuple[int, ...], like: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of `undecided (P, R)`, those with most first, as many as fit the memory budget.

    Yields:
        indices `(P',)` of the rows, and `(P', U)` of their undecided entries; those that have less
        than U are filled up with decided ones.
    """
    counts, order = undecided.sum(1).sort(descending=True, stable=True)
    start, end = 0, int((counts > 0).sum())
    while start < end:
        width = int(counts[start])
        together = max(1, memory_budget(like) // (n_deviations * scores_held(width, *sizes)))
        rows = order[start : min(start + together, end)]
        yield rows, undecided[rows].to(torch.int8).topk(width, 1).indices
        start += together
