"""Block profiles: every sender partitions the states into messages.

A message is sent by one or several signals, evenly: a message of one signal out of fewer than M
leaves spare signals, on which a tiny mass induces any posterior. Candidates are the profiles at
rest, in which no state of any sender, an agent that picks its message, wants another one. Where the
profiles are few they are sorted out among all, else found by dynamics.
"""

from collections.abc import Iterator
from itertools import combinations, islice, product
from math import comb, prod

import torch
from torch import Tensor

from dnl.equilibria.search import WORK, Proposals, Search
from dnl.runtime.budget import Budget
from games import PersuasionGame
from games.persuasion.simulation import TIE_TOLERANCE, optimal_action

ENUMERATED = 300_000  # most joint partitions that are enumerated
SIMULATED = 10**8  # most joint signals that their simulation may take
AT_ONCE = 5_000  # most partitions that are looked at together
SPREADS = 5_000  # most ways to spread the messages of one profile that are tried one and all
VARIANTS = 64  # ways to spread messages over signals that are looked at together
BATCH = 256  # dynamics that run together
ROUNDS = 40  # of batches of dynamics
SWEEPS = 30  # over senders and states before a batch is given up
PAIRED = 2**22  # numbers (profiles x pairs of states x actions) that are held together
KEPT = 40  # fixed points of a batch that are looked at, best welfare first


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
    return count <= ENUMERATED and count * game.n_signals**game.n_senders <= SIMULATED


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


def _together(search: Search, most: int = AT_ONCE) -> int:
    """How many joint partitions are looked at together: as many as memory and clock allow."""
    _, n_signals, n_states, n_actions = search.game.shape
    entries = n_states * n_signals * max(n_states, n_actions)  # of `_exchanges`
    return max(1, min(most, search.budget.rows(64 * entries), int(WORK // (16 * entries))))


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
        if welfare[index] <= search.floor or search.budget.left == 0:
            return
        ways = spreads(labels[index], game.n_signals)
        if prod(comb(game.n_signals - 1, int(row.max())) for row in labels[index]) > SPREADS:
            ways = iter(_some_spreads(labels[index], game.n_signals, generator))
        while variants := list(islice(ways, VARIANTS)):
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
    count = _together(search, BATCH)
    for _ in range(ROUNDS):
        labels = settle(game, _random_labels(game, count, generator), generator, search.budget)
        if search.budget.over:
            return
        labels = labels[unpooled(game, labels, search.radius, search.allowed(search.radius))]
        if not len(labels):
            yield None
            continue
        welfare = search.welfare(pure_policies(labels, game.n_signals))
        for index in welfare.argsort(descending=True, stable=True)[:KEPT].tolist():
            if welfare[index] <= search.floor or search.budget.over:
                break
            key = _named(labels[index]).numpy().tobytes()
            if key in seen:
                continue
            seen.add(key)
            variants = torch.stack(_some_spreads(labels[index], game.n_signals, generator))
            kept = variants[search.survives(variants)]
            yield from kept
        yield None


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
    for sweep in range(SWEEPS * game.n_senders):
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
    step = max(1, PAIRED // (game.n_actions * max(game.n_actions, len(labels))))
    for n in range(game.n_senders):
        together, sent, joint = _exchanges(game, labels, n)
        own = labels[:, n, :, None, None].expand(-1, -1, 1, game.n_states)
        action = _action(game, joint.gather(2, own).squeeze(2))  # (B, S)
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


def _some_spreads(labels: Tensor, n_signals: int, generator: torch.Generator) -> list[Tensor]:
    """The even way to use all signals, and a few random ones."""
    named = _named(labels)
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


def _spread(row: Tensor, sizes: list[int], n_signals: int) -> Tensor:
    """Policy `(S, M)` whose message b is sent evenly by `sizes[b]` signals of its own."""
    policy = torch.zeros(len(row), n_signals, dtype=torch.float64)
    first = 0
    for block, size in enumerate(sizes):
        policy[row == block, first : first + size] = 1 / size
        first += size
    return policy


def spread_evenly(row: Tensor, n_signals: int) -> Tensor:
    """Policy `(S, M)` that sends the messages `row (S,)` with all signals, each with as many."""
    count = int(row.max()) + 1
    return _spread(
        row, [n_signals // count + (k < n_signals % count) for k in range(count)], n_signals
    )


def pure_policies(labels: Tensor, n_signals: int) -> Tensor:
    """One signal for each message: `(..., S)` labels to policies `(..., S, M)`."""
    return torch.nn.functional.one_hot(labels, n_signals).double()


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
    action = _action(game, torch.where(empty, recognised, mass))  # (B, S, M)
    utility = u[torch.arange(game.n_states)[:, None], action]
    utility = utility.masked_fill(sent.sum(1, keepdim=True) <= 0, float("-inf"))
    return utility, utility.gather(-1, labels[:, sender].unsqueeze(-1))


def _action(game: PersuasionGame, mass: Tensor) -> Tensor:
    """The receiver's action, by the game's own rule: `mass (..., S)` of states to `(...)`."""
    tables = [game.receiver_utility]
    if game.tie_break == "senders":
        tables.append(game.sender_utility.sum(0))
    total = TIE_TOLERANCE[torch.float64] * mass.sum(-1)
    units = game.tie_units(torch.float64)
    criteria = [(mass @ table, total * unit) for table, unit in zip(tables, units, strict=True)]
    return optimal_action(criteria, -1)


def _named(labels: Tensor) -> Tensor:
    """Labels `(N, S)` renamed by first appearance."""
    rows = []
    for row in labels.tolist():
        names: dict[int, int] = {}
        rows.append([names.setdefault(label, len(names)) for label in row])
    return torch.tensor(rows)


def _random_labels(game: PersuasionGame, count: int, generator: torch.Generator) -> Tensor:
    """Random messages `(count, N, S)`, of a random number of messages per sender."""
    size = (count, game.n_senders, game.n_states)
    most = torch.randint(1, game.n_signals + 1, (*size[:2], 1), generator=generator)
    draw = torch.rand(size, generator=generator) * most
    return draw.long().clamp_max(game.n_signals - 1)
