"""Random deviations: where they are, and which profiles they refute."""

import dataclasses

import pytest
import torch
from torch import Tensor

from dnl.equilibria.sampled_deviations import deviations_within, unrefuted
from dnl.equilibria.verification import verify
from dnl.runtime.memory import DEVIATION_BYTES
from games import PersuasionGame, synthetic_game
from games.chunk_sizes import SCORE_BYTES
from games.persuasion.game_stack import stack

RADII = [1e-3, 0.005, 0.1, 0.7, 2.0, None]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


# --------------------------------------------------------------------------------- where they are


def policies_of_all_kinds(n_signals: int) -> Tensor:
    """Random, near-pure, half-pure and pure policies, `(80, 3, n_signals)`."""
    waits = torch.empty(20, 3, n_signals, dtype=torch.float64).exponential_(generator=generator(0))
    pure = torch.eye(n_signals, dtype=torch.float64).repeat(60 // n_signals + 1, 1)[:60]
    near = waits**12 + 1e-12
    half = torch.where(waits >= waits.amax(-1, keepdim=True).clamp_max(1), waits, 0.0)
    rows = [kind / kind.sum(-1, keepdim=True) for kind in (waits, near, half)]
    return torch.cat([*rows, pure.reshape(20, 3, n_signals)])


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("n_signals", [1, 2, 3, 10])
def test_deviations_are_distributions_within_the_box(n_signals: int, radius: float | None) -> None:
    policies = policies_of_all_kinds(n_signals).unsqueeze(1)  # (80, 1, 3, M)
    noise = torch.rand(100, 3, n_signals, dtype=torch.float64, generator=generator(1))
    noise = torch.cat([noise, torch.zeros_like(noise[:1]), torch.ones_like(noise[:1])])
    tried = deviations_within(policies, radius, noise)
    assert tried.shape == (80, 102, 3, n_signals)
    assert (tried >= 0).all()
    assert_close(tried.sum(-1), torch.ones(80, 102, 3, dtype=torch.float64))
    assert ((tried - policies).abs() <= (radius or 1.0) + 1e-12).all()


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize(("n_signals", "part"), [(2, 0.85), (3, 0.6), (4, 0.3)])
def test_deviations_go_far_on_both_sides(n_signals: int, part: float, radius: float | None) -> None:
    policies = policies_of_all_kinds(n_signals).unsqueeze(1)
    noise = torch.rand(2000, 3, n_signals, dtype=torch.float64, generator=generator(2))
    moves = deviations_within(policies, radius, noise) - policies
    reach = min(radius or 1.0, 1.0)
    for move, share in ((moves, 1 - policies[:, 0]), (-moves, policies[:, 0])):
        assert (share >= reach).sum() > 20
        assert (move.amax(1)[share >= reach] > part * reach).all()
        assert (move.amax(1)[share >= 0.3] > part * min(reach, 0.3)).all()


# ---------------------------------------------------------------------------- what they refute


def games_and_profiles(tie_break: str) -> tuple[list[PersuasionGame], Tensor]:
    """Five games with 41 profiles each, `(5, 41, 2, 2, 2)`; all of the fourth are alike."""
    games = [synthetic_game(2, 2, 2, 2, seed, law="contested") for seed in range(5)]
    games = [dataclasses.replace(game, tie_break=tie_break) for game in games]
    # One game's utilities are a thousand times the others': so is what counts as a gain.
    games[2] = dataclasses.replace(games[2], sender_utility=1e3 * games[2].sender_utility)
    rows = [game.sample_policies(41, generator(seed)) for seed, game in enumerate(games)]
    policies = torch.stack(rows)
    policies[:, -1] = 0.5  # no information, with all signals in use
    policies[3] = policies[3, :1]
    return games, policies


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("radius", [0.002, 0.03, None])
def test_unrefuted_are_those_that_the_whole_sampling_does_not_refute(
    radius: float | None, tie_break: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    games, policies = games_and_profiles(tie_break)
    pairs = list(zip(games, policies, strict=True))
    checks = [verify(*pair, radius, "sampled", seed=7, deviations=400) for pair in pairs]
    expected = torch.tensor([[v == "not refuted" for v in check.verdict] for check in checks])
    assert expected.any()
    assert not expected.all()
    for budget in (DEVIATION_BYTES["cpu"], 8000):
        monkeypatch.setitem(DEVIATION_BYTES, "cpu", budget)
        assert torch.equal(unrefuted(stack(games), policies, radius, 7, 400), expected)
        order = [2, 0, 3]  # a game's company makes no difference
        some = unrefuted(stack([games[g] for g in order]), policies[order], radius, 7, 400)
        assert torch.equal(some, expected[order])
        monkeypatch.undo()


def test_nobody_is_left_or_was_there() -> None:
    games, policies = games_and_profiles("first")
    assert unrefuted(stack(games), policies[:, :0], 0.1, 0, 300).shape == (5, 0)
    passed = unrefuted(stack(games[:1]), policies[:1], None, 0, 300)
    refuted = policies[:1][~passed].unsqueeze(0)
    assert refuted.shape[1] > 30
    assert not unrefuted(stack(games[:1]), refuted, None, 0, 300).any()


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("reach", [0.01, 0.1, None])
@pytest.mark.parametrize("budget", [8, 1600, SCORE_BYTES["cpu"]])
def test_gains_of_profiles_of_several_games_are_those_in_each(
    budget: int, reach: float | None, tie_break: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    games, policies = games_and_profiles(tie_break)
    for g, scale in ((0, 1e9), (4, 1e-4)):  # of utilities, and so of what is a tie
        scaled = games[g].receiver_utility * scale
        games[g] = dataclasses.replace(games[g], receiver_utility=scaled)
    of = torch.tensor([4, 0, 0, 2, 4, 1])
    profiles = policies[of, torch.arange(6)]
    noise = torch.rand(6, 30, 2, 2, dtype=torch.float64, generator=generator(9))
    for sender in range(2):
        tried = deviations_within(profiles[:, sender].unsqueeze(1), reach, noise)
        with monkeypatch.context() as cut:
            cut.setitem(SCORE_BYTES, "cpu", budget)
            got = stack(games).deviation_gain(of, profiles, sender, tried)
        for row, g, profile, moves in zip(got, of.tolist(), profiles, tried, strict=True):
            own, unit = games[g].ex_ante_utility(profile)[sender], games[g].payoff_range[sender]
            expected = games[g].deviation_utility(profile, sender, moves) - own
            assert_close(row / unit, expected / unit)


def test_a_profile_that_is_none_is_an_error() -> None:
    games, policies = games_and_profiles("first")
    policies[1, 3, 0] = torch.nan
    with pytest.raises(ValueError, match=r"policies must hold distributions .* at row \(1, 3, 0"):
        unrefuted(stack(games), policies, 0.1, 0, 300)
