"""Scenario 3 of the paper (section 5.3): two ride-hailing platforms and a driver on both."""

import torch

from games import checks
from games.persuasion.advertising import check_states, product_states, with_outside_option
from games.persuasion.game import PersuasionGame
from games.persuasion.labels import numbered
from games.randomness import stream


def ride_hailing_game(
    seed: int = 0,
    *,
    n_orders: tuple[int, ...] = (4, 4),
    n_signals: int = 4,
    costs_per_order: int = 2,
    price_low: float = 5.0,
    price_high: float = 20.0,
    payment_share_low: float = 0.6,
    payment_share_high: float = 0.9,
    cost_share_low: float = 0.5,
    cost_share_high: float = 1.5,
    idle_utility: float = -1.0,
    tie_break: str = "first",
) -> PersuasionGame:
    """Platforms signal the hidden costs of their orders; the driver picks one order or none.

    Prices and payments of all orders are visible and drawn once per instance. The driver's cost of
    each order takes `costs_per_order` values, drawn once and then equally likely and independent
    across orders: the state (`S = costs_per_order**orders`, 256 for eight orders). The driver gets
    payment minus cost, or `idle_utility` for no order (the last action). A platform gets price
    minus payment of the order if it is its own, else 0.

    (The text lets the driver earn the *price* minus the cost. A driver is paid the payment, the
    feature that it lists for that purpose, so we take that.)

    Args:
        seed: the instance: prices, payments and possible costs.
        n_orders: orders of each platform, `N = len(n_orders)`; stated as 4 and 4. Actions are the
            orders, platform 0's first.
        n_signals: `M`; the number is lost.
        costs_per_order: our discretisation, `S <= 256`.
        price_low, price_high: prices are uniform in this range; not stated.
        payment_share_low, payment_share_high: payments are this share of the price; not stated.
        cost_share_low, cost_share_high: possible costs are this share of the payment; not stated.
        idle_utility: stated as -1.
        tie_break: see `PersuasionGame`.
    """
    checks.positive_integer("seed", seed, least=0)
    checks.positive_integer("costs_per_order", costs_per_order)
    n_orders = checks.sequence("n_orders", n_orders)
    if not n_orders:
        raise ValueError(f"n_orders must name at least one platform, got {checks.shown(n_orders)}")
    for count in n_orders:
        checks.positive_integer("n_orders", count)
    idle_utility = checks.number("idle_utility", idle_utility)
    total = sum(n_orders)
    check_states("n_orders", costs_per_order, total)
    ranges = {
        "price": (price_low, price_high),
        "payment_share": (payment_share_low, payment_share_high),
        "cost_share": (cost_share_low, cost_share_high),
    }
    for name, (low, high) in ranges.items():
        checks.number(f"{name}_low", low)
        checks.number(f"{name}_high", high)
        if not 0 <= low <= high:
            raise ValueError(f"{name}_low must lie in [0, {name}_high={high}], got {low}")
    generator = stream("game", "ride-hailing", tuple(n_orders), costs_per_order, seed)

    def uniform(name: str, *size: int) -> torch.Tensor:
        low, high = ranges[name]
        return low + (high - low) * torch.rand(*size, dtype=torch.float64, generator=generator)

    price = uniform("price", total)
    payment = price * uniform("payment_share", total)
    cost = payment.unsqueeze(1) * uniform("cost_share", total, costs_per_order)
    costs = product_states(list(cost.sort(1).values))  # (S, orders)
    levels = product_states([torch.arange(costs_per_order)] * total)  # 0 is the lowest cost
    n_states = costs.shape[0]
    owner = torch.repeat_interleave(torch.arange(len(n_orders)), torch.tensor(n_orders))
    own = owner == torch.arange(len(n_orders)).unsqueeze(1)  # (N, orders)
    profit = torch.where(own, price - payment, 0.0)
    sender = torch.cat([profit, profit.new_zeros(len(n_orders), 1)], 1)  # (N, A)
    return PersuasionGame(
        prior=torch.full((n_states,), 1 / n_states, dtype=torch.float64),
        receiver_utility=with_outside_option(payment - costs, idle_utility),
        sender_utility=sender.unsqueeze(1).expand(-1, n_states, -1),
        n_signals=n_signals,
        tie_break=tie_break,
        state_names=["cost levels " + " ".join(map(str, row)) for row in levels.tolist()],
        action_names=(
            *(f"platform {p}, order {i}" for p, count in enumerate(n_orders) for i in range(count)),
            "no order",
        ),
        sender_names=numbered("platform", len(n_orders)),
    )
