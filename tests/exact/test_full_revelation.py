"""Full revelation: utilities against plain loops, the code, and that no deviation gains."""

import itertools

import pytest
import torch
from torch import Tensor

from dnl import verify
from dnl.exact.full_revelation import FullRevelation, full_revelation
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game
from tests.references import simulation as reference

Sizes = tuple[int, int, int, int]  # (N, M, S, A)
TIE_BREAKS = ["first", "senders"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=generator(seed))


def game_with(
    best: list[int],
    n_senders: int,
    n_signals: int,
    tie_break: str = "first",
    prior: list[float] | None = None,
    seed: int = 0,
) -> PersuasionGame:
    """A game in which action `best[s]` gives the receiver 1 to 2 more than any other in state s."""
    n_states, n_actions = len(best), max(best) + 1
    v = torch.rand(n_states, n_actions, dtype=torch.float64, generator=generator(seed))
    v[torch.arange(n_states), best] += 2
    prior = prior or normal(n_states, seed=seed).softmax(0).tolist()
    u = 10 * normal(n_senders, n_states, n_actions, seed=seed + 1)
    return PersuasionGame(prior, v, u, n_signals, tie_break)


def value(game: PersuasionGame) -> Tensor:
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    return reference.full_revelation(*tables, game.tie_break)


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def check_profile(game: PersuasionGame, revelation: FullRevelation) -> list[tuple[int, ...]]:
    """Check that the profile is pure and earns the stated utilities; return its code `(S, N)`."""
    policies = revelation.policies
    assert policies is not None
    assert policies.shape == (game.n_senders, game.n_states, game.n_signals)
    assert policies.dtype == game.prior.dtype
    assert ((policies == 0) | (policies == 1)).all()
    assert policies.sum(-1).eq(1).all()
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    by_loops = reference.sender_utilities(*tables, policies, game.tie_break)
    assert_close(by_loops, revelation.utilities)
    assert_close(game.ex_ante_utility(policies), revelation.utilities)
    return [tuple(column) for column in policies.argmax(-1).mT.tolist()]


# The receiver's best action by state, N, M: at most M**(N - 1) different ones.
ROBUST: list[tuple[list[int], int, int]] = [
    ([0, 1], 2, 2),
    ([1, 0], 2, 2),
    ([1, 0, 0, 1, 1], 2, 2),
    ([2, 0, 3], 2, 3),
    ([5, 3, 1, 0], 2, 4),
    ([0, 1, 2, 3], 3, 2),
    ([3, 2, 2, 5, 0, 3], 3, 2),
    (list(range(9)), 3, 3),
    ([8, 1, 2, 3, 4, 5, 6, 7, 0, 0], 3, 3),
    (list(range(8)), 4, 2),
    ([7, 6, 5, 5, 6, 1, 2, 2], 4, 2),
    ([4, 0, 4, 2, 1], 4, 3),
    ([1, 1, 1], 2, 1),
    ([1, 1, 1], 1, 2),
    ([0], 1, 1),
]


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.parametrize(("best", "n_senders", "n_signals"), ROBUST)
def test_theorem_4(best: list[int], n_senders: int, n_signals: int, tie_break: str) -> None:
    game = game_with(best, n_senders, n_signals, tie_break)
    revelation = full_revelation(game)
    assert revelation.is_equilibrium is True
    assert_close(revelation.utilities, value(game))
    code = check_profile(game, revelation)
    for (s, word), (t, other) in itertools.combinations(enumerate(code), 2):
        distance = sum(a != b for a, b in zip(word, other, strict=True))
        assert distance == 0 if best[s] == best[t] else distance >= 2
    assert revelation.policies is not None
    for sender in range(n_senders):
        tried = game.sample_policies(300, generator(2))[:, sender]
        pure = torch.eye(n_signals, dtype=torch.float64)
        rows = torch.randint(n_signals, (300, len(best)), generator=generator(3))
        tried = torch.cat([tried, pure[rows]])  # (600, S, M)
        gains = game.deviation_utility(revelation.policies, sender, tried)
        assert_close(gains, revelation.utilities[sender].expand(600), 1e-10)


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 4, 4, 4), (3, 2, 4, 6), (4, 2, 6, 4)])
def test_random_games(sizes: Sizes, tie_break: str) -> None:
    for seed in range(3):
        drawn = synthetic_game(*sizes, seed=seed)
        tables = (drawn.prior, drawn.receiver_utility, drawn.sender_utility)
        game = PersuasionGame(*tables, drawn.n_signals, tie_break)
        revelation = full_revelation(game)
        assert revelation.is_equilibrium is True
        assert_close(revelation.utilities, value(game))
        check_profile(game, revelation)


def test_by_hand() -> None:
    # prosecutor: convicts the guilty, 0.3; didactic: sender 0 never profits, sender 1 in state 1
    assert_close(full_revelation(prosecutor_game()).utilities, torch.tensor([0.3]).double(), 1e-7)
    revelation = full_revelation(didactic_game())
    assert_close(revelation.utilities, torch.tensor([0.0, 0.8]).double(), 1e-7)
    assert revelation.is_equilibrium


# More than M**(N - 1) different actions, at most M**N: revealed, but one sender can hide it.
@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.parametrize(
    ("best", "n_senders", "n_signals"),
    [
        ([0, 1], 1, 2),
        ([2, 0, 1, 1], 1, 3),
        ([0, 1, 2], 2, 2),
        ([3, 1, 0, 2], 2, 2),
        (list(range(9)), 2, 3),
        ([4, 3, 2, 1, 0, 0], 3, 2),
        (list(range(8)), 3, 2),
        (list(range(11)), 4, 2),
    ],
)
def test_without_room_for_the_code_the_profile_only_reveals(
    best: list[int], n_senders: int, n_signals: int, tie_break: str
) -> None:
    game = game_with(best, n_senders, n_signals, tie_break)
    revelation = full_revelation(game)
    assert revelation.is_equilibrium is False
    assert_close(revelation.utilities, value(game))
    code = check_profile(game, revelation)
    for (s, word), (t, other) in itertools.combinations(enumerate(code), 2):
        assert (word == other) == (best[s] == best[t])


@pytest.mark.parametrize(
    ("best", "n_senders", "n_signals"),
    [
        ([0, 1, 2], 1, 2),
        ([0, 1], 1, 1),
        ([0, 1], 3, 1),
        (list(range(5)), 2, 2),
        ([*range(9)], 3, 2),
    ],
)
def test_too_few_joint_signals(best: list[int], n_senders: int, n_signals: int) -> None:
    game = game_with(best, n_senders, n_signals)
    revelation = full_revelation(game)
    assert revelation.policies is None
    assert revelation.is_equilibrium is False
    assert_close(revelation.utilities, value(game))


# Receiver's utility of three actions in two states; a gap counts as a tie below 1e-9 (float32:
# 1e-6) of the range, here `range_`. Only a tie that is not exact forfeits the theorem.
@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.parametrize("range_", [1.0, 1e6])
@pytest.mark.parametrize(
    ("dtype", "gap", "tied", "holds"),
    [
        (torch.float64, 0.0, True, True),
        (torch.float64, 5e-10, True, False),
        (torch.float64, 2e-9, False, True),
        (torch.float64, 0.5, False, True),
        (torch.float32, 0.0, True, True),
        (torch.float32, 5e-7, True, False),
        (torch.float32, 2e-6, False, True),
    ],
)
def test_the_theorem_holds_at_ties_that_the_rule_decides(
    dtype: torch.dtype, gap: float, tied: bool, holds: bool, range_: float, tie_break: str
) -> None:
    v = range_ * torch.tensor([[1 - gap, 0.0, 1.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
    u = torch.tensor([[[0.0, 9, 4], [1, 2, 3]], [[5.0, 9, -2], [3, 2, 1]]], dtype=torch.float64)
    prior = torch.tensor([0.25, 0.75], dtype=torch.float64)
    for pay in (u, -u):  # action 0 is the lowest of the tied; the senders like it more, or less
        game = PersuasionGame(prior.to(dtype), v.to(dtype), pay.to(dtype), 2, tie_break)
        revelation = full_revelation(game)
        action = 0 if tied and (tie_break == "first" or pay is u) else 2
        assert revelation.is_equilibrium is holds
        expected = 0.25 * pay[:, 0, action] + 0.75 * pay[:, 1, 1]
        assert_close(revelation.utilities.double(), expected, 1e-6)
        assert revelation.policies is not None
        assert_close(game.ex_ante_utility(revelation.policies).double(), expected, 1e-6)
        assert revelation.policies.dtype == dtype
        if holds and gap != 2e-9 and gap != 2e-6:  # the verifier grants ties twice as wide
            assert verify(game, revelation.policies, None).is_equilibrium


@pytest.mark.parametrize("n_signals", [2, 3])
def test_impossible_states_need_no_codeword(n_signals: int) -> None:
    best = [3, 0, 2, 1] if n_signals == 2 else [3, 4, 2, 1, 0]
    prior = [0.4, 0.0, 0.6, 0.0] if n_signals == 2 else [0.2, 0.0, 0.5, 0.3, 0.0]
    game = game_with(best, 2, n_signals, prior=prior)
    assert len(set(best)) > n_signals  # with every state possible there would be no room
    assert full_revelation(game_with(best, 2, n_signals)).is_equilibrium is False
    revelation = full_revelation(game)
    assert revelation.is_equilibrium is True
    assert_close(revelation.utilities, value(game))
    code = check_profile(game, revelation)
    possible = [word for word, chance in zip(code, prior, strict=True) if chance > 0]
    for word, other in itertools.combinations(possible, 2):
        assert sum(a != b for a, b in zip(word, other, strict=True)) >= 2


@pytest.mark.whole_run
@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 6])  # 3 takes the verifier 14 seconds
def test_ties_everywhere_leave_nothing_to_gain(seed: int, tie_break: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    v = torch.randint(0, 2, (4, 3), generator=generator)
    u = torch.randint(0, 3, (2, 4, 3), generator=generator)
    game = PersuasionGame(torch.full((4,), 0.25).double(), v, u, 3, tie_break)
    revelation = full_revelation(game)
    assert revelation.is_equilibrium
    assert revelation.policies is not None
    assert verify(game, revelation.policies, None).is_equilibrium


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_an_indifferent_receiver_goes_by_the_rule(tie_break: str) -> None:
    game = PersuasionGame([0.3, 0.7], torch.ones(2, 3), normal(2, 2, 3), 3, tie_break)
    revelation = full_revelation(game)
    assert revelation.is_equilibrium is True
    assert_close(revelation.utilities, value(game))
    check_profile(game, revelation)
