"""A leader's exact optima and sellers' exact gains: against vertices, grids and hand solutions."""

from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from games import (
    ContractGame,
    PricingGame,
    SecurityGame,
    random_contract_game,
    random_pricing_game,
    random_security_game,
)
from tests.references import follower as reference

Single = ContractGame | SecurityGame

WORK = ([[0.8, 0.2], [0.2, 0.8]], [0, 1.5], [0, 10], 10)
GUARD = ([0, 0], [-2, -1], [0, 0], [2, 1])

# game, worst, best; each derived beside it
BY_HAND: dict[str, tuple[Single, float, float]] = {
    # The agent works from a difference of wages of 1.5 / 0.6 = 2.5 on: 0.8 * (10 - 2.5). At worst
    # it shirks at full wages: 0.2 * 10 - 10.
    "work": (ContractGame(*WORK), -8.0, 6.0),
    # The same with actions swapped: now the tie goes to work, and the optimum is attained.
    "work first": (
        ContractGame([[0.2, 0.8], [0.8, 0.2]], [1.5, 0], [0, 10], 10),
        -8.0,
        6.0,
    ),
    # Two equal ways to work: a tie goes to shirking, so a margin is due, but none between the two.
    "work in two ways": (
        ContractGame([[0.8, 0.2], [0.2, 0.8], [0.2, 0.8]], [0, 1.5, 1.5], [0, 10], 10),
        -8.0,
        6.0,
    ),
    # Work is never worth the wage: 0.8 * 3 - 0.8 * 2.5 < 0.2 * 3. At worst shirking is paid 2.6 in
    # both cases.
    "not worth it": (ContractGame(*WORK[:2], [0, 3], 2.6), -2.0, 0.6),
    # Two equal actions of which the agent only ever takes the first.
    "one action twice": (ContractGame([[0.5, 0.5]] * 2, [0, 0], [0, 4], 1), 1.0, 2.0),
    # Zero-sum, so the minimax: 2 (1 - c) = c at c = 2/3. At worst target 0 is bare.
    "guard": (SecurityGame(*GUARD, n_resources=1), -2.0, -2 / 3),
    # Two resources guard everything; at worst both stand at target 1.
    "all guarded": (SecurityGame(*GUARD, n_resources=2), -2.0, 0.0),
    # Five resources for two targets, likewise; the surplus hurts nobody.
    "plenty": (SecurityGame(*GUARD, n_resources=5), -2.0, 0.0),
    # The defender likes to catch: 5 c at target 0 as long as that is attacked, 3 - 3 c >= 1 at
    # c <= 2/3. At worst the attack goes to target 1, where guards change nothing.
    "bait": (SecurityGame([5, -1], [0, -1], [0, 1], [3, 1], n_resources=1), -1.0, 10 / 3),
    # The same with two resources: what is left over of them must not guard the bait.
    "more bait": (SecurityGame([5, -1], [0, -1], [0, 1], [3, 1], n_resources=2), -1.0, 10 / 3),
    # Nobody cares.
    "indifferent": (SecurityGame([1, 1], [1, 1], [0, 0], [0, 0], n_resources=1), 1.0, 1.0),
}
RANDOM: list[Single] = [
    *(random_contract_game(a, o, seed) for a, o in ((2, 2), (3, 2), (4, 3)) for seed in range(8)),
    *(random_contract_game(3, 4, seed) for seed in range(2)),
    *(random_security_game(t, r, seed) for t, r in ((2, 1), (3, 1), (3, 2)) for seed in range(8)),
    *(random_security_game(4, 2, seed) for seed in range(2)),
]
LARGE: list[Single] = [
    random_contract_game(20, 10, 0),
    random_contract_game(10, 20, 1),
    random_security_game(20, 5, 0),
    random_security_game(10, 9, 1),
]


def vertex_extremes(game: Single) -> tuple[float, float]:
    tables: dict[str, Any] = game.arguments()
    if isinstance(game, ContractGame):
        program = reference.contract_program(*tables.values())
        return reference.extremes(*program, budget=game.shape[2])
    budget = tables.pop("n_resources")
    return reference.extremes(*reference.security_program(*tables.values()), budget=budget)


def check(game: Single, lowest: float, highest: float, attained: bool = True) -> None:
    best, worst = dnl.follower_optimum(game), dnl.follower_worst(game)
    unit = max(game.payoff_range.item(), 1.0)
    assert best.upper_bound == pytest.approx(highest, rel=0, abs=1e-6 * unit)
    assert worst.lower_bound == pytest.approx(lowest, rel=0, abs=1e-6 * unit)
    assert best.upper_bound >= highest - 1e-12 * unit  # proofs do not err to the other side
    assert worst.lower_bound <= lowest + 1e-12 * unit
    assert best.upper_bound - worst.lower_bound <= (1 + 1e-6) * unit
    for found in (best, worst):
        assert found.policies.shape == (1, game.shape[2], game.shape[1])
        assert game.ex_ante_utility(found.policies).item() == found.utility
        assert game.follower_action(found.policies).item() == found.action
    if attained:
        assert best.utility == pytest.approx(highest, rel=0, abs=1e-6 * unit)
        assert worst.utility == pytest.approx(lowest, rel=0, abs=1e-6 * unit)


@pytest.mark.parametrize("name", BY_HAND)
def test_extremes_by_hand(name: str) -> None:
    check(*BY_HAND[name])


@pytest.mark.parametrize("name", BY_HAND)
def test_vertices_by_hand(name: str) -> None:
    """The slow reference gives the same answers."""
    game, lowest, highest = BY_HAND[name]
    assert vertex_extremes(game) == pytest.approx((lowest, highest), rel=0, abs=1e-12)


@pytest.mark.parametrize("game", RANDOM, ids=lambda game: game.identity)
def test_extremes_equal_those_of_all_vertices(game: Single) -> None:
    check(game, *vertex_extremes(game))


@pytest.mark.whole_run
@pytest.mark.parametrize("game", RANDOM + LARGE, ids=lambda game: game.identity)
def test_no_decision_is_beyond_the_extremes(game: Single) -> None:
    best, worst = dnl.follower_optimum(game), dnl.follower_worst(game)
    policies = game.sample_policies(4000, torch.Generator().manual_seed(0))
    pure = torch.nn.functional.one_hot(policies[:1000].argmax(-1), policies.shape[-1])
    near = 0.99 * torch.stack([best.policies, worst.policies]).repeat(500, 1, 1, 1)
    tried = torch.cat([policies, pure.to(policies), near + 0.01 * policies[:1000]])
    utility = game.ex_ante_utility(tried)
    assert utility.max() <= best.upper_bound
    assert utility.min() >= worst.lower_bound
    assert worst.lower_bound <= worst.utility <= best.utility <= best.upper_bound
    unit = game.payoff_range.item()
    assert best.upper_bound - best.utility < 1e-6 * unit
    assert worst.utility - worst.lower_bound < 1e-6 * unit


def test_fine_grids_come_close() -> None:
    """These decisions are two numbers, so a grid in the simulator covers all of them."""
    side = torch.linspace(0, 1, 401, dtype=torch.float64)
    shares = torch.cartesian_prod(side, side)  # (B, 2)
    wages = torch.stack([shares, 1 - shares], -1).unsqueeze(1)  # (B, 1, O, M)
    line = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    allocation = torch.stack([line, 1 - line], -1)[:, None, None, :]  # (B, 1, R, T)
    for seed in range(5):
        contract, security = random_contract_game(3, 2, seed), random_security_game(2, 1, seed)
        cases: list[tuple[Single, Tensor, float]] = [
            (contract, wages, 2 * contract.max_wage / 400),  # what a step of wages can cost
            (security, allocation, 1e-4 * security.payoff_range.item()),
        ]
        for game, grid, step in cases:
            utility = game.ex_ante_utility(grid)
            best, worst = dnl.follower_optimum(game), dnl.follower_worst(game)
            assert best.upper_bound - step <= utility.max() <= best.upper_bound
            assert worst.lower_bound <= utility.min() <= worst.lower_bound + step


def test_choices_withheld_by_ties_do_not_count() -> None:
    """If the agent is indifferent everywhere, it takes the first action, not the principal's."""
    game = ContractGame([[1, 0], [1, 0], [0, 1]], [0, 0, 5], [1, 1], 1)
    best = dnl.follower_optimum(game)
    assert (best.utility, best.action) == (1.0, 0)
    alike = ContractGame([[1, 0], [0, 1]], [1, 0], [9, 1], 1)
    # Action 0 needs a wage of 1 for outcome 0 and is then tied: granted, for it comes first.
    assert dnl.follower_optimum(alike).utility == pytest.approx(8.0, abs=1e-6)
    swapped = ContractGame([[0, 1], [1, 0]], [0, 1], [9, 1], 1)
    best = dnl.follower_optimum(swapped)
    assert best.upper_bound == pytest.approx(1.0, abs=1e-6)
    assert best.utility == pytest.approx(1.0, abs=1e-6)
    assert best.action == 0


def test_float32_games_are_computed_in_float64() -> None:
    probabilities, costs, rewards = (torch.tensor(t, dtype=torch.float32) for t in WORK[:3])
    best = dnl.follower_optimum(ContractGame(probabilities, costs, rewards, 10))
    assert best.policies.dtype == torch.float64
    assert best.upper_bound == pytest.approx(6.0, abs=1e-5)


@pytest.mark.parametrize("compute", [dnl.follower_optimum, dnl.follower_worst])
def test_other_games_are_refused(compute: Any) -> None:
    game = random_pricing_game(2, 3, 0)
    with pytest.raises(ValueError, match=r"game must be a ContractGame or .* got PricingGame"):
        compute(game)


# ------------------------------------------------------------------------------------------ prices


def at_prices(game: PricingGame, prices: list[float]) -> Tensor:
    share = torch.tensor(prices, dtype=torch.float64) / game.max_price
    return torch.stack([share, 1 - share], 1).unsqueeze(1)


@pytest.mark.parametrize(
    ("game", "prices", "gains"),
    [
        # A monopoly: 0.5 from the rich alone, 0.4 from all.
        (PricingGame([[1], [0.4]], [0.5, 0.5], [0], 1), [0.4], [0.1]),
        (PricingGame([[1], [0.4]], [0.5, 0.5], [0], 1), [1.0], [0.0]),
        (PricingGame([[1], [0.4]], [0.2, 0.8], [0], 1), [0.1], [0.3]),
        # The highest price binds.
        (PricingGame([[9], [8]], [0.5, 0.5], [1], 2), [0.5], [1.5]),
        # Bertrand at 0.6: seller 0 has the buyer, seller 1 undercuts.
        (PricingGame([[1, 1]], [1], [0.2, 0.2], 1), [0.6, 0.6], [0.0, 0.4]),
        (PricingGame([[1, 1]], [1], [0.2, 0.2], 1), [0.2, 0.2], [0.0, 0.0]),
        # Seller 1, better by 0.3, keeps the buyer up to 0.5 when the other asks 0.2.
        (PricingGame([[0.7, 1]], [1], [0.2, 0.2], 1), [0.2, 0.4], [0.0, 0.1]),
        # A sale below cost: no sale is better, and a dear sale where the rival is dear.
        (PricingGame([[1, 1]], [1], [0.5, 0.5], 1), [0.3, 0.4], [0.2, 0.0]),
        (PricingGame([[1, 1]], [1], [0.5, 0.5], 1), [0.3, 0.9], [0.6, 0.0]),
        # Even the highest price is below cost and everybody buys: the least loss, 0.5.
        (PricingGame([[5]], [1], [1.5], 1), [0.2], [0.8]),
        # At the highest price the buyer is indifferent: a tie rule that keeps it away saves 1.
        (PricingGame([[1]], [1], [1.5], 1), [0.5], [1.0]),
        # Nobody wants it.
        (PricingGame([[-1.0]], [1], [0.0], 1), [0.2], [0.0]),
    ],
)
def test_gains_by_hand(game: PricingGame, prices: list[float], gains: list[float]) -> None:
    assert dnl.pricing_gain(game, at_prices(game, prices)).tolist() == pytest.approx(
        gains, abs=1e-12
    )


def market(n_sellers: int, n_types: int, seed: int) -> PricingGame:
    """A game with costs above and below all prices, and values above them and below 0."""
    g = torch.Generator().manual_seed(seed)
    values = 2 * torch.rand(n_types, n_sellers, dtype=torch.float64, generator=g) - 0.4
    weights = torch.rand(n_types, dtype=torch.float64, generator=g)
    costs = 1.4 * torch.rand(n_sellers, dtype=torch.float64, generator=g)
    return PricingGame(values, weights, costs, max_price=1.0)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 6), (2, 1), (2, 5), (3, 4), (4, 8)])
@pytest.mark.parametrize("make", [random_pricing_game, market])
def test_gains_equal_dense_price_grids(sizes: tuple[int, int], make: Any) -> None:
    for seed in range(4):
        game: PricingGame = make(*sizes, seed)
        policies = game.sample_policies(3, torch.Generator().manual_seed(seed))
        gains = dnl.pricing_gain(game, policies)
        assert gains.shape == (3, sizes[0])
        for pi, gain in zip(policies, gains, strict=True):
            present = game.ex_ante_utility(pi)
            for n in range(sizes[0]):
                prices = torch.linspace(0, 1, 4001, dtype=torch.float64)
                # and a little beside wherever a type may turn away
                others = [m for m in range(sizes[0]) if m != n]
                rival = game.values[:, others] - game.prices(pi)[others]
                best = rival.amax(1).clamp(min=0) if others else torch.zeros(sizes[1]).double()
                steps = (game.values[:, n] - best).repeat(2)
                steps += torch.tensor([-1e-8, 1e-8]).double().repeat_interleave(sizes[1])
                prices = torch.cat([prices, steps[(steps >= 0) & (steps <= 1)]])
                tried = pi.repeat(len(prices), 1, 1, 1)
                tried[:, n, 0, 0], tried[:, n, 0, 1] = prices, 1 - prices
                most = (game.ex_ante_utility(tried)[:, n].max() - present[n]).item()
                assert most - 1e-9 <= gain[n].item() <= most + 1e-7


def test_gains_of_single_profiles_and_float32() -> None:
    game = random_pricing_game(3, 5, 0)
    policies = game.sample_policies(4, torch.Generator().manual_seed(0))
    gains = dnl.pricing_gain(game, policies)
    assert torch.equal(torch.stack([dnl.pricing_gain(game, pi) for pi in policies]), gains)
    single = dnl.pricing_gain(game, policies.float())
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, gains, rtol=0, atol=1e-6)
    assert dnl.pricing_gain(game, policies[:0]).shape == (0, 3)


def test_an_equilibrium_has_no_gain() -> None:
    """Bertrand: if both sell at cost nobody gains; above cost somebody undercuts."""
    game = PricingGame([[1, 1], [0.8, 0.8]], [0.5, 0.5], [0.25, 0.25], 1)
    assert dnl.pricing_gain(game, at_prices(game, [0.25, 0.25])).tolist() == [0.0, 0.0]
    assert dnl.pricing_gain(game, at_prices(game, [0.5, 0.5])).max() > 0.2


def test_malformed_profiles_are_refused() -> None:
    game = random_pricing_game(2, 3, 0)
    with pytest.raises(ValueError, match=r"policies must have shape .* got \(3, 1, 2\)"):
        dnl.pricing_gain(game, torch.full((3, 1, 2), 0.5, dtype=torch.float64))
