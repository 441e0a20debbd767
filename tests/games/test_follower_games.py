"""Contracts, security and pricing: against plain loops, by hand, their laws, their errors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dnl
from games import (
    FOLLOWER_REGISTRY,
    ContractGame,
    FollowerGame,
    PricingGame,
    SecurityGame,
    random_contract_game,
    random_pricing_game,
    random_security_game,
)
from games.contested import first_contested
from games.followers.base import MAX_DRAWS, BaseFollowerGame, is_contested
from tests.references import follower as reference

TIE = {torch.float64: 1e-9, torch.float32: 1e-6}
REGISTERED = {name: family.make(0) for name, family in FOLLOWER_REGISTRY.items()}
CASES: dict[str, tuple[BaseFollowerGame, tuple[int, int, int, int]]] = {  # shape (N, M, S, A)
    **{name: (game, game.shape) for name, game in REGISTERED.items()},
    "contract-4x3": (random_contract_game(4, 3, seed=1), (1, 2, 3, 4)),
    "contract-20x10": (random_contract_game(20, 10, seed=2), (1, 2, 10, 20)),
    "security-2x1": (random_security_game(2, 1, seed=0), (1, 2, 1, 2)),
    "security-5x3": (random_security_game(5, 3, seed=1), (1, 5, 3, 5)),
    "pricing-1x1": (random_pricing_game(1, 1, seed=0), (1, 2, 1, 2)),
    "pricing-2x5": (random_pricing_game(2, 5, seed=1), (2, 2, 1, 3)),
    "pricing-4x30": (random_pricing_game(4, 30, seed=2), (4, 2, 1, 5)),
}
NAMES = sorted(CASES)
Random = Callable[[int, int, int], BaseFollowerGame]
RANDOM: list[Random] = [random_contract_game, random_security_game, random_pricing_game]


def profiles(game: FollowerGame, count: int = 200) -> Tensor:
    """Random profiles, a quarter of them pure: `(count, N, S, M)`."""
    policies = game.sample_policies(count, torch.Generator().manual_seed(1))
    pure = torch.nn.functional.one_hot(policies.argmax(-1), policies.shape[-1]).to(policies)
    return torch.where((torch.arange(count) % 4 == 0)[:, None, None, None], pure, policies)


def loops(game: BaseFollowerGame, policies: Tensor) -> tuple[list[float], Any]:
    """Utilities and choices at one profile; the range of scores is derived from the tables."""
    tables: dict[str, Any] = game.arguments()
    pi, unit = policies.tolist(), TIE[policies.dtype]
    if isinstance(game, ContractGame):
        spread = game.max_wage + max(game.costs.tolist()) - min(game.costs.tolist())
        return reference.contract(**tables, policies=pi, slack=unit * spread)
    if isinstance(game, SecurityGame):
        tables.pop("n_resources")
        spread = max(game.attacker_uncovered.tolist()) - min(game.attacker_covered.tolist())
        return reference.security(**tables, policies=pi, slack=unit * spread)
    assert isinstance(game, PricingGame)
    values = game.values.flatten().tolist()
    spread = max(*values, 0.0) - min(min(values) - game.max_price, 0.0)
    return reference.pricing(**tables, policies=pi, slack=unit * spread)


# --------------------------------------------------------------------------------- the interface


@pytest.mark.parametrize("name", NAMES)
def test_interface(name: str) -> None:
    game, shape = CASES[name]
    assert isinstance(game, FollowerGame)
    assert game.shape == shape
    n, m, s, a = shape
    policies = profiles(game)
    assert policies.shape == (200, n, s, m)
    utilities, actions = game.ex_ante_utility(policies), game.follower_action(policies)
    assert utilities.shape == (200, n)
    assert utilities.dtype == game.payoff_range.dtype == torch.float64
    assert game.payoff_range.shape == (n,)
    assert (utilities.amax(0) - utilities.amin(0) <= game.payoff_range).all()
    assert actions.shape == ((200, len(game.weights)) if isinstance(game, PricingGame) else (200,))
    assert actions.dtype == torch.int64
    assert actions.min() >= 0
    assert actions.max() < a
    assert str(shape[0]) in repr(game)


@pytest.mark.parametrize("name", NAMES)
def test_simulation_equals_plain_loops(name: str) -> None:
    game, _ = CASES[name]
    policies = profiles(game)
    utilities, actions = game.ex_ante_utility(policies), game.follower_action(policies)
    for pi, utility, action in zip(policies, utilities, actions, strict=True):
        expected, choice = loops(game, pi)
        assert utility.tolist() == pytest.approx(expected, rel=0, abs=1e-12)
        assert action.tolist() == choice


@pytest.mark.parametrize("name", NAMES)
def test_float32_equals_plain_loops(name: str) -> None:
    game, _ = CASES[name]
    policies = profiles(game).float()
    utilities, actions = game.ex_ante_utility(policies), game.follower_action(policies)
    assert utilities.dtype == torch.float32
    for pi, utility, action in zip(policies, utilities, actions, strict=True):
        expected, choice = loops(game, pi)
        assert action.tolist() == choice  # no random profile is so close to a tie
        assert utility.tolist() == pytest.approx(expected, rel=0, abs=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_single_profiles_side_by_side(name: str) -> None:
    game, _ = CASES[name]
    policies = profiles(game, 20)
    singles = torch.stack([game.ex_ante_utility(pi) for pi in policies])
    torch.testing.assert_close(game.ex_ante_utility(policies), singles, rtol=0, atol=1e-13)
    choices = torch.stack([game.follower_action(pi) for pi in policies])
    assert torch.equal(game.follower_action(policies), choices)
    assert game.ex_ante_utility(policies[:0]).shape == (0, game.shape[0])
    assert len(game.follower_action(policies[:0])) == 0


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_slopes_inside_pieces(name: str) -> None:
    game, _ = CASES[name]
    policies = game.sample_policies(30, torch.Generator().manual_seed(2)).requires_grad_()
    step = 1e-6 * (game.sample_policies(30, torch.Generator().manual_seed(3)) - policies.detach())
    ends = [policies.detach() + step, policies.detach() - step]
    same = game.follower_action(ends[0]) == game.follower_action(ends[1])
    kept = same.reshape(30, -1).all(1)
    assert kept.sum() > 20
    utility = game.ex_ante_utility(policies)
    slope = (game.ex_ante_utility(ends[0]) - game.ex_ante_utility(ends[1])) / 2
    for n in range(game.shape[0]):
        (gradient,) = torch.autograd.grad(utility[:, n].sum(), policies, retain_graph=True)
        got = (gradient * step).sum((1, 2, 3))
        torch.testing.assert_close(got[kept], slope[kept, n], rtol=1e-5, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_utilities_jump(name: str) -> None:
    """Along a line between two profiles some utility changes more than any slope explains."""
    game, _ = CASES[name]
    ends = game.sample_policies(40, torch.Generator().manual_seed(4))
    share = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None, None, None]
    steps = torch.stack(
        [
            game.ex_ante_utility(a * (1 - share) + b * share).diff(dim=0).abs().amax(0)
            for a, b in zip(ends[::2], ends[1::2], strict=True)
        ]
    )
    assert (steps.amax(0) > 0.01 * game.payoff_range).all()


@pytest.mark.parametrize("name", NAMES)
def test_extragradient_takes_them_unchanged(name: str) -> None:
    game, _ = CASES[name]
    starts = game.sample_policies(50, torch.Generator().manual_seed(5))
    ends = dnl.extragradient(game.ex_ante_utility, starts).policies
    game.check_policies(ends)
    assert ends.shape == starts.shape
    if game.shape[0] == 1:  # a single leader climbs until it falls off a cliff
        short = dnl.ExtragradientConfig(iterations=1, lr=1e-5, step="sgd")
        ends = dnl.extragradient(game.ex_ante_utility, starts, short).policies
        gain = game.ex_ante_utility(ends) - game.ex_ante_utility(starts)
        kept = (game.follower_action(ends) == game.follower_action(starts)).reshape(50, -1).all(1)
        assert (gain[kept] >= -1e-12).all()
        assert gain[kept].mean() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_gpu_equals_cpu(name: str) -> None:
    game, _ = CASES[name]
    policies = profiles(game)
    there = policies.cuda()
    utilities, actions = game.ex_ante_utility(there), game.follower_action(there)
    assert utilities.device.type == actions.device.type == "cuda"
    torch.testing.assert_close(utilities.cpu(), game.ex_ante_utility(policies))
    assert torch.equal(actions.cpu(), game.follower_action(policies))


@pytest.mark.parametrize("name", NAMES)
def test_games_are_values(name: str) -> None:
    game, _ = CASES[name]
    again = type(game)(**game.arguments())
    assert again == game
    assert (again.identity, hash(again)) == (game.identity, hash(game))
    assert len(game.identity) == 12
    assert int(game.identity, 16) >= 0
    others = [other for other, _ in CASES.values() if other is not game]
    assert all(other != game and other.identity != game.identity for other in others)


def test_float32_games_stay_float32() -> None:
    costs = torch.tensor([0.0, 0.5])
    single = ContractGame(torch.eye(2), costs, torch.ones(2), 1.0)
    assert single.sample_policies(3).dtype == single.payoff_range.dtype == torch.float32
    mixed = ContractGame(torch.eye(2), costs.double(), torch.ones(2), 1.0)
    assert mixed.costs.dtype == mixed.rewards.dtype == torch.float64
    costs[0] = 9.0
    assert single.costs.tolist() == [0.0, 0.5]


# --------------------------------------------------------------------------------------- by hand

# Work succeeds with 0.8 and costs 1.5, shirking with 0.2; success is worth 10.
WORK = ([[0.8, 0.2], [0.2, 0.8]], [0, 1.5], [0, 10], 10)
# Zero-sum: target 0 is worth 2 to the attacker, target 1 is worth 1, nothing where covered.
GUARD = ([0, 0], [-2, -1], [0, 0], [2, 1])
# Half of the buyers would pay 1 for either product, half 0.3 for the first and 0.4 for the second.
MARKET = ([[1, 1], [0.3, 0.4]], [0.5, 0.5], [0.1, 0.2], 1)


@pytest.mark.parametrize(
    ("wages", "action", "utility"),
    [
        ([0, 0], 0, 2.0),  # 0.2 * 10
        ([0, 2.4], 0, 1.52),  # 0.6 * 2.4 < 1.5; 0.2 * (10 - 2.4)
        ([0, 2.5], 0, 1.5),  # 0.6 * 2.5 = 1.5: a tie, and shirking has the lower index
        ([0, 2.6], 1, 5.92),  # 0.8 * (10 - 2.6)
        ([10, 10], 0, -8.0),
        ([1, 3.6], 1, 4.92),  # 0.6 * (3.6 - 1) > 1.5; 8 - 0.2 * 1 - 0.8 * 3.6
    ],
)
def test_contract_by_hand(wages: list[float], action: int, utility: float) -> None:
    game = ContractGame(*WORK)
    share = torch.tensor(wages, dtype=torch.float64) / 10
    policies = torch.stack([share, 1 - share], 1).unsqueeze(0)
    assert game.wages(policies).tolist() == pytest.approx(wages)
    assert game.follower_action(policies).item() == action
    assert game.ex_ante_utility(policies).item() == pytest.approx(utility, abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "coverage", "attacked", "utility"),
    [
        ([[1, 0]], [1, 0], 1, -1.0),
        ([[0, 1]], [0, 1], 0, -2.0),
        ([[0.5, 0.5]], [0.5, 0.5], 0, -1.0),  # attacker gets 1 at target 0, 0.5 at target 1
        ([[0.75, 0.25]], [0.75, 0.25], 1, -0.75),
        ([[0.75, 0.25], [0.5, 0.5]], [1, 0.75], 1, -0.25),  # two resources, 1.25 is 1
        ([[1, 0], [0, 1]], [1, 1], 0, 0.0),  # a tie
    ],
)
def test_security_by_hand(
    rows: list[list[float]], coverage: list[float], attacked: int, utility: float
) -> None:
    game = SecurityGame(*GUARD, n_resources=len(rows))
    policies = torch.tensor([rows], dtype=torch.float64)
    assert game.coverage(policies).tolist() == coverage
    assert game.follower_action(policies).item() == attacked
    assert game.ex_ante_utility(policies).item() == pytest.approx(utility, abs=1e-12)


@pytest.mark.parametrize(
    ("prices", "choices", "utilities"),
    [
        ([0.5, 0.6], [0, 2], [0.2, 0.0]),  # (0.5 - 0.1) / 2
        ([0.6, 0.5], [1, 2], [0.0, 0.15]),
        ([0.5, 0.5], [0, 2], [0.2, 0.0]),  # a tie of both products
        ([0.3, 0.5], [0, 0], [0.2, 0.0]),  # the poor are indifferent, and buy
        ([0.1, 0.15], [0, 1], [0.0, -0.025]),  # 0.2 against 0.25: a sale below cost
        ([1.0, 1.0], [0, 2], [0.45, 0.0]),
    ],
)
def test_pricing_by_hand(prices: list[float], choices: list[int], utilities: list[float]) -> None:
    game = PricingGame(*MARKET)
    share = torch.tensor(prices, dtype=torch.float64)
    policies = torch.stack([share, 1 - share], 1).unsqueeze(1)
    assert game.prices(policies).tolist() == prices
    assert game.follower_action(policies).tolist() == choices
    assert game.ex_ante_utility(policies).tolist() == pytest.approx(utilities, abs=1e-12)


def test_ties_are_settled_within_the_tolerance() -> None:
    """One buyer who values the second product more by less, then by more, than the tolerance."""
    for dtype, tolerance in TIE.items():
        policies = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]], dtype=dtype)
        for excess, choice in ((0.5, 0), (2.0, 1)):
            game = PricingGame([[0.75, 0.75 + excess * tolerance]], [1], [0, 0], 1.0)
            assert game.follower_range == pytest.approx(1.0, abs=1e-5)
            assert game.follower_action(policies).tolist() == [choice]


# ------------------------------------------------------------------------------------ random laws


@pytest.mark.parametrize("make", RANDOM)
def test_random_games_are_their_seed_s(make: Random) -> None:
    before = torch.get_rng_state()
    game = make(4, 3, 5)
    assert game == make(4, 3, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({make(4, 3, seed) for seed in range(10)}) == 10
    assert make(4, 2, 5).identity != game.identity


@pytest.mark.parametrize("make", RANDOM)
def test_random_games_are_contested(make: Random) -> None:
    for seed in range(10):
        game = make(3, 2, seed)
        action = game.follower_action(game.sample_policies(4000, torch.Generator().manual_seed(6)))
        shares = torch.stack([(action == a).double().mean(0) for a in range(game.shape[-1])])
        assert shares.amax(0).min() <= 0.995  # 0.99 in the sample by which it was drawn


def test_law_of_contracts() -> None:
    for seed in range(50):
        game = random_contract_game(3, 4, seed)
        product = game.outcome_probabilities @ game.rewards
        assert game.costs.amin() == 0
        assert game.costs[product.argmin()] == 0
        assert (game.costs <= product - product.amin()).all()
        assert game.rewards.amin() >= 0
        assert game.rewards.amax() == game.max_wage <= 10


def test_law_of_security_games() -> None:
    games = [random_security_game(6, 2, seed) for seed in range(100)]
    for name, sign in (
        ("defender_covered", 1),
        ("defender_uncovered", -1),
        ("attacker_covered", -1),
        ("attacker_uncovered", 1),
    ):
        sizes = sign * torch.cat([getattr(game, name) for game in games])
        assert 0 <= sizes.amin() < sizes.amax() <= 10
        assert sizes.mean().item() == pytest.approx(5.0, abs=0.5)  # standard deviation 0.12


def test_law_of_pricing_games() -> None:
    games = [random_pricing_game(3, 4, seed) for seed in range(100)]
    assert {game.max_price for game in games} == {1.0}
    for name, highest in (("values", 1.0), ("costs", 0.5), ("weights", 1.0)):
        numbers = torch.cat([getattr(game, name).flatten() for game in games])
        assert 0 <= numbers.amin() < numbers.amax() <= highest
    assert all(game.weights.sum().item() == pytest.approx(1.0) for game in games)


def test_contested_gives_up() -> None:
    """Where doing nothing is free and all else is dear, the agent does nothing."""
    idle = ContractGame([[1.0, 0.0], [0.0, 1.0]], [0, 9], [0, 1], 1.0)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=r"no contested game in 1000 draws, .* ContractGame"):
        first_contested(lambda: idle, is_contested, generator, MAX_DRAWS)


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContractGame([0.5, 0.5], *WORK[1:]), r"outcome_probabilities .* got \(2,\)"),
        (lambda: ContractGame([[0.5, 0.4]], [0], [1, 2], 1), r"outcome_probabilities .* 0\.9"),
        (lambda: ContractGame(WORK[0], [0], *WORK[2:]), r"costs must have .* \(2\), got \(1,\)"),
        (lambda: ContractGame(WORK[0], [0, -1], *WORK[2:]), r"costs .* negative, got \[0.0, -1.0"),
        (lambda: ContractGame(*WORK[:2], [1], 10), r"rewards must have .* got \(1,\)"),
        (lambda: ContractGame(*WORK[:3], 0), "max_wage must be finite and above 0, got 0"),
        (lambda: SecurityGame([0], [0], [0], [0], 1), r"defender_covered .* .T >= 2.* got \(1,\)"),
        (lambda: SecurityGame(*GUARD[:3], [2], 1), r"attacker_uncovered .* \(2\), got \(1,\)"),
        (lambda: SecurityGame([0, -2], *GUARD[1:], 1), r"defender_covered must be at least def"),
        (lambda: SecurityGame(*GUARD[:3], [2, -1], 1), r"attacker_uncovered .* \[2.0, -1.0\] and"),
        (lambda: SecurityGame(*GUARD, 0), "n_resources must be an integer of at least 1, got 0"),
        (lambda: PricingGame([1, 1], *MARKET[1:]), r"values must have shape .* got \(2,\)"),
        (lambda: PricingGame(MARKET[0], [1], *MARKET[2:]), r"weights .* \(2\), got \(1,\)"),
        (lambda: PricingGame(MARKET[0], [1, -1], *MARKET[2:]), r"weights .* got \[1.0, -1.0\]"),
        (lambda: PricingGame(*MARKET[:2], [0], 1), r"costs must have .* got \(1,\)"),
        (lambda: PricingGame(*MARKET[:2], [0, -3], 1), r"costs .* negative, got \[0.0, -3.0\]"),
        (lambda: PricingGame(*MARKET[:3], float("inf")), "max_price must be finite .* got inf"),
        (lambda: random_contract_game(1, 2, 0), "n_actions must be .* 2, got 1"),
        (lambda: random_contract_game(2, 1, 0), "n_outcomes must be .* 2, got 1"),
        (lambda: random_contract_game(2, 2, -1), "seed must be .* 0, got -1"),
        (lambda: random_security_game(3, 3, 0), "n_resources must be below n_targets=3, got 3"),
        (lambda: random_pricing_game(0, 3, 0), "n_sellers must be .* 1, got 0"),
        (lambda: random_pricing_game(2, 3, -1), "seed must be .* 0, got -1"),
    ],
)
def test_malformed_arguments_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["ex_ante_utility", "follower_action"])
def test_malformed_policies_are_refused(name: str, method: str) -> None:
    game, (n, m, s, _) = CASES[name]
    call = getattr(game, method)
    with pytest.raises(ValueError, match=r"policies must have shape .* got \(1, 1\)"):
        call([[1.0]])
    with pytest.raises(ValueError, match="policies must be an array of numbers, got 'all'"):
        call("all")
    with pytest.raises(
        ValueError, match=r"policies must have shape \(B, N, S, M\) .* got \(2, 2\)"
    ):
        call(torch.ones(2, 2))
    with pytest.raises(ValueError, match="policies must hold distributions"):
        call(torch.full((n, s, m), 0.7))
    with pytest.raises(ValueError, match="policies must be float32 or float64"):
        call(torch.ones(n, s, m, dtype=torch.int64))
    with pytest.raises(ValueError, match="count must be an integer of at least 0, got -1"):
        game.sample_policies(-1)
