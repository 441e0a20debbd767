"""Estimated utilities: against plain loops and exact utilities, and what the interval promises."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from games import PersuasionGame
from games.chunk_sizes import SCORE_BYTES
from tests.games.persuasion.test_persuasion import (
    DTYPES,
    SIZES,
    Sizes,
    assert_close,
    coarse_case,
    generator,
    random_case,
)
from tests.references import simulation as reference


def spread(game: PersuasionGame) -> torch.Tensor:
    """`(N,)`: how far apart two payoffs of a sender can be, of those that can happen."""
    u = game.sender_utility[:, game.prior > 0][..., game.possible_actions]
    return u.amax((1, 2)) - u.amin((1, 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", SIZES)
def test_estimates_equal_plain_loops(
    sizes: Sizes, case: Any, tie_break: str, dtype: torch.dtype
) -> None:
    game, policies = case(sizes, tie_break)
    if case is random_case:  # every action is clear, so float32 rounding decides nothing
        margins = [reference.margin(game.prior, game.receiver_utility, pi) for pi in policies]
        policies = policies[torch.tensor(margins) > 1e-4]
    game, policies = game.to(dtype=dtype), policies.to(dtype)
    draws, confidence = 60, 0.9
    found = game.estimate_ex_ante_utility(policies, draws, generator(5), confidence=confidence)
    uniform = torch.rand(draws, 1 + sizes[0], dtype=torch.float64, generator=generator(5))
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    rule = (tie_break, reference.TOLERANCE[dtype])
    scale = game.sender_utility.abs().max().item()
    for b, pi in enumerate(policies):
        values = reference.drawn_utilities(*tables, pi, uniform, *rule)
        for n, payoffs in enumerate(spread(game).tolist()):
            own = [row[n] for row in values]
            mean, width = reference.interval(own, payoffs, confidence)
            expected = torch.tensor(mean, dtype=torch.float64)
            assert_close(found.utility[b, n], expected, scale, dtype)
            # A spread of 0 comes out as the square root of what rounding leaves of squares.
            assert found.half_width[b, n].item() == pytest.approx(
                min(width, payoffs), rel=1e-4, abs=1e-6 * scale
            )


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 3, 4, 5), (3, 2, 3, 4)])
def test_unbiased_and_covering(sizes: Sizes, case: Any, tie_break: str) -> None:
    game, policies = case(sizes, tie_break)
    exact = game.ex_ante_utility(policies)
    confidence, draws, runs = 0.6, 50, 400
    found = [
        game.estimate_ex_ante_utility(policies, draws, generator(seed), confidence=confidence)
        for seed in range(runs)
    ]
    utility = torch.stack([estimate.utility for estimate in found])  # (runs, B, N)
    half_width = torch.stack([estimate.half_width for estimate in found])
    # Unbiased: the mean of all runs within five of its standard errors.
    error = (utility.mean(0) - exact).abs()
    assert (error <= 5 * utility.std(0) / math.sqrt(runs) + 1e-12).all()
    covered = ((utility - exact).abs() <= half_width + 1e-12).double().mean(0)
    assert (covered >= confidence).all()


def test_the_interval_holds_where_a_rare_signal_carries_everything() -> None:
    # One signal, of probability 1 in 400, makes the receiver act; most samples never see it, and
    # an interval of normal approximation would be the point 0.
    game = PersuasionGame([0.995, 0.005], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]], n_signals=2)
    policies = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]], dtype=torch.float64)
    exact = game.ex_ante_utility(policies)
    assert exact.item() == pytest.approx(0.0025)
    found = [game.estimate_ex_ante_utility(policies, 100, generator(seed)) for seed in range(200)]
    assert sum(estimate.utility.item() == 0 for estimate in found) > 100
    covered = sum(
        abs((estimate.utility - exact).item()) <= estimate.half_width.item() for estimate in found
    )
    assert covered >= 0.95 * len(found)


def test_intervals_shrink_to_the_exact_utility() -> None:
    game, policies = random_case((3, 3, 3, 3))
    exact = game.ex_ante_utility(policies)
    for draws, share in ((1_000, 0.3), (100_000, 0.02)):
        found = game.estimate_ex_ante_utility(policies, draws, generator(0))
        assert ((found.utility - exact).abs() <= found.half_width).all()
        assert (found.half_width <= share * spread(game)).all()
    few = game.estimate_ex_ante_utility(policies, 2, generator(0))
    torch.testing.assert_close(few.half_width, spread(game).expand(4, 3))  # nothing is known


@pytest.mark.parametrize("held", [1, 50, 700, 10_000])
def test_neither_chunks_nor_company_change_an_estimate(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    game, policies = random_case((3, 2, 3, 4), count=5)
    whole = game.estimate_ex_ante_utility(policies, 300, generator(0))
    one = game.estimate_ex_ante_utility(policies[3], 300, generator(0))
    monkeypatch.setitem(SCORE_BYTES, "cpu", 8 * held)
    parts = game.estimate_ex_ante_utility(policies, 300, generator(0))
    for name in ("utility", "half_width"):
        expected = getattr(whole, name)
        assert expected.shape == (5, 3)
        torch.testing.assert_close(getattr(parts, name), expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(getattr(one, name), expected[3], rtol=1e-10, atol=1e-10)


def test_the_generator_says_which_draws() -> None:
    game, policies = random_case((2, 3, 3, 3))
    first, same, other = (
        game.estimate_ex_ante_utility(policies, 100, generator(seed)).utility for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    assert torch.equal(game.estimate_ex_ante_utility(policies, 100).utility, first)


def test_a_hundred_senders() -> None:
    # 3**100 joint signals, each far below the smallest float32: the state is as good as revealed.
    n_senders = 100
    game, _ = random_case((n_senders, 3, 4, 3))
    policies = game.sample_policies(2, generator(0)).float()
    found = game.estimate_ex_ante_utility(policies, 200, generator(0))
    assert found.utility.dtype == torch.float32
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    revealed = reference.full_revelation(*tables)
    assert ((found.utility - revealed).abs() <= found.half_width).all()


def test_no_gradient_and_no_profile() -> None:
    game, policies = random_case((2, 3, 3, 3))
    found = game.estimate_ex_ante_utility(policies.requires_grad_(), 10)
    assert not found.utility.requires_grad
    assert (found.draws, found.confidence) == (10, 0.95)
    assert game.estimate_ex_ante_utility(policies.detach()[:0], 10).utility.shape == (0, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.draws = 20  # type: ignore[misc]


@pytest.mark.parametrize(
    ("draws", "confidence", "message"),
    [
        *((bad, 0.9, "draws must be an integer of at least 2") for bad in (1, 0, 2.0, True, "9")),
        *(
            (10, bad, "confidence must be a number above 0 and below 1")
            for bad in (0.0, 1, -0.1, 95, math.nan, True, "0.9", None)
        ),
    ],
)
def test_bad_arguments_are_refused(draws: Any, confidence: Any, message: str) -> None:
    game, policies = random_case((2, 2, 2, 2))
    with pytest.raises(ValueError, match=message):
        game.estimate_ex_ante_utility(policies, draws, confidence=confidence)
    with pytest.raises(ValueError, match=r"policies must have shape \(B, N, S, M\)"):
        game.estimate_ex_ante_utility(policies[:, :1], 10)
