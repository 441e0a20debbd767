"""What all members share: the necessary test, and when two profiles are the same."""

import pytest
import torch
from torch import Tensor

from dnl import verify
from dnl.equilibria.search import canonical, without_unused
from games import PersuasionGame, prosecutor_game, synthetic_game
from tests.cases.finding import IDENTITY, Sizes, contested, searching

pytestmark = pytest.mark.usefixtures("few_starts")


def profiles_of(game: PersuasionGame, count: int, seed: int = 0) -> Tensor:
    """Random block profiles with all signals in use, and no information."""
    generator = torch.Generator().manual_seed(seed)
    n_senders, n_signals, n_states = game.n_senders, game.n_signals, game.n_states
    silent = torch.full((n_senders, n_states, n_signals), 1 / n_signals, dtype=torch.float64)
    profiles = [silent]
    for _ in range(count):
        blocks = torch.randint(2, (n_senders, n_states), generator=generator)
        belongs = torch.randint(2, (n_senders, n_signals), generator=generator)
        belongs[:, :2] = torch.tensor([0, 1])
        sent = (belongs.unsqueeze(1) == blocks.unsqueeze(2)).double()  # (N, S, M)
        profiles.append(sent / sent.sum(-1, keepdim=True))
    return torch.stack(profiles)


def gains_by_one_move(game: PersuasionGame, policies: Tensor, radius: float) -> Tensor:
    """`(N,)`: the most by moving one state's probability from one signal to another, slowly."""
    present = game.ex_ante_utility(policies)
    gains = torch.zeros(game.n_senders, dtype=torch.float64)
    for n in range(game.n_senders):
        for s in range(game.n_states):
            for a in range(game.n_signals):
                for b in range(game.n_signals):
                    amount = min(radius, float(policies[n, s, a]), 1 - float(policies[n, s, b]))
                    moved = policies.clone()
                    moved[n, s, a] -= amount
                    moved[n, s, b] += amount
                    if a != b:
                        gain = game.ex_ante_utility(moved)[n] - present[n]
                        gains[n] = max(gains[n], gain)
    return gains


@pytest.mark.whole_run
@pytest.mark.parametrize("radius", [0.005, 0.3])
@pytest.mark.parametrize("sizes", [(2, 2, 3, 3), (2, 3, 3, 2), (3, 2, 2, 2)])
def test_what_is_certified_survives(sizes: Sizes, radius: float) -> None:
    seen = set()
    for seed in range(3):
        game = contested(sizes, seed)
        search = searching(game, radius)
        profiles = profiles_of(game, 5, seed)
        survived = search.survives(profiles).tolist()
        for policies, alive in zip(profiles, survived, strict=True):
            certified = verify(game, policies, radius).is_equilibrium
            assert alive or not certified
            limit = search.allowed(radius) * game.payoff_range
            assert alive == bool((gains_by_one_move(game, policies, radius) <= limit).all())
            seen.add((alive, certified))
    assert {(True, True), (False, False)} <= seen or radius > 0.005


def test_an_obvious_move_does_not_survive() -> None:
    # Telling the truth: accusing a few of the innocent, too, convicts them (0.3 >> 0.7 * 0.005).
    game = prosecutor_game()
    truth = torch.tensor([IDENTITY], dtype=torch.float64)
    silent = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    search = searching(game)
    assert search.survives(torch.stack([truth, silent, truth])).tolist() == [False, True, False]
    assert search.survives(truth.unsqueeze(0)[:0]).tolist() == []


def test_a_single_signal_survives() -> None:
    game = synthetic_game(2, 1, 2, 2, seed=0)
    assert searching(game).survives(torch.ones(3, 2, 2, 1).double()).tolist() == [True] * 3


def test_names_of_signals_do_not_matter_and_all_else_does() -> None:
    game = contested((2, 3, 3, 2), seed=0)
    policies, other = game.sample_policies(2, torch.Generator().manual_seed(0))
    renamed = policies.clone()
    renamed[0] = policies[0][:, [2, 0, 1]]
    renamed[1] = policies[1][:, [1, 0, 2]]
    assert canonical(renamed) == canonical(policies)
    assert canonical(policies + 1e-12) == canonical(policies)
    in_one_state = policies.clone()
    in_one_state[0, 1] = policies[0, 1, [1, 0, 2]]
    for different in (other, policies.flip(0), policies.flip(1), in_one_state):
        assert canonical(different) != canonical(policies)


def with_duplicates(game: PersuasionGame) -> PersuasionGame:
    """Every action a second time, as a worse one for the receiver in turn, and one never best."""
    v, u = game.receiver_utility, game.sender_utility
    worse = v - torch.tensor([0.0, 1.0]).double().repeat(game.n_actions)[: game.n_actions]
    return PersuasionGame(
        game.prior, torch.cat([v, worse], 1), torch.cat([u, u], 2), game.n_signals, game.tie_break
    )


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("sizes", [(2, 2, 3, 3), (2, 3, 2, 4), (3, 2, 4, 2)])
def test_actions_that_are_never_taken_are_left_out(sizes: Sizes, tie_break: str) -> None:
    for seed in range(3):
        game = with_duplicates(contested(sizes, seed))
        game = PersuasionGame(*tables(game), game.n_signals, tie_break)
        plain = without_unused(game)
        assert plain.n_actions <= sizes[3]
        policies = torch.cat([profiles_of(game, 30, seed), game.sample_policies(200)])
        expected = game.ex_ante_utility(policies)
        torch.testing.assert_close(plain.ex_ante_utility(policies), expected)


def tables(game: PersuasionGame) -> tuple[Tensor, Tensor, Tensor]:
    return game.prior, game.receiver_utility, game.sender_utility


# The receiver's utilities of two actions in two states, the senders' sums, who is left by rule.
TIED = [
    ([[1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]], {"first": [0], "senders": [1]}),
    ([[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], {"first": [0], "senders": [0]}),
    ([[1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], {"first": [0], "senders": [0, 1]}),
    ([[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], {"first": [0, 1], "senders": [0, 1]}),
    ([[0.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]], {"first": [0, 1], "senders": [1]}),
    ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], {"first": [0, 1], "senders": [0, 1]}),
]


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize(("v", "u", "left"), TIED)
def test_who_is_left_out_by_hand(
    v: list[list[float]], u: list[list[float]], left: dict[str, list[int]], tie_break: str
) -> None:
    game = PersuasionGame([0.5, 0.5], v, [u], 2, tie_break)
    plain = without_unused(game)
    assert torch.equal(plain.receiver_utility, game.receiver_utility[:, left[tie_break]])
    assert torch.equal(plain.sender_utility, game.sender_utility[..., left[tie_break]])


def test_a_bound_that_all_reach_is_a_certificate() -> None:
    game = prosecutor_game()
    search = searching(game)
    optimum = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    truth = torch.tensor([IDENTITY], dtype=torch.float64)
    assert search.is_every_best(optimum)
    assert not search.is_every_best(truth)
    assert search.at_most(truth).tolist() == pytest.approx([0.3], abs=1e-6)


@pytest.mark.whole_run
@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 3, 3, 3)])
def test_no_deviation_gains_more_than_the_ceilings_say(sizes: Sizes) -> None:
    for seed in range(3):
        game = contested(sizes, seed)
        search = searching(game)
        for policies in profiles_of(game, 4, seed):
            gain = verify(game, policies, None).witness_gain
            assert (gain <= search.at_most(policies) + 1e-9 * game.payoff_range).all()


def test_a_search_that_has_no_time_says_so() -> None:
    game = contested((2, 3, 3, 3), 0)
    search = searching(game, seconds=-1.0)
    assert search.cut
    profiles = profiles_of(game, 3)
    assert not search.survives(profiles).any()
    many = profiles.repeat(search.at_once, 1, 1, 1)
    assert search.worth(many).isinf().any()
    torch.testing.assert_close(search.worth(many)[:4], search.worth(profiles))
    assert search.worth(profiles[0]).isfinite()
