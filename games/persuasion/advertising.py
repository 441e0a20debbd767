"""Scenarios 1 and 2 of the paper (section 5.3): firms advertise to one consumer.

What the text of the paper leaves open is a keyword argument with a default that is our choice.
"""

import torch
from torch import Tensor

from games import checks
from games.persuasion.game import PersuasionGame
from games.persuasion.labels import numbered
from games.randomness import stream

MAX_STATES = 256


def advertising_quality_game(
    seed: int = 0,
    *,
    n_firms: int = 7,
    n_signals: int = 2,
    probability_high: float = 0.5,
    value_high: float = 1.0,
    value_low: float = -1.0,
    shock_scale: float = 0.1,
    tie_break: str = "first",
) -> PersuasionGame:
    """Scenario 1, advertising of quality: each firm's product is of high or low quality.

    The state is everyone's quality (`S = 2**n_firms`, 128 for seven firms; firm 0's quality varies
    slowest, high after low). The consumer buys from firm `a` (action `a`) or not at all (the last
    action, utility 0). A firm gets 1 if the consumer buys from it, else 0.

    Args:
        seed: the instance; it draws the shocks only.
        n_firms: `N`; stated as 7.
        n_signals: `M`; not stated, the number of qualities.
        probability_high: chance of high quality, independent across firms; not stated.
        value_high, value_low: consumer's utility of either quality; the formula is lost.
        shock_scale: standard deviation of the normal shock that the consumer's taste adds to each
            firm's product, drawn once per instance; not stated.
        tie_break: see `PersuasionGame`.
    """
    checks.positive_integer("seed", seed, least=0)
    checks.positive_integer("n_firms", n_firms)
    chance = checks.open_share("probability_high", probability_high)
    values = [checks.number("value_low", value_low), checks.number("value_high", value_high)]
    shock_scale = checks.positive_number("shock_scale", shock_scale, allow_zero=True)
    check_states("n_firms", 2, n_firms)
    shock = shock_scale * torch.randn(
        n_firms, dtype=torch.float64, generator=stream("game", "advertising-quality", n_firms, seed)
    )
    high = product_states([torch.tensor([0.0, 1.0], dtype=torch.float64)] * n_firms)  # (S, N)
    low_or_high = high.long()
    prior = high.new_tensor([1 - chance, chance])[low_or_high].prod(1)
    value = high.new_tensor(values)[low_or_high] + shock  # (S, N)
    return PersuasionGame(
        prior,
        receiver_utility=with_outside_option(value, 0.0),
        sender_utility=own_sales(torch.ones(n_firms, dtype=torch.float64), 0.0, len(prior)),
        n_signals=n_signals,
        tie_break=tie_break,
        state_names=[" ".join("high" if one else "low" for one in row) for row in high.tolist()],
        action_names=purchases(n_firms),
        sender_names=numbered("firm", n_firms),
    )


def advertising_products_game(
    seed: int = 0,
    *,
    n_firms: int = 2,
    n_signals: int = 4,
    qualities_per_firm: int = 4,
    price_low: int = 1,
    price_high: int = 10,
    quality_low: int = -8,
    quality_high: int = 12,
    shock_scale: float = 0.1,
    lost_sale: float = -1.0,
    tie_break: str = "first",
) -> PersuasionGame:
    """Scenario 2, advertising of several products: prices are visible, qualities hidden.

    Prices are drawn once per instance, uniform over the integers of their range. So are, per firm,
    `qualities_per_firm` different qualities, of which each is true with equal probability,
    independent across firms: the state (`S = qualities_per_firm**n_firms`). The consumer buys from
    firm `a` for quality minus price plus shock, or nothing (the last action) for 0. A firm earns
    its price when it sells and `lost_sale` when it does not.

    Args:
        seed: the instance: prices, qualities and shocks.
        n_firms: `N`; the number is lost. With many firms the state space grows and random policies
            say so little that the consumer's choice never changes; two keep the game contested.
        n_signals: `M`; not stated, enough to tell one's own quality.
        qualities_per_firm: our discretisation, `S <= 256`.
        price_low, price_high, quality_low, quality_high: stated as [1, 10] and [-8, 12].
        shock_scale: standard deviation of the consumer's normal shock per firm; not stated.
        lost_sale: stated as -1.
        tie_break: see `PersuasionGame`.
    """
    checks.positive_integer("seed", seed, least=0)
    checks.positive_integer("n_firms", n_firms)
    checks.positive_integer("qualities_per_firm", qualities_per_firm)
    price_low = checks.integer("price_low", price_low)
    price_high = checks.integer("price_high", price_high)
    quality_low = checks.integer("quality_low", quality_low)
    quality_high = checks.integer("quality_high", quality_high)
    shock_scale = checks.positive_number("shock_scale", shock_scale, allow_zero=True)
    lost_sale = checks.number("lost_sale", lost_sale)
    if price_high < price_low:
        raise ValueError(f"price_high must be at least price_low={price_low}, got {price_high}")
    levels = quality_high - quality_low + 1
    if levels < qualities_per_firm:
        raise ValueError(
            f"qualities_per_firm must be at most the {max(levels, 0)} integers in "
            f"[{quality_low}, {quality_high}], got {qualities_per_firm}"
        )
    check_states("n_firms", qualities_per_firm, n_firms)
    generator = stream("game", "advertising-products", n_firms, qualities_per_firm, seed)
    price = torch.randint(price_low, price_high + 1, (n_firms,), generator=generator).double()
    quality = [
        (torch.randperm(levels, generator=generator)[:qualities_per_firm] + quality_low)
        .double()
        .sort()
        .values
        for _ in range(n_firms)
    ]
    shock = shock_scale * torch.randn(n_firms, dtype=torch.float64, generator=generator)
    states = product_states(quality)  # (S, N)
    n_states = states.shape[0]
    return PersuasionGame(
        prior=torch.full((n_states,), 1 / n_states, dtype=torch.float64),
        receiver_utility=with_outside_option(states - price + shock, 0.0),
        sender_utility=own_sales(price, lost_sale, n_states),
        n_signals=n_signals,
        tie_break=tie_break,
        state_names=[
            "qualities " + ", ".join(f"{one:g}" for one in row) for row in states.tolist()
        ],
        action_names=purchases(n_firms),
        sender_names=numbered("firm", n_firms),
    )


def purchases(n_firms: int) -> tuple[str, ...]:
    """What the consumer's actions are called."""
    return (*(f"buy from firm {firm}" for firm in range(n_firms)), "buy nothing")


def product_states(values: list[Tensor]) -> Tensor:
    """Every combination of hidden features: a `(k,)` tensor each -> `(S, features)`."""
    return torch.cartesian_prod(*values).reshape(-1, len(values))


def with_outside_option(value: Tensor, outside: float) -> Tensor:
    """Receiver utilities `(S, options + 1)`: `value (S, options)`, and last `outside`."""
    return torch.cat([value, torch.full_like(value[:, :1], outside)], 1)


def own_sales(price: Tensor, lost_sale: float, n_states: int) -> Tensor:
    """Sender utilities `(N, S, N + 1)`: `price (N,)` if action n is taken, else `lost_sale`."""
    n_firms = len(price)
    table = torch.full((n_firms, n_firms + 1), lost_sale, dtype=torch.float64)
    table[range(n_firms), range(n_firms)] = price
    return table.unsqueeze(1).expand(-1, n_states, -1)


def check_states(name: str, values: int, features: int) -> None:
    """Raise unless `features` that take `values` each make at most 256 states."""
    if values**features > MAX_STATES:
        raise ValueError(
            f"{name} must give at most {MAX_STATES} states, got {values}**{features} = "
            f"{values**features}"
        )
