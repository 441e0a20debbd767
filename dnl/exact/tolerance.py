"""Which gains do not count: the slack that every verdict allows.

The payoff range of a sender, here as everywhere, is what the receiver's action can matter to it:
`sum_s mu(s) (max_a u(s, a) - min_a u(s, a))` over actions that the receiver may take
(`PersuasionGame.payoff_range`). States and actions that never happen do not count.
"""

TOLERANCE = 1e-5  # gain, as a fraction of the payoff range, that does not count
REFERENCE_RADIUS = 0.005  # radius at which the tolerance is the whole stated one


def allowed_gain(tolerance: float, radius: float | None) -> float:
    """Gain, as a fraction of the payoff range, that a verdict at `radius` does not count."""
    return tolerance * (1.0 if radius is None else min(1.0, radius / REFERENCE_RADIUS))
