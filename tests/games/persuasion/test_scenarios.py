"""The three named scenarios: sizes, entries worked out by hand, instances, arguments."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from games import (
    PersuasionGame,
    advertising_products_game,
    advertising_quality_game,
    ride_hailing_game,
)

Make = Callable[..., PersuasionGame]
MAKERS: list[Make] = [advertising_quality_game, advertising_products_game, ride_hailing_game]
SEEDS = range(20)


@pytest.mark.parametrize(
    ("make", "options", "shape"),  # (N, M, S, A)
    [
        (advertising_quality_game, {}, (7, 2, 128, 8)),
        (advertising_quality_game, {"n_firms": 1, "n_signals": 3}, (1, 3, 2, 2)),
        (advertising_products_game, {}, (2, 4, 16, 3)),
        (advertising_products_game, {"n_firms": 3, "qualities_per_firm": 5}, (3, 4, 125, 4)),
        (advertising_products_game, {"n_firms": 1}, (1, 4, 4, 2)),
        (ride_hailing_game, {}, (2, 4, 256, 9)),
        (ride_hailing_game, {"n_orders": (1, 2, 1), "costs_per_order": 3}, (3, 4, 81, 5)),
        (ride_hailing_game, {"n_orders": (1,), "n_signals": 2}, (1, 2, 2, 2)),
    ],
)
def test_shapes(make: Make, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    game = make(0, **options, tie_break="senders")
    assert game.shape == shape
    assert game.tie_break == "senders"
    assert game.prior.dtype == torch.float64
    assert game.prior.sum().item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("make", MAKERS)
def test_instances_repeat_and_differ(make: Make) -> None:
    assert make(3) == make(3)
    assert make() == make(0)
    assert make(0).tie_break == "first"
    corners = [make(seed).receiver_utility[0, 0].item() for seed in SEEDS]
    assert len(set(corners)) > len(SEEDS) // 2  # drawn, though integers may coincide
    assert len({make(seed) for seed in SEEDS}) == len(SEEDS)


# ----------------------------------------------------------------------------- scenario 1: quality


def test_quality_entries() -> None:
    game = advertising_quality_game(
        0, n_firms=2, probability_high=0.25, value_high=3.0, value_low=-2.0, shock_scale=0.0
    )
    # states (firm 0, firm 1): low low, low high, high low, high high
    assert game.prior.tolist() == [0.5625, 0.1875, 0.1875, 0.0625]
    assert game.receiver_utility.tolist() == [[-2, -2, 0], [-2, 3, 0], [3, -2, 0], [3, 3, 0]]
    assert game.sender_utility.tolist() == [[[1, 0, 0]] * 4, [[0, 1, 0]] * 4]
    # Truth: the consumer buys from firm 0 whenever it is good (1/4), from firm 1 if only that one
    # is (3/4 * 1/4). Without information quality is worth 3/4 - 3/2 < 0 and nobody sells.
    truth = torch.eye(2, dtype=torch.float64)
    policies = torch.stack([truth[[0, 0, 1, 1]], truth[[0, 1, 0, 1]]])
    assert game.ex_ante_utility(policies).tolist() == [0.25, 0.1875]
    assert game.receiver_ex_ante_utility(policies).item() == 3 * (0.25 + 0.1875)
    assert game.no_information().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("make", [advertising_quality_game, advertising_products_game])
def test_shocks_shift_each_firm_by_a_normal_amount(make: Make) -> None:
    shocks = []
    for seed in SEEDS:
        plain, small, large = (
            make(seed, n_firms=3, shock_scale=scale).receiver_utility for scale in (0.0, 0.1, 0.2)
        )
        shift = small - plain
        assert shift[:, -1].eq(0).all()  # buying nothing
        torch.testing.assert_close(shift, shift[:1].expand_as(shift))  # the same in every state
        torch.testing.assert_close(large - plain, 2 * shift)
        shocks.append(shift[0, :-1])
    # 60 draws of standard deviation 0.1, which is then known to 10 %
    assert torch.cat(shocks).std().item() == pytest.approx(0.1, abs=0.035)


# ---------------------------------------------------------------------------- scenario 2: products


def test_products_entries() -> None:
    game = advertising_products_game(
        0,
        n_firms=2,
        qualities_per_firm=2,
        price_low=3,
        price_high=3,
        quality_low=2,
        quality_high=3,
        shock_scale=0.0,
        lost_sale=-4.0,
    )
    # qualities (2, 2), (2, 3), (3, 2), (3, 3) minus the price 3
    assert game.prior.tolist() == [0.25] * 4
    assert game.receiver_utility.tolist() == [[-1, -1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 0]]
    assert game.sender_utility.tolist() == [[[3, -4, -4]] * 4, [[-4, 3, -4]] * 4]


def test_products_draw_integers_from_the_stated_ranges() -> None:
    prices, qualities = set(), set()
    for seed in SEEDS:
        game = advertising_products_game(seed, shock_scale=0.0)
        u, v = game.sender_utility, game.receiver_utility
        for firm in range(2):
            price = u[firm, 0, firm].item()
            others = [a for a in range(3) if a != firm]
            assert u[firm, :, firm].eq(price).all()
            assert u[firm][:, others].eq(-1).all()  # a lost sale
            quality = v[:, firm] + price
            assert len(set(quality.tolist())) == 4  # four different ones, each in 4 of 16 states
            prices.add(price)
            qualities |= set(quality.tolist())
        torch.testing.assert_close(game.prior, torch.full((16,), 1 / 16).double())
    assert prices <= set(range(1, 11))
    assert qualities <= set(range(-8, 13))
    # all 20 instances together miss few of the values
    assert len(prices) >= 8
    assert len(qualities) >= 18


# ------------------------------------------------------------------------- scenario 3: ride hailing


def test_ride_entries() -> None:
    fixed: dict[str, Any] = {"price_low": 10.0, "price_high": 10.0}
    fixed |= {"payment_share_low": 0.5, "payment_share_high": 0.5}
    fixed |= {"cost_share_low": 0.4, "cost_share_high": 0.4}
    game = ride_hailing_game(0, n_orders=(2, 1), **fixed, idle_utility=-7.0)
    # every order: price 10, payment 5, cost 2; orders 0 and 1 belong to platform 0
    assert game.prior.tolist() == [0.125] * 8
    assert game.receiver_utility.tolist() == [[3, 3, 3, -7]] * 8
    assert game.sender_utility.tolist() == [[[5, 5, 0, 0]] * 8, [[0, 0, 5, 0]] * 8]


def test_ride_states_are_the_combinations_of_costs() -> None:
    v = ride_hailing_game(0, n_orders=(1, 1), costs_per_order=3).receiver_utility  # (9, 3)
    first, second = v[:, 0].reshape(3, 3), v[:, 1].reshape(3, 3)  # order 0's cost varies slowest
    assert first.eq(first[:, :1]).all()
    assert second.eq(second[:1]).all()
    assert len(set(v[:, 0].tolist())) == len(set(v[:, 1].tolist())) == 3
    assert v[:, 2].eq(-1).all()


def test_ride_draws_stay_in_the_stated_ranges() -> None:
    games = [ride_hailing_game(seed) for seed in SEEDS]
    profit = torch.stack([game.sender_utility for game in games])  # (20, N, S, A)
    own = torch.cat([profit[:, 0, 0, :4], profit[:, 1, 0, 4:8]])
    # price in [5, 20], of which 10 to 40 % stay with the platform
    assert own.min() >= 5 * 0.1
    assert own.max() <= 20 * 0.4
    assert profit[:, 0, :, 4:].eq(0).all()
    assert profit[:, 1, :, :4].eq(0).all()
    assert profit[:, 1, :, 8].eq(0).all()
    # the driver keeps -50 to 50 % of a payment of 3 to 18, and both signs occur
    gain = torch.stack([game.receiver_utility for game in games])[..., :8]
    assert -9 <= gain.min() < -3
    assert 3 < gain.max() <= 9


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        *((make, {"seed": bad}, "seed must be") for make in MAKERS for bad in (-1, 1.0, True)),
        *((make, {"n_signals": 0}, "n_signals must be") for make in MAKERS),
        *((make, {"tie_break": "last"}, "tie_break must be") for make in MAKERS),
        *((make, {"n_firms": 0}, "n_firms must be an integer") for make in MAKERS[:2]),
        *((make, {"shock_scale": -0.1}, "shock_scale must be") for make in MAKERS[:2]),
        *((make, {"n_firms": 9}, "n_firms must give at most 256 states") for make in MAKERS[:2]),
        *(
            (advertising_quality_game, {"probability_high": bad}, "probability_high must be a")
            for bad in (0.0, 1.0, -0.5, float("nan"))
        ),
        (advertising_quality_game, {"value_high": float("nan")}, "must be finite"),
        (advertising_products_game, {"qualities_per_firm": 0}, "qualities_per_firm must be an"),
        (advertising_products_game, {"qualities_per_firm": 22}, "at most the 21 integers"),
        (advertising_products_game, {"price_low": 11}, "price_high must be at least price_low=11"),
        (advertising_products_game, {"quality_low": 13}, "at most the 0 integers"),
        (ride_hailing_game, {"n_orders": ()}, "n_orders must name at least one platform"),
        (ride_hailing_game, {"n_orders": (4, 0)}, "n_orders must be an integer of at least 1"),
        (ride_hailing_game, {"n_orders": (5, 4)}, r"at most 256 states, got 2\*\*9 = 512"),
        (ride_hailing_game, {"costs_per_order": 0}, "costs_per_order must be an integer"),
        (ride_hailing_game, {"price_low": 21.0}, "price_low must lie in"),
        (ride_hailing_game, {"payment_share_low": -0.1}, "payment_share_low must lie in"),
        (ride_hailing_game, {"cost_share_high": 0.1}, "cost_share_low must lie in"),
    ],
)
def test_malformed_arguments_are_refused(make: Make, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**wrong)


def test_arguments_keep_their_digits() -> None:
    arguments = {"n_firms": 2, "probability_high": 0.3, "value_high": 0.1, "shock_scale": 0.0}
    game = advertising_quality_game(0, **arguments)  # type: ignore[arg-type]
    assert game.prior.tolist() == pytest.approx([0.49, 0.21, 0.21, 0.09], abs=1e-16)
    assert game.receiver_utility[3].tolist() == [0.1, 0.1, 0.0]
