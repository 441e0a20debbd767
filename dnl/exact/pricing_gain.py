"""The most that a seller can gain by another price, exactly.

With the other prices fixed, a type of buyers buys from seller n up to a highest price: its value of
n's product less its surplus from the best alternative. So demand is a step function with at most
`T` steps, and profit rises between them. The best price is at a step, or the highest allowed one.

Shapes: `B` profiles, `N` sellers, `T` types of buyers.
"""

import torch
from torch import Tensor

from dnl.exact.best_response import exact_rows
from games import checks
from games.checks import Array
from games.followers.pricing import PricingGame
from games.surroundings import own_surroundings


@own_surroundings()
def pricing_gain(game: PricingGame, policies: Array) -> Tensor:
    """The most that each seller gains by any price while the others keep theirs.

    A supremum, up to the simulator's tie tolerance: at the best price some type is typically
    indifferent. No tie rule grants more, and slightly lower prices (higher ones, if sales lose
    money) come arbitrarily close, unless sales lose money even at `max_price`.

    Args:
        game: computed in float64 whatever its dtype.
        policies: `(B, N, 1, 2)` or `(N, 1, 2)`.

    Returns:
        `(B, N)` or `(N,)`, at least 0; float64 on the CPU.

    Raises:
        ValueError: for another game, or if `policies` has a wrong shape or rows that are no
            distributions.

    Example:
        >>> game = PricingGame([[1, 1]], [1], [0.2, 0.2], max_price=1)
        >>> prices = torch.tensor([0.6, 0.6], dtype=torch.float64)  # a tie goes to seller 0
        >>> pricing_gain(game, torch.stack([prices, 1 - prices], 1).unsqueeze(1))
        tensor([0.0000, 0.4000], dtype=torch.float64)
    """
    checks.instance("game", game, PricingGame)
    rows = torch.from_numpy(exact_rows(game.as_policies(policies)))
    single = rows.ndim == 3
    batch = rows.unsqueeze(0) if single else rows
    prices = game.prices(batch)
    gains = [_best_profit(game, prices, n) for n in range(prices.shape[1])]
    gain = (torch.stack(gains, 1) - game.ex_ante_utility(batch)).clamp(min=0) + 0.0  # no -0.0
    return gain[0] if single else gain


def _best_profit(game: PricingGame, prices: Tensor, seller: int) -> Tensor:
    """Supremum of a seller's profit over its prices, `prices (B, N) -> (B,)`."""
    values, weights, costs = (t.double().cpu() for t in (game.values, game.weights, game.costs))
    surplus = values - prices.unsqueeze(1)  # (B, T, N)
    surplus[..., seller] = 0.0  # buying nothing is an alternative too
    step, order = (values[:, seller] - surplus.amax(-1)).sort(-1, descending=True)  # (B, T)
    demand = weights[order].cumsum(-1)  # (B, T): of the types up to this one
    # A step below price 0 loses more than any step above it, so it does no harm.
    beyond = step > game.max_price
    at_steps = ((step - costs[seller]) * demand).masked_fill(beyond, float("-inf")).amax(-1)
    at_highest = (game.max_price - costs[seller]) * (weights[order] * beyond).sum(-1)
    return at_steps.maximum(at_highest)
