"""Block profiles: every sender partitions the states into messages.

A message is sent by one or several signals with equal probability. All signals are used, since on
an unused one a tiny mass induces any posterior. Candidates are the profiles at rest (see
`resting`). Where there are few profiles all are tested; else best-reply dynamics find them.
"""

from itertools import islice
from math import comb, prod

import torch
from torch import Tensor

from dnl.equilibria.partitions import (
    count_partitions,
    named_labels,
    partitions_of,
    pure_policies,
    random_labels,
    some_spreads,
    spreads,
)
from dnl.equilibria.resting import at_rest, settle, unpooled
from dnl.equilibria.search import PRODUCTS_PER_LOOK, Proposals, Search
from games import PersuasionGame

MOST_PARTITIONS = 300_000  # joint partitions that are enumerated
MOST_JOINT_SIGNALS = 10**8  # of all joint partitions together, for enumerating them
PARTITIONS_AT_ONCE = 5_000  # joint partitions tested together
MOST_SPREADS = 5_000  # ways to spread the messages of one profile; with more, a few are drawn
SPREADS_AT_ONCE = 64  # ways to spread messages over signals that are tested together
DYNAMICS_AT_ONCE = 256  # runs of the dynamics
MOST_BATCHES = 40  # of runs of the dynamics
FIXED_POINTS_PER_BATCH = 40  # those of highest worth are tested


def blocks(search: Search) -> Proposals:
    """Block profiles at rest that survive the cheap test, by enumeration or by dynamics."""
    if is_enumerated(search.game):
        yield from _spread_out(search, _resting(search, _all_labels(search.game)))
    else:
        yield from fixed_points(search)


def all_blocks(search: Search) -> Proposals:
    """Where there are few: all block profiles, at rest or not, highest worth first."""
    if is_enumerated(search.game):
        yield from _spread_out(search, _all_labels(search.game))


def is_enumerated(game: PersuasionGame) -> bool:
    """Whether there are few enough joint partitions, cheap enough to simulate, to try all."""
    count = count_partitions(game.n_states, game.n_signals) ** game.n_senders
    return count <= MOST_PARTITIONS and count * game.n_signals**game.n_senders <= MOST_JOINT_SIGNALS


def _all_labels(game: PersuasionGame) -> Tensor:
    """Messages `(B, N, S)` of all joint partitions."""
    partitions = partitions_of(game.n_states, game.n_signals)  # (P, S)
    choices = torch.cartesian_prod(*[torch.arange(len(partitions))] * game.n_senders)
    return partitions[choices.reshape(-1, game.n_senders)]


def _resting(search: Search, labels: Tensor) -> Tensor:
    """Those of `labels (B, N, S)` that pass two tests, as nearly all local equilibria do."""
    game, limit = search.plain, search.allowed(search.reach)
    kept = []
    for part in labels.split(_together(search)):
        if search.budget.over:
            break
        resting = part[at_rest(game, part, search.reach, limit)]
        kept.append(resting[unpooled(game, resting, search.reach, limit)])
    return torch.cat(kept) if kept else labels[:0]


def _together(search: Search, most: int = PARTITIONS_AT_ONCE) -> int:
    """How many joint partitions are tested together: as many as memory and clock allow."""
    _, n_signals, n_states, n_actions = search.game.shape
    entries = n_states * n_signals * max(n_states, n_actions)  # of the largest array in `resting`
    return max(
        1, min(most, search.budget.rows(64 * entries), int(PRODUCTS_PER_LOOK // (16 * entries)))
    )


def _spread_out(search: Search, labels: Tensor) -> Proposals:
    """Profiles with messages `labels (B, N, S)`, highest worth first, down to the floor."""
    game = search.game
    parts = []
    for part in labels.split(search.at_once):
        if search.budget.over:
            return
        parts.append(search.worth(pure_policies(part, game.n_signals)))
        yield None
    if not parts:
        return
    worth = torch.cat(parts)
    generator = search.generator("spreads")
    for index in worth.argsort(descending=True, stable=True).tolist():
        if worth[index] <= search.floor:
            return
        ways = spreads(labels[index], game.n_signals)
        if prod(comb(game.n_signals - 1, int(row.max())) for row in labels[index]) > MOST_SPREADS:
            ways = iter(some_spreads(labels[index], game.n_signals, generator))
        while variants := list(islice(ways, SPREADS_AT_ONCE)):
            if search.budget.over:
                return
            profiles = torch.stack(variants)
            yield None
            yield from profiles[search.survives(profiles)]


def fixed_points(search: Search) -> Proposals:
    """Partitions at which the dynamics come to rest, from random starts."""
    game = search.plain
    generator = search.generator("blocks")
    seen: set[bytes] = set()
    count = _together(search, DYNAMICS_AT_ONCE)
    for _ in range(MOST_BATCHES):
        labels = settle(game, random_labels(game, count, generator), generator, search.budget)
        if search.budget.over:
            return
        labels = labels[unpooled(game, labels, search.reach, search.allowed(search.reach))]
        if not len(labels):
            yield None
            continue
        worth = search.worth(pure_policies(labels, game.n_signals))
        for index in worth.argsort(descending=True, stable=True)[:FIXED_POINTS_PER_BATCH].tolist():
            if worth[index] <= search.floor or search.budget.over:
                break
            key = named_labels(labels[index]).numpy().tobytes()
            if key in seen:
                continue
            seen.add(key)
            variants = torch.stack(some_spreads(labels[index], game.n_signals, generator))
            kept = variants[search.survives(variants)]
            yield from kept
        yield None
