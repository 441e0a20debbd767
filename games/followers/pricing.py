"""Price competition: sellers set prices, each type of buyer takes the best offer.

Bertrand competition with differentiated products and finitely many buyers: a seller's demand drops
where a type walks away to a rival or to nothing.

Shapes: `B` price vectors, `N` sellers, `T` types of buyers.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.contested import first_contested
from games.followers.base import MAX_DRAWS, BaseFollowerGame, is_contested
from games.randomness import stream, uniform_distributions

COST_SCALE = 0.5  # highest cost, where values and prices lie in [0, 1]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PricingGame(BaseFollowerGame):
    """Sellers of one product each, and types of buyers who buy at most one.

    A decision is a profile `(N, S, M)` with `S = 1` row and `M = 2`: the first entry of seller n's
    row is its price as a share of `max_price`. A type buys the product of the highest value less
    price if that is at least 0, else nothing. Choices `0..N-1` are the products and the last, `N`,
    is to buy nothing; the lowest index wins ties, so buyers who are indifferent buy. A seller
    gets price less cost from each unit of buyers.

    Args:
        values: `(T, N)`, what each type would pay for each product at most.
        weights: `(T,)`, how many buyers of each type there are, at least 0.
        costs: `(N,)`, of a unit, at least 0.
        max_price: above 0.

    Raises:
        ValueError: naming the argument that is malformed, and what came.

    Example:
        >>> game = PricingGame([[1, 1], [0.3, 0.4]], [0.5, 0.5], [0, 0], max_price=1)
        >>> prices = torch.tensor([0.5, 0.6], dtype=torch.float64)
        >>> game.ex_ante_utility(torch.stack([prices, 1 - prices], 1).unsqueeze(1))
        tensor([0.2500, 0.0000], dtype=torch.float64)
    """

    values: Tensor
    weights: Tensor
    costs: Tensor
    max_price: float

    def __init__(self, values: Array, weights: Array, costs: Array, max_price: float) -> None:
        values = checks.as_float_tensor("values", values)
        weights = checks.as_float_tensor("weights", weights)
        costs = checks.as_float_tensor("costs", costs)
        if values.ndim != 2 or 0 in values.shape:
            raise checks.shape_error("values", "(T, N)", ("T >= 1", "N >= 1"), values)
        n_types, n_sellers = values.shape
        if weights.shape != (n_types,):
            raise checks.shape_error("weights", "(T,)", (n_types,), weights)
        if costs.shape != (n_sellers,):
            raise checks.shape_error("costs", "(N,)", (n_sellers,), costs)
        for name, numbers in (("weights", weights), ("costs", costs)):
            if (numbers < 0).any():
                raise ValueError(f"{name} must not be negative, got {checks.shown(numbers)}")
        max_price = checks.positive_number("max_price", max_price)
        values, weights, costs = checks.common_dtype(values, weights, costs)
        self._set(values=values, weights=weights, costs=costs, max_price=max_price)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(N, M, S, A) = (N, 2, 1, N + 1)`."""
        n_sellers = len(self.costs)
        return n_sellers, 2, 1, n_sellers + 1

    @cached_property
    def payoff_range(self) -> Tensor:
        """`(N,)`: an upper bound, as if every seller could sell to all at any price."""
        return self.weights.sum() * self.costs.clamp(min=self.max_price)

    @cached_property
    def follower_range(self) -> float:
        """The highest value for free (or nothing), less the lowest value at the highest price."""
        highest, lowest = self.values.amax().item(), self.values.amin().item()
        return max(highest, 0.0) - min(lowest - self.max_price, 0.0)

    def prices(self, policies: Array) -> Tensor:
        """The price of every product: `(..., N, 1, 2) -> (..., N)`."""
        policies = checks.as_tensor("policies", policies)
        return self.max_price * policies[..., 0, 0]

    def _scores(self, policies: Tensor) -> Tensor:
        surplus = self.values.to(policies) - self.prices(policies).unsqueeze(-2)  # (B, T, N)
        return torch.cat([surplus, torch.zeros_like(surplus[..., :1])], -1)

    def _utility(self, policies: Tensor, action: Tensor) -> Tensor:
        weights = self.weights.to(policies)
        demand = [(action == n).to(weights) @ weights for n in range(len(self.costs))]  # N of (B,)
        return (self.prices(policies) - self.costs.to(policies)) * torch.stack(demand, -1)


def random_pricing_game(n_sellers: int, n_types: int, seed: int) -> PricingGame:
    """A random pricing game, by a law of ours.

    Values are uniform on [0, 1], costs uniform on [0, 1/2], weights uniform on the simplex, prices
    at most 1. Redrawn until purchases are contested: some type makes its most frequent choice in at
    most 99 % of 1,024 random price vectors (which hardly any draw fails).

    Args:
        n_sellers, n_types: at least 1 each.
        seed: the instance; same sizes and seed give the same game, in float64 on the CPU.

    Raises:
        ValueError: for a bad size or a seed that is no integer of at least 0.
    """
    checks.positive_integer("n_sellers", n_sellers)
    checks.positive_integer("n_types", n_types)
    checks.positive_integer("seed", seed, least=0)
    generator = stream("game", "pricing", n_sellers, n_types, seed)

    def draw() -> PricingGame:
        values = torch.rand(n_types, n_sellers, dtype=torch.float64, generator=generator)
        costs = COST_SCALE * torch.rand(n_sellers, dtype=torch.float64, generator=generator)
        weights = uniform_distributions((n_types,), generator)
        return PricingGame(values, weights, costs, max_price=1.0)

    return first_contested(draw, is_contested, generator, MAX_DRAWS)
