"""Exact verdicts against best responses by enumeration, and at profiles known to be equilibria."""

import pytest
import torch
from torch import Tensor

import dnl
from dnl import full_revelation, verify
from games import PersuasionGame, prosecutor_game
from tests.cases.exact import KINDS, Sizes, contested, profile, tables
from tests.cases.finding import verified
from tests.references import best_response as reference

HALF = torch.full((2, 3, 2), 0.5).double()


def exact_gains(game: PersuasionGame, policies: Tensor, radius: float | None) -> list[float]:
    """Each sender's gain on the closure, as a share of its payoff range."""
    present = game.ex_ante_utility(policies)
    return [
        (
            reference.enumerated(*tables(game, policies, n), policies[n].numpy(), radius)[0]
            - present[n].item()
        )
        / game.payoff_range[n].item()
        for n in range(game.n_senders)
    ]


@pytest.mark.whole_run
@pytest.mark.parametrize("radius", [5e-4, 0.005, 0.1, None])
@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 2, 2, 2), (2, 2, 3, 2), (3, 2, 2, 2)])
def test_verdicts_agree_with_enumeration(sizes: Sizes, radius: float | None) -> None:
    share = 1e-5 * (1.0 if radius is None else min(1.0, radius / 0.005))
    for seed in range(2 if sizes[:3] == (2, 2, 2) else 1):
        game = contested(sizes, seed)
        for kind in (*KINDS, "silent"):
            policies = (
                torch.full_like(profile(game, "pure"), 0.5)
                if kind == "silent"
                else profile(game, kind, seed)
            )
            gains = exact_gains(game, policies, radius)
            result = verify(game, policies, radius)
            for n, gain in enumerate(gains):
                assert result.relative_gain[n].item() >= gain - 1e-9
                assert result.relative_gain[n].item() <= max(gain, 0.0) + share
            if any(abs(gain - share) < 1e-7 for gain in gains):
                continue
            assert result.verdict == ("certified" if max(gains) <= share else "refuted")
            assert result.is_equilibrium is (result.verdict == "certified")
            if result.verdict == "refuted":
                assert_refuted(game, policies, result, radius, share)


def assert_refuted(
    game: PersuasionGame,
    policies: Tensor,
    result: dnl.Verification,
    radius: float | None,
    share: float,
) -> None:
    """Some witness gains more than the allowed share in the simulator, within the radius."""
    relative = [
        game.deviation_gain(policies, n, result.witness[n : n + 1]).item()
        / game.payoff_range[n].item()
        for n in range(game.n_senders)
    ]
    assert max(relative) > share
    assert (result.relative_gain >= torch.tensor(relative, dtype=torch.float64) - 1e-9).all()
    assert (result.witness - policies).abs().max().item() <= (radius or 1.0) + 1e-12


@pytest.mark.parametrize(
    "sizes", [(2, 2, 2, 2), (2, 4, 4, 4), (4, 2, 2, 2), (2, 6, 4, 5), (3, 3, 4, 3)]
)
def test_silence_with_all_signals_in_use_is_usually_certified(sizes: Sizes) -> None:
    verdicts: list[str] = []
    for seed in range(10):
        game = contested(sizes, seed)
        row = torch.rand(sizes[0], 1, sizes[1], generator=torch.Generator().manual_seed(seed)) + 0.5
        policies = (row / row.sum(-1, keepdim=True)).double().repeat(1, sizes[2], 1)
        policies = policies / policies.sum(-1, keepdim=True)
        result = verified(game, policies)
        verdicts.append(result.verdict)
        if result.verdict != "certified":
            assert_refuted(game, policies, result, 0.005, 1e-5)
    assert verdicts.count("certified") >= 8


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 3, 3, 3), (3, 2, 3, 4), (2, 4, 4, 4)])
def test_full_revelation_is_certified_globally(sizes: Sizes) -> None:
    for seed in range(3):
        game = contested(sizes, seed)
        revelation = full_revelation(game)
        assert revelation.policies is not None
        assert revelation.is_equilibrium
        for radius in (0.005, 0.3, None):
            result = verify(game, revelation.policies, radius)
            assert result.verdict == "certified"
            assert result.status == ("optimal",) * sizes[0]
            assert (result.relative_gain <= 1e-5).all()


def test_revelation_without_a_code_falls() -> None:
    game = prosecutor_game()  # a single sender gains by hiding
    revelation = full_revelation(game)
    assert revelation.policies is not None
    result = verify(game, revelation.policies, None)
    assert result.verdict == "refuted"
    assert result.gain.item() == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize("radius", [0.005, None])
def test_a_batch_is_its_profiles(radius: float | None) -> None:
    game = contested((2, 2, 3, 2), seed=0)
    silent = torch.full((2, 3, 2), 0.5).double()
    policies = torch.stack([*(profile(game, kind) for kind in KINDS), silent])
    batch = verify(game, policies, radius)
    assert isinstance(batch, dnl.Verifications)
    assert batch.gain.shape == batch.relative_gain.shape == batch.seconds.shape == (4, 2)
    assert batch.witness.shape == policies.shape
    assert len(batch) == 4
    for b, row in enumerate(policies):
        single = verified(game, row, radius)
        assert (batch[b].verdict, batch[b].status) == (single.verdict, single.status)
        assert torch.equal(batch[b].gain, single.gain)
        assert torch.equal(single.gain, batch.gain[b])
        assert torch.equal(single.relative_gain, batch.relative_gain[b])
        assert torch.equal(single.witness, batch.witness[b])
        assert (single.verdict, single.status) == (batch.verdict[b], batch.status[b])
    assert batch.is_equilibrium.tolist() == [v == "certified" for v in batch.verdict]
    empty = verify(game, policies[:0], radius)
    assert (empty.verdict, empty.gain.shape) == ((), (0, 2))


@pytest.mark.parametrize("radius", [0.005, 0.3, None])
def test_a_short_time_certifies_nothing_false(radius: float | None) -> None:
    for seed in range(3):
        game = contested((2, 2, 3, 2), seed)
        silent = torch.full((2, 3, 2), 0.5).double()
        revealed = full_revelation(game).policies
        assert revealed is not None
        for policies in (profile(game, "random"), profile(game, "pure"), silent, revealed):
            gains = exact_gains(game, policies, radius)
            result = verify(game, policies, radius, time_limit=1e-3)
            assert (result.relative_gain >= torch.tensor(gains, dtype=torch.float64) - 1e-9).all()
            if result.verdict == "certified":
                assert max(gains) <= 1e-5
            if result.verdict == "refuted":
                assert_refuted(game, policies, result, radius, 1e-5)


def test_exact_refuses_a_number_of_deviations() -> None:
    game = contested((2, 2, 3, 2), seed=0)
    with pytest.raises(ValueError, match="deviations"):
        verify(game, HALF, deviations=100)


def test_sampled_gains_stay_below_exact_ones() -> None:
    game = contested((2, 3, 3, 3), seed=0)
    policies = torch.stack([profile(game, kind) for kind in KINDS])
    for radius in (0.005, 0.1, None):
        exact = verify(game, policies, radius)
        sampled = verify(game, policies, radius, "sampled")
        assert (sampled.relative_gain <= exact.relative_gain + 1e-9).all()
