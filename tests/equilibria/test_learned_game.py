"""Equilibria of a learned game are judged on the true game before they are called so."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from dnl import FitConfig, FittedSurrogate, LearnedCandidate, find_learned_equilibria, verify
from dnl.layers.posterior import PosteriorNetwork
from dnl.layers.stack import NetworkStack
from dnl.surrogates import ReLUNetwork
from games import PersuasionGame, synthetic_game

SHIFT = -0.02  # of the learned receiver's utility from one action
GAME = synthetic_game(2, 2, 2, 2, seed=1, law="contested")


def learned(game: PersuasionGame, shift: float) -> FittedSurrogate:
    """A surrogate that has learned everything but the receiver's utility from action 0."""
    n_senders, n_signals, n_states, n_actions = game.shape
    network = PosteriorNetwork(n_senders, n_signals, n_states, n_actions).double()
    network.set_prior(game.prior)
    utility = game.receiver_utility.clone()
    utility[:, 0] += shift
    head = network.follower.head
    with torch.no_grad():
        network.follower.choice.weight.copy_(utility.mT)
        head.bias.zero_()
        head.weight.zero_()[:, 1:] = game.sender_utility.mT  # (N, A, S)
    zeros = torch.zeros(n_senders)
    return FittedSurrogate(
        surrogate="posterior-dnl",
        networks=NetworkStack([network]),
        mean=zeros,
        scale=torch.ones(n_senders),
        mse=zeros,
        unexplained=zeros,
        constant=zeros.bool(),
        parameter_count=0,
        fit_seconds=0.0,
        game=game.identity,
        shape=game.shape,
        config=FitConfig(),
        seed=0,
    )


@pytest.fixture(scope="module")
def judged() -> tuple[LearnedCandidate, ...]:
    return find_learned_equilibria(learned(GAME, SHIFT), GAME, time_limit=2.0)


def test_the_learned_game_is_that_of_the_surrogate() -> None:
    policies = GAME.sample_policies(50)
    fitted = learned(GAME, 0.0)
    torch.testing.assert_close(fitted(policies), GAME.ex_ante_utility(policies))
    torch.testing.assert_close(
        fitted.learned_game().ex_ante_utility(policies), GAME.ex_ante_utility(policies)
    )


def test_predicted_and_true_utilities_stand_side_by_side(
    judged: tuple[LearnedCandidate, ...],
) -> None:
    fitted = learned(GAME, SHIFT)
    assert judged
    for one in judged:
        for profile in (one.proposed, one.finished):
            assert profile is not None
            torch.testing.assert_close(profile.predicted, fitted(profile.policies))
            torch.testing.assert_close(profile.utilities, GAME.ex_ante_utility(profile.policies))
            assert profile.welfare == profile.utilities.sum().item()
            assert profile.predicted_welfare == profile.predicted.sum().item()


def test_best_responses_correct_what_the_learned_game_promises(
    judged: tuple[LearnedCandidate, ...],
) -> None:
    corrected = [one for one in judged if one.moves]
    assert corrected
    for one in corrected:
        first, end = one.proposed, one.finished
        assert end is not None
        assert first.predicted_welfare > first.welfare + 1  # it promised far too much
        assert (first.local, first.nash) == ("refuted", "refuted")
        assert (end.local, end.nash) == ("certified", "certified")
        assert end.welfare > first.welfare + 1
        assert verify(GAME, end.policies).verdict == "certified"
        assert verify(GAME, end.policies, None).verdict == "certified"
        assert verify(GAME, first.policies).verdict == "refuted"


def test_any_deviation_leads_away_from_a_plateau() -> None:
    local, everywhere = (
        find_learned_equilibria(learned(GAME, SHIFT), GAME, time_limit=2.0, scope=scope)
        for scope in ("local", "global")
    )
    flat = [one for one in local if not one.moves and one.proposed.nash == "refuted"]
    assert flat
    ends = [one.finished for one in everywhere]
    assert len(ends) == len(local)
    assert all(end is not None and end.nash == "certified" for end in ends)


def test_who_does_not_move_was_right(judged: tuple[LearnedCandidate, ...]) -> None:
    still = [one for one in judged if not one.moves]
    assert still
    for one in still:
        assert one.finished is one.proposed
        assert one.proposed.local == "certified"


def test_nash_equilibria_come_first(judged: tuple[LearnedCandidate, ...]) -> None:
    ends = [one.finished for one in judged if one.finished is not None]
    assert len(ends) == len(judged)
    keys = [(end.nash != "certified", -end.welfare) for end in ends]
    assert keys == sorted(keys)


def test_results_print_in_a_line(judged: tuple[LearnedCandidate, ...]) -> None:
    first = judged[0]
    assert first.finished is not None
    for text in (repr(first), repr(first.proposed)):
        assert len(text) <= 180
        assert "\n" not in text
    assert f"predicted={first.proposed.predicted_welfare:.5g}" in repr(first)
    assert f"true={first.proposed.welfare:.5g}" in repr(first)
    assert f"{first.finished.welfare:.5g}" in repr(first)
    assert "no rest" in repr(replace(first, finished=None))


def test_samples_refute_and_never_certify() -> None:
    found = find_learned_equilibria(learned(GAME, SHIFT), GAME, time_limit=2.0, method="sampled")
    verdicts = {
        verdict
        for one in found
        for profile in (one.proposed, one.finished)
        if profile is not None
        for verdict in (profile.local, profile.nash)
    }
    assert verdicts == {"refuted", "not refuted"}
    best = found[0]
    assert best.finished is not None
    assert best.moves
    assert best.finished.welfare > best.proposed.welfare + 1


def test_a_generator_stands_for_the_seed_that_it_draws() -> None:
    def found(**source: Any) -> list[list[float]]:
        many = find_learned_equilibria(learned(GAME, SHIFT), GAME, time_limit=2.0, **source)
        return [one.proposed.policies.flatten().tolist() for one in many]

    drawn = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(3)))
    assert found(generator=torch.Generator().manual_seed(3)) == found(seed=drawn)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fitted": {}}, "fitted must be a FittedSurrogate, got {}"),
        ({"game": 3}, "game must be a PersuasionGame, got 3"),
        ({"game": synthetic_game(2, 2, 2, 2, seed=2)}, "game must be the one that was fitted, "),
        ({"radius": -1}, "radius must be .* got -1"),
        ({"time_limit": "1"}, "time_limit must be .* got '1'"),
        ({"scope": "nash"}, "scope must be one of 'local', 'global', got 'nash'"),
        ({"method": "exakt"}, "method must be one of 'exact', 'sampled', got 'exakt'"),
        ({"seed": 1.5}, r"seed must be .* got 1\.5"),
        ({"seed": 1, "generator": torch.Generator()}, "seed and generator must not both be"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"fitted": learned(GAME, SHIFT), "game": GAME} | wrong
    with pytest.raises(ValueError, match=message):
        find_learned_equilibria(**arguments)


def test_a_surrogate_without_a_receiver_has_no_game() -> None:
    networks = NetworkStack([ReLUNetwork(8), ReLUNetwork(8)])
    fitted = replace(learned(GAME, SHIFT), surrogate="relu", networks=networks)
    with pytest.raises(ValueError, match=r"surrogate must learn a receiver, .* got 'relu'"):
        find_learned_equilibria(fitted, GAME)
