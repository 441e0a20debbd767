"""The tolerance of verdicts: gains up to it do not count.

It is a fraction of a sender's payoff range, `sum_s mu(s) (max_a u(s, a) - min_a u(s, a))` over the
actions that the receiver may take (`PersuasionGame.payoff_range`). States and actions that never
happen do not count.
"""

TOLERANCE = 1e-5  # largest gain that does not count, as a fraction of the payoff range
REFERENCE_RADIUS = 0.005  # radius from which on the tolerance counts in full


def allowed_gain(tolerance: float, radius: float | None) -> float:
    """Largest gain that does not count at `radius`, as a fraction of the payoff range."""
    return tolerance * (1.0 if radius is None else min(1.0, radius / REFERENCE_RADIUS))
