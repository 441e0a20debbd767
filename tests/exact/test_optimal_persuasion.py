"""Optimal persuasion by one sender."""

import pytest

import dnl
from dnl.exact.status import Status
from games import PersuasionGame, prosecutor_game, random_matrix_game, synthetic_game


def test_the_prosecutor() -> None:
    found = dnl.optimal_persuasion(prosecutor_game("senders"))
    assert found.utility == pytest.approx(0.6)  # 0.3 guilty and 0.7 * 3/7 innocent (section I)
    assert found.upper_bound == pytest.approx(0.6)
    assert found.status is Status.OPTIMAL
    strict = dnl.optimal_persuasion(prosecutor_game("first"))  # ties go against the sender
    assert strict.utility == pytest.approx(0.6, abs=1e-5)
    assert strict.utility < 0.6


@pytest.mark.parametrize("size", [2, 3, 6, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_program_meets_the_best_response(size: int, seed: int) -> None:
    game = random_matrix_game(size, size, seed)
    found = dnl.optimal_persuasion(game)
    assert found.policies.shape == (1, size, size)
    assert found.utility == pytest.approx(game.ex_ante_utility(found.policies).item())
    assert found.upper_bound - found.utility <= 1e-6
    # Column generation over posteriors knows nothing of recommendations.
    response = dnl.best_response(game, game.sample_policies(1)[0], 0)
    assert found.utility == pytest.approx(response.utility, abs=2e-6)


@pytest.mark.parametrize("n_signals", [1, 2, 3])
def test_fewer_signals(n_signals: int) -> None:
    game = random_matrix_game(4, 4, seed=3, n_signals=n_signals)
    found = dnl.optimal_persuasion(game, time_limit=20)
    everything = dnl.optimal_persuasion(random_matrix_game(4, 4, seed=3))
    assert found.status is Status.OPTIMAL
    assert found.utility <= found.upper_bound <= everything.upper_bound + 1e-9
    assert found.utility == pytest.approx(game.ex_ante_utility(found.policies).item())
    if n_signals == 1:
        assert found.utility == pytest.approx(game.no_information().item())
    tried = game.ex_ante_utility(game.sample_policies(2000))
    assert tried.max().item() <= found.upper_bound + 1e-9


def test_more_signals_than_actions_and_sure_states() -> None:
    game = random_matrix_game(3, 2, seed=0, n_signals=4)
    exact = dnl.optimal_persuasion(random_matrix_game(3, 2, seed=0))
    assert dnl.optimal_persuasion(game).utility == pytest.approx(exact.utility)
    sure = PersuasionGame([1.0, 0.0], [[1, 0], [0, 1]], [[[2, 5], [5, 2]]], n_signals=2)
    assert dnl.optimal_persuasion(sure).utility == pytest.approx(2.0)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="game must be a PersuasionGame of one sender"):
        dnl.optimal_persuasion(synthetic_game(2, 2, 2, 2, seed=0))
    with pytest.raises(ValueError, match="time_limit must be finite and above 0, got 0"):
        dnl.optimal_persuasion(prosecutor_game(), time_limit=0)
