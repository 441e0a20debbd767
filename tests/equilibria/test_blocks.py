"""Block profiles: what is enumerated, what has come to rest, and that the best one is found."""

import dataclasses
import itertools
import math
import time
from functools import cache

import pytest
import torch
from torch import Tensor

import dnl
from dnl.equilibria.blocks import is_enumerated
from dnl.equilibria.member import MEMBERS
from dnl.equilibria.partitions import count_partitions, partitions_of, spreads
from dnl.equilibria.resting import settle, unpooled
from dnl.equilibria.search import Search, canonical
from dnl.runtime.budget import Budget
from games import PersuasionGame, synthetic_game

Sizes = tuple[int, int, int, int]  # N, M, S, A
SIZES: list[Sizes] = [(2, 2, 2, 2), (2, 2, 3, 3), (3, 2, 2, 2), (2, 3, 3, 3)]


def contested(sizes: Sizes, seed: int) -> PersuasionGame:
    return synthetic_game(*sizes, seed=seed, law="contested")


def searching(game: PersuasionGame, radius: float = 0.005, seconds: float = 1e6) -> Search:
    return Search(game, radius, Budget.within(seconds))


# ---------------------------------------------------------------------------------- the counts


def stirling(n_states: int, n_blocks: int) -> int:
    """Partitions into exactly `n_blocks` blocks, by inclusion and exclusion over onto maps."""
    signs = ((-1) ** k * math.comb(n_blocks, k) for k in range(n_blocks + 1))
    onto = sum(sign * (n_blocks - k) ** n_states for k, sign in enumerate(signs))
    return onto // math.factorial(n_blocks)


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("n_states", [1, 2, 3, 5, 7])
def test_every_partition_comes_once(n_states: int, n_blocks: int) -> None:
    labels = partitions_of(n_states, n_blocks)
    count = sum(stirling(n_states, k) for k in range(1, n_blocks + 1))
    assert labels.shape == (count, n_states)
    as_sets = {frozenset(blocks_of(row)) for row in labels.tolist()}
    assert len(as_sets) == count
    assert labels.max() < n_blocks


def blocks_of(labels: list[int]) -> list[frozenset[int]]:
    """The states that share each label."""
    names = sorted(set(labels))
    return [frozenset(s for s, label in enumerate(labels) if label == name) for name in names]


def test_the_bell_numbers_of_the_textbook() -> None:
    # All partitions of 1..6 states: 1, 2, 5, 15, 52, 203 (Bell, 1934).
    assert [len(partitions_of(n, n)) for n in range(1, 7)] == [1, 2, 5, 15, 52, 203]


@pytest.mark.parametrize(
    ("labels", "n_signals"),
    [
        ([[0, 0, 0], [0, 1, 2]], 3),
        ([[0, 1, 0], [0, 0, 1]], 4),
        ([[0, 1, 2], [0, 1, 1], [0, 0, 0]], 4),
        ([[0], [0]], 1),
    ],
)
def test_spreads_use_all_signals_and_say_what_the_message_said(
    labels: list[list[int]], n_signals: int
) -> None:
    variants = list(spreads(torch.tensor(labels), n_signals))
    # Distributing M signals over k blocks, none empty: a composition of M into k parts.
    assert len(variants) == math.prod(math.comb(n_signals - 1, len(set(row)) - 1) for row in labels)
    assert len({variant.numpy().tobytes() for variant in variants}) == len(variants)
    for variant, n in itertools.product(variants, range(len(labels))):
        policy, row = variant[n], torch.tensor(labels[n])
        torch.testing.assert_close(policy.sum(-1), torch.ones(len(row)).double())
        assert (policy.sum(0) > 0).all()
        for signal in policy.T:  # the states that send it are one block, each equally often
            (block,) = set(row[signal > 0].tolist())
            torch.testing.assert_close(signal > 0, row == block)
            assert signal[row == block].unique().numel() == 1


# ------------------------------------------------------------------------------- the dynamics


def wants_to_move(game: PersuasionGame, labels: Tensor) -> bool:
    """Whether a state of a sender gains by sending another message, alone and a little of it.

    Messages that no state sends have no signals.
    """
    n_senders, n_states = labels.shape
    v, u, prior = game.receiver_utility, game.sender_utility, game.prior
    for n, s in itertools.product(range(n_senders), range(n_states)):

        def reached(message: int, n: int = n, s: int = s) -> float:
            joint = labels[:, s].tolist()
            joint[n] = message
            sent = [t for t in range(n_states) if labels[:, t].tolist() == joint]
            value = sum((prior[t] * v[t] for t in sent), torch.zeros(game.n_actions).double())
            action = int((value if sent else v[s]).argmax())
            return float(u[n, s, action])

        here = reached(int(labels[n, s]))
        limit = here + 1e-6 * game.payoff_range[n].item()
        if any(reached(message) > limit for message in set(labels[n].tolist())):
            return True
    return False


@pytest.mark.parametrize("sizes", [(2, 3, 4, 3), (3, 2, 3, 3), (1, 2, 4, 3), (2, 2, 2, 2)])
def test_what_settles_is_at_rest_and_nothing_else(sizes: Sizes) -> None:
    game = contested(sizes, seed=0)
    generator = torch.Generator().manual_seed(0)
    starts = torch.randint(sizes[1], (64, sizes[0], sizes[2]), generator=generator)
    kept = starts.clone()
    settled = settle(game, starts, generator, Budget())
    torch.testing.assert_close(starts, kept)  # the argument is not edited
    assert not any(wants_to_move(game, labels) for labels in settled)
    at_rest = [labels for labels in starts if not wants_to_move(game, labels)]
    assert len(settled) >= len(at_rest)  # those stay where they are
    for labels in at_rest:
        (same,) = settle(game, labels[None], generator, Budget())
        torch.testing.assert_close(same, labels)


def test_some_states_do_want_to_move() -> None:
    """The test above could not fail otherwise."""
    game = contested((2, 3, 4, 3), seed=0)
    starts = torch.randint(3, (64, 2, 4), generator=torch.Generator().manual_seed(0))
    assert 0 < sum(wants_to_move(game, labels) for labels in starts) < 64 + 1


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e6])
def test_the_unit_of_utility_decides_nothing(scale: float) -> None:
    game = contested((2, 3, 4, 3), seed=0)
    scaled = dataclasses.replace(game, sender_utility=scale * game.sender_utility)
    counts = []
    for g in (game, scaled):
        generator = torch.Generator().manual_seed(0)
        starts = torch.randint(3, (64, 2, 4), generator=generator)
        counts.append(len(settle(g, starts, generator, Budget())))
    assert counts[0] > 0
    assert counts[1] == counts[0]


@pytest.mark.parametrize(
    ("sizes", "seed"), [((2, 3, 3, 3), 0), ((2, 3, 3, 3), 2), ((2, 2, 4, 3), 1)]
)
def test_what_is_certified_is_not_said_to_pool(sizes: Sizes, seed: int) -> None:
    game = contested(sizes, seed)
    generator = torch.Generator().manual_seed(0)
    starts = torch.randint(sizes[1], (64, sizes[0], sizes[2]), generator=generator)
    # Messages named by first appearance, as `spreads` wants them, and each only once.
    settled = {str(row): row for row in map(named, settle(game, starts, generator, Budget()))}
    labels = torch.stack(list(settled.values()))
    passed = unpooled(game, labels, 0.005, 1e-5).tolist()
    for alone, whole in zip(labels, passed, strict=True):
        variants = list(spreads(alone, sizes[1]))[:3]
        assert whole or not any(verdict == "certified" for verdict in verdicts(game, variants))


def named(labels: Tensor) -> Tensor:
    rows = [[row.index(label) for label in row] for row in labels.tolist()]
    return torch.tensor([[sorted(set(row)).index(label) for label in row] for row in rows])


def verdicts(game: PersuasionGame, profiles: list[Tensor]) -> list[object]:
    return [dnl.verify(game, policies).verdict for policies in profiles]


def test_settling_ends_at_the_deadline() -> None:
    game = contested((2, 3, 4, 3), seed=0)
    generator = torch.Generator().manual_seed(0)
    starts = torch.randint(3, (64, 2, 4), generator=generator)
    assert settle(game, starts, generator, Budget(0.0)).shape[1:] == (2, 4)


def test_fixed_points_are_proposed_where_there_are_too_many_to_enumerate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dnl.equilibria.blocks.MOST_PARTITIONS", 1)
    monkeypatch.setattr("dnl.equilibria.blocks.MOST_BATCHES", 2)
    game = contested((2, 3, 3, 3), seed=1)
    search = searching(game)
    proposed = [p for p in MEMBERS["blocks"].propose(search) if p is not None]
    assert proposed
    assert search.survives(torch.stack(proposed)).all()
    assert all(is_block_profile(policies) for policies in proposed)


def is_block_profile(policies: Tensor) -> bool:
    """Signals of a sender that share a state share all of theirs, and each is sent evenly."""
    for policy in policies:
        supports = {tuple((signal > 0).tolist()) for signal in policy.T}
        disjoint = sum(torch.tensor(support).int() for support in supports)
        even = all(signal[signal > 0].unique().numel() == 1 for signal in policy.T)
        if not even or not (torch.as_tensor(disjoint) == 1).all():
            return False
    return True


# ----------------------------------------------------------------------------- the enumeration


@pytest.mark.parametrize("sizes", SIZES)
def test_the_enumeration_goes_down_and_ends_at_the_floor(sizes: Sizes) -> None:
    game = contested(sizes, seed=1)
    proposed = [p for p in MEMBERS["blocks"].propose(searching(game)) if p is not None]
    welfare = game.ex_ante_utility(torch.stack(proposed)).sum(1)
    assert (welfare.diff() <= 1e-9).all()
    assert all(is_block_profile(policies) for policies in proposed)
    floor = welfare.median().item()
    search = searching(game)
    search.floor = floor
    above = [p for p in MEMBERS["blocks"].propose(search) if p is not None]
    expected = [p for p, w in zip(proposed, welfare, strict=True) if w > floor + 1e-9]
    assert [canonical(p) for p in above][: len(expected)] == [canonical(p) for p in expected]
    assert (game.ex_ante_utility(torch.stack(above)).sum(1) >= floor - 1e-9).all() or not above


def test_nothing_is_enumerated_when_the_time_is_over() -> None:
    search = searching(contested((2, 2, 2, 2), seed=1), seconds=-1.0)
    assert [p for p in MEMBERS["blocks"].propose(search) if p is not None] == []


@cache
def best_block_welfare(sizes: Sizes, seed: int) -> float:
    """By every labelling with messages out of M, every spread, and `verify`: no short cuts."""
    game = contested(sizes, seed)
    n_senders, n_signals, n_states, _ = sizes
    policies: dict[bytes, Tensor] = {}
    rows = list(itertools.product(range(n_signals), repeat=n_states))
    for owners in itertools.product(rows, repeat=n_senders):
        # Signal m of a sender belongs to the block `owner[m]`; every used block owns a signal.
        for maps in itertools.product(
            *[list(itertools.product(sorted(set(row)), repeat=n_signals)) for row in owners]
        ):
            pairs = list(zip(owners, maps, strict=True))
            if any(set(row) != set(belongs) for row, belongs in pairs):
                continue
            profile = torch.zeros(n_senders, n_states, n_signals, dtype=torch.float64)
            for n, (row, belongs) in enumerate(pairs):
                for s, m in itertools.product(range(n_states), range(n_signals)):
                    if belongs[m] == row[s]:
                        profile[n, s, m] = 1 / belongs.count(row[s])
            policies.setdefault(canonical(profile), profile)
    every = torch.stack(list(policies.values()))
    certified = [dnl.verify(game, p).is_equilibrium for p in every]
    welfare = game.ex_ante_utility(every).sum(1)[torch.tensor(certified)]
    return welfare.max().item() if len(welfare) else -math.inf


SMALL = [((2, 2, 2, 2), seed) for seed in range(4)]
SMALL += [((2, 2, 3, 3), seed) for seed in range(3)]
SMALL += [((3, 2, 2, 2), seed) for seed in range(3)]


@pytest.mark.parametrize(("sizes", "seed"), SMALL)
def test_the_best_certified_block_profile_is_found(sizes: Sizes, seed: int) -> None:
    game = contested(sizes, seed)
    found = dnl.find_equilibria(game, members=["blocks"], time_limit=20.0)
    best = best_block_welfare(sizes, seed)
    assert (found[0].welfare if found else -math.inf) == pytest.approx(best, rel=1e-9)
    assert all(equilibrium.status == "complete" for equilibrium in found)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_whole_portfolio_is_at_least_as_good(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnl.equilibria.response_walks.MOST_WALKS", 2)
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.MOST_ASCENTS", 4)
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.MOST_FINISHED", 1)
    game = contested((2, 2, 2, 2), seed)
    slack = 1e-6 * game.payoff_range.sum().item()
    found = dnl.find_equilibria(game, time_limit=20.0)
    assert found[0].welfare >= best_block_welfare((2, 2, 2, 2), seed) - slack


def test_a_large_enumeration_minds_the_clock() -> None:
    limit = 0.3
    game = contested((4, 8, 4, 4), seed=0)
    began = time.perf_counter()
    dnl.find_equilibria(game, members=["blocks"], time_limit=limit)
    assert time.perf_counter() - began <= 1.5 * limit + 2


# ------------------------------------------------------------------------- the clock and memory


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("n_states", [1, 2, 3, 5, 7])
def test_partitions_are_counted(n_states: int, n_blocks: int) -> None:
    assert count_partitions(n_states, n_blocks) == len(partitions_of(n_states, n_blocks))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((2, 4, 4, 4), True),  # 15**2 joint partitions
        ((1, 12, 12, 4), False),  # 4,213,597, the twelfth Bell number
        ((2, 2, 20, 4), False),  # 524,288**2
        ((7, 2, 64, 8), False),
    ],
)
def test_what_is_counted_is_not_listed(
    sizes: Sizes, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnl.equilibria.blocks.partitions_of", None)
    assert is_enumerated(synthetic_game(*sizes, seed=0)) is expected


@pytest.mark.parametrize("paired", [1, 50, 2**22])
def test_pairs_of_states_may_come_in_any_number(
    paired: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = contested((2, 3, 4, 3), seed=1)
    labels = torch.randint(3, (64, 2, 4), generator=torch.Generator().manual_seed(0))
    expected = unpooled(game, labels, 0.005, 1e-5)
    monkeypatch.setattr("dnl.equilibria.resting.PAIR_BYTES", 8 * paired)
    assert torch.equal(unpooled(game, labels, 0.005, 1e-5), expected)
    assert 0 < expected.sum() < 64


def test_a_message_of_many_signals_is_not_spread_in_all_ways() -> None:
    """24 signals for 6 messages: 33,649 ways for each sender that uses all."""
    game = contested((1, 24, 6, 3), seed=0)
    search = searching(game, seconds=20.0)
    assert is_enumerated(game)
    proposed = [
        p for p in itertools.islice(MEMBERS["all-blocks"].propose(search), 60) if p is not None
    ]
    assert all(is_block_profile(policies) for policies in proposed)
