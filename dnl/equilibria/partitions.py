"""Partitions of the states into messages, and policies that send them.

Shapes: `P` partitions, `N` senders, `S` states, `M` signals; labels `(..., S)` number the message
that each state sends.
"""

from collections.abc import Iterator
from itertools import combinations, product

import torch
from torch import Tensor

from games import PersuasionGame


def partitions_of(n_states: int, n_blocks: int) -> Tensor:
    """All partitions of the states into at most `n_blocks` blocks: labels `(P, S)`."""
    strings: list[list[int]] = [[0]]
    for _ in range(n_states - 1):
        strings = [
            [*string, label]
            for string in strings
            for label in range(min(max(string) + 2, n_blocks))
        ]
    return torch.tensor(strings)


def count_partitions(n_states: int, n_blocks: int) -> int:
    """How many partitions into at most `n_blocks` blocks: Stirling numbers of the second kind."""
    exactly = [1] + [0] * n_blocks  # partitions of no states into k blocks
    for _ in range(n_states):
        exactly = [0] + [k * exactly[k] + exactly[k - 1] for k in range(1, n_blocks + 1)]
    return sum(exactly)


def random_labels(game: PersuasionGame, count: int, generator: torch.Generator) -> Tensor:
    """Random messages `(count, N, S)`, of a random number of messages per sender."""
    size = (count, game.n_senders, game.n_states)
    most = torch.randint(1, game.n_signals + 1, (*size[:2], 1), generator=generator)
    draw = torch.rand(size, generator=generator) * most
    return draw.long().clamp_max(game.n_signals - 1)


def named_labels(labels: Tensor) -> Tensor:
    """Labels `(N, S)` renamed by first appearance."""
    rows = []
    for row in labels.tolist():
        names: dict[int, int] = {}
        rows.append([names.setdefault(label, len(names)) for label in row])
    return torch.tensor(rows)


def pure_policies(labels: Tensor, n_signals: int) -> Tensor:
    """One signal for each message: `(..., S)` labels to policies `(..., S, M)`."""
    return torch.nn.functional.one_hot(labels, n_signals).double()


def spreads(labels: Tensor, n_signals: int) -> Iterator[Tensor]:
    """All ways to send the messages `labels (N, S)` with all signals, up to their names."""
    per_sender = []
    for row in labels:
        count = int(row.max()) + 1
        sizes = [
            [b - a for a, b in zip((0, *cuts), (*cuts, n_signals), strict=True)]
            for cuts in combinations(range(1, n_signals), count - 1)
        ]
        per_sender.append([_spread(row, size, n_signals) for size in sizes])
    for choice in product(*per_sender):
        yield torch.stack(choice)


def some_spreads(labels: Tensor, n_signals: int, generator: torch.Generator) -> list[Tensor]:
    """The even way to use all signals, and a few random ones."""
    named = named_labels(labels)
    chosen = []
    for attempt in range(4):
        rows = []
        for row in named:
            count = int(row.max()) + 1
            sizes = [1] * count
            for extra in range(n_signals - count):
                at = (
                    extra % count
                    if attempt == 0
                    else int(torch.randint(count, (), generator=generator))
                )
                sizes[at] += 1
            rows.append(_spread(row, sizes, n_signals))
        chosen.append(torch.stack(rows))
    return chosen


def spread_evenly(row: Tensor, n_signals: int) -> Tensor:
    """Policy `(S, M)` that sends the messages `row (S,)` with all signals, each with as many."""
    count = int(row.max()) + 1
    return _spread(
        row, [n_signals // count + (k < n_signals % count) for k in range(count)], n_signals
    )


def _spread(row: Tensor, sizes: list[int], n_signals: int) -> Tensor:
    """Policy `(S, M)` whose message b is sent evenly by `sizes[b]` signals of its own."""
    policy = torch.zeros(len(row), n_signals, dtype=torch.float64)
    first = 0
    for block, size in enumerate(sizes):
        policy[row == block, first : first + size] = 1 / size
        first += size
    return policy
