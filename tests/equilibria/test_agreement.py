"""Agreement: the cells in which nobody wants to say more, and the best partition into them."""

import dataclasses

import pytest
import torch
from torch import Tensor

import dnl
from dnl.equilibria.agreement import Cells, agreement, revealed
from dnl.equilibria.partitions import partitions_of
from games import PersuasionGame, synthetic_game
from tests.cases.finding import Sizes, contested, groups, searching, tensors
from tests.equilibria.test_division import partition, spoiled

# Sizes of `groups`, and the welfare of revealing the pairs: 2 for every sender.
AGREED = [((3, 3, 2, 6), 6.0), ((2, 2, 3, 6), 4.0), ((3, 2, 2, 2), 6.0)]


def pairs(game: PersuasionGame) -> frozenset[frozenset[int]]:
    return frozenset(frozenset({s, s + 1}) for s in range(0, game.n_states, 2))


@pytest.mark.parametrize(("sizes", "welfare"), AGREED)
def test_the_pairs_are_found(sizes: tuple[int, int, int, int], welfare: float) -> None:
    """The last one has 4 pairs, 3 senders and 2 signals: a code reveals them."""
    game = groups(*sizes)
    search = searching(game)
    (policies,) = tensors(agreement(search))
    assert search.worth(policies).item() == pytest.approx(welfare)
    joint = policies.permute(1, 0, 2).flatten(1)  # (S, N * M): what all senders do in a state
    same = torch.cdist(joint, joint) < 1e-9
    assert partition(same.long().argmax(1)) == pairs(game)
    assert dnl.verify(game, policies, None).is_equilibrium


@pytest.mark.whole_run
@pytest.mark.usefixtures("few_starts")
@pytest.mark.parametrize(("sizes", "welfare"), AGREED[:2])
def test_the_finder_agrees(sizes: tuple[int, int, int, int], welfare: float) -> None:
    found = dnl.find_equilibria(groups(*sizes), time_limit=60.0)
    assert found[0].welfare == pytest.approx(welfare)
    assert any(e.is_global and e.welfare == pytest.approx(welfare) for e in found)


def test_more_states_than_can_be_enumerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of at most two states, sets that matter, and what small changes make of them."""
    monkeypatch.setattr("dnl.equilibria.agreement.MOST_CELLS", 100)
    game = groups(2, 2, 3, 6)  # 12 states
    search = searching(game)
    assert not Cells(search).complete
    assert search.worth(tensors(agreement(search))[-1]).item() == pytest.approx(4.0)


@pytest.mark.parametrize("size", [1, 3])
def test_large_cells_are_reached_by_small_changes(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All senders want ignorance, and cells of one state are all that is looked at first."""
    monkeypatch.setattr("dnl.equilibria.agreement.MOST_CELLS", size)
    monkeypatch.setattr("dnl.equilibria.agreement.questions", lambda game: [])
    identity = torch.eye(4, dtype=torch.float64)
    v = torch.cat([identity, torch.full((4, 1), 0.4).double()], 1)
    u = torch.zeros(2, 4, 5, dtype=torch.float64)
    u[:, :, 4] = 1.0  # the last action is taken if no state is likelier than 0.4
    game = PersuasionGame([0.25] * 4, v, u, 4)
    search = searching(game)
    assert search.worth(tensors(agreement(search))[-1]).item() == pytest.approx(2.0)


BRUTE: list[tuple[Sizes, int]] = [((2, 3, 3, 3), seed) for seed in range(4)]
BRUTE += [((2, 4, 4, 4), seed) for seed in (0, 1, 4)] + [((3, 2, 4, 3), seed) for seed in (0, 1)]


@pytest.mark.whole_run
@pytest.mark.parametrize(("sizes", "seed"), BRUTE)
def test_the_best_of_all_partitions_is_found(sizes: Sizes, seed: int) -> None:
    """By revealing every partition, and the verifier: no linear program over cells."""
    game = contested(sizes, seed)
    search = searching(game)
    n_senders, n_signals, n_states, _ = sizes
    every = partitions_of(n_states, min(n_states, n_signals ** (n_senders - 1)))
    profiles = torch.stack([revealed(game, labels) for labels in every])
    welfare = search.worth(profiles)
    falling = welfare.argsort(descending=True)
    best = next(k for k in falling if dnl.verify(game, profiles[k], None).is_equilibrium)
    proposed = sorted(tensors(agreement(search)), key=search.worth, reverse=True)
    found = next(p for p in proposed if dnl.verify(game, p, None).is_equilibrium)
    assert search.worth(found).item() == pytest.approx(welfare[best].item(), rel=1e-9)


def test_a_cell_is_quiet_where_no_news_pays() -> None:
    """Two states, equal odds. Sender 0 gets 1 where the receiver takes the safe action."""
    v = [[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]]
    u = [[[0.0, 0.0, 1.0]] * 2, [[0.0, 0.0, 0.0]] * 2]
    for wish, expected in ((0.0, True), (1.0, False)):  # of sender 1: the truth about state 0
        table = torch.tensor(u).double()
        table[1, 0, 0] = wish
        cells = Cells(searching(PersuasionGame([0.5, 0.5], v, table, 2)))
        whole = int(cells.sets.all(1).nonzero())
        assert bool(cells.worth[whole].isfinite()) == expected
        assert cells.is_quiet(whole) == expected


@pytest.mark.parametrize(
    ("labels", "sizes"),
    [
        ([0, 1, 1, 0], (2, 3, 4, 2)),
        ([0, 1, 2, 3], (3, 2, 4, 2)),
        ([0, 1, 2, 2, 3, 4], (3, 3, 6, 2)),
        ([0] * 3, (2, 4, 3, 2)),
    ],
)
def test_the_cell_follows_from_all_senders_but_one(labels: list[int], sizes: Sizes) -> None:
    game = synthetic_game(*sizes, seed=0)
    policies = revealed(game, torch.tensor(labels))
    game.check_policies(policies)
    for absent in range(game.n_senders):
        others = [n for n in range(game.n_senders) if n != absent]
        for s, one in enumerate(labels):
            for t, two in enumerate(labels):
                apart = any(not supports_meet(policies[n, s], policies[n, t]) for n in others)
                assert apart == (one != two)


def supports_meet(first: Tensor, second: Tensor) -> bool:
    return bool(((first > 0) & (second > 0)).any())


def test_duplicates_and_impossible_states_are_harmless() -> None:
    game = spoiled(groups(2, 2, 2, 4))
    search = searching(game)
    proposed = tensors(agreement(search))
    assert search.worth(proposed[-1]).item() == pytest.approx(4.0)
    game.check_policies(torch.stack(proposed))
    indifferent = dataclasses.replace(game, receiver_utility=0 * game.receiver_utility)
    for policies in tensors(agreement(searching(indifferent))):
        game.check_policies(policies)


def test_one_sender_or_one_signal_agree_on_nothing() -> None:
    for sizes in ((1, 3, 3, 3), (2, 1, 3, 3)):
        assert tensors(agreement(searching(synthetic_game(*sizes, seed=0)))) == []
    assert tensors(agreement(searching(groups(2, 2, 2, 4), seconds=-1.0))) == []
