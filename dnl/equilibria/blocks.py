"""Block profiles: every sender partitions the states into messages.

A message is sent by one or several signals, evenly: a message of one signal out of fewer than M
leaves spare signals, on which a tiny mass induces any posterior. Candidates are the profiles at
rest, in which no state of any sender, an agent that picks its message, wants another one. Where the
profiles are few they are sorted out among all, else found by dynamics.
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

MOST_PARTITIONS = 300_000  # most joint partitions that are enumerated
MOST_JOINT_SIGNALS = 10**8  # most joint signals that their simulation may take
PARTITIONS_AT_ONCE = 5_000  # most partitions that are looked at together
MOST_SPREADS = 5_000  # most ways to spread the messages of one profile that are tried one and all
SPREADS_AT_ONCE = 64  # ways to spread messages over signals that are looked at together
DYNAMICS_AT_ONCE = 256  # dynamics that run together
MOST_BATCHES = 40  # of batches of dynamics
FIXED_POINTS_PER_BATCH = 40  # fixed points of a batch that are looked at, best welfare first


def blocks(search: Search) -> Proposals:
    """Block profiles at rest that survive the cheap test: out of all, or by dynamics."""
    if is_enumerated(search.game):
        yield from _spread_out(search, _resting(search, _all_labels(search.game)))
    else:
        yield from fixed_points(search)


def all_blocks(search: Search) -> Proposals:
    """All block profiles, where they are few, best welfare first: those not at rest too."""
    if is_enumerated(search.game):
        yield from _spread_out(search, _all_labels(search.game))


def is_enumerated(game: PersuasionGame) -> bool:
    """Whether joint partitions are few enough, and their simulation cheap enough, to try all."""
    count = count_partitions(game.n_states, game.n_signals) ** game.n_senders
    return count <= MOST_PARTITIONS and count * game.n_signals**game.n_senders <= MOST_JOINT_SIGNALS


def _all_labels(game: PersuasionGame) -> Tensor:
    """Messages `(B, N, S)` of all joint partitions."""
    partitions = partitions_of(game.n_states, game.n_signals)  # (P, S)
    choices = torch.cartesian_prod(*[torch.arange(len(partitions))] * game.n_senders)
    return partitions[choices.reshape(-1, game.n_senders)]


def _resting(search: Search, labels: Tensor) -> Tensor:
    """The ones of `labels (B, N, S)` that pass two tests; nearly all local equilibria do."""
    game, limit = search.plain, search.allowed(search.radius)
    kept = []
    for part in labels.split(_together(search)):
        if search.budget.over:
            break
        resting = part[at_rest(game, part, search.radius, limit)]
        kept.append(resting[unpooled(game, resting, search.radius, limit)])
    return torch.cat(kept) if kept else labels[:0]


def _together(search: Search, most: int = PARTITIONS_AT_ONCE) -> int:
    """How many joint partitions are looked at together: as many as memory and clock allow."""
    _, n_signals, n_states, n_actions = search.game.shape
    entries = n_states * n_signals * max(n_states, n_actions)  # of `_exchanges`
    return max(
        1, min(most, search.budget.rows(64 * entries), int(PRODUCTS_PER_LOOK // (16 * entries)))
    )


def _spread_out(search: Search, labels: Tensor) -> Proposals:
    """The profiles of `labels (B, N, S)`, best welfare first; ends at the search's floor."""
    game = search.game
    parts = []
    for part in labels.split(search.at_once):
        if search.budget.over:
            return
        parts.append(search.welfare(pure_policies(part, game.n_signals)))
        yield None
    if not parts:
        return
    welfare = torch.cat(parts)
    generator = search.generator("spreads")
    for index in welfare.argsort(descending=True, stable=True).tolist():
        if welfare[index] <= search.floor:
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
    """Partitions from which no state of any sender wants to move to another message."""
    game = search.plain
    generator = search.generator("blocks")
    seen: set[bytes] = set()
    count = _together(search, DYNAMICS_AT_ONCE)
    for _ in range(MOST_BATCHES):
        labels = settle(game, random_labels(game, count, generator), generator, search.budget)
        if search.budget.over:
            return
        labels = labels[unpooled(game, labels, search.radius, search.allowed(search.radius))]
        if not len(labels):
            yield None
            continue
        welfare = search.welfare(pure_policies(labels, game.n_signals))
        for index in welfare.argsort(descending=True, stable=True)[
            :FIXED_POINTS_PER_BATCH
        ].tolist():
            if welfare[index] <= search.floor or search.budget.over:
                break
            key = named_labels(labels[index]).numpy().tobytes()
            if key in seen:
                continue
            seen.add(key)
            variants = torch.stack(some_spreads(labels[index], game.n_signals, generator))
            kept = variants[search.survives(variants)]
            yield from kept
        yield None
