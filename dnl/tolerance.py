"""Which gains do not count: the slack that every verdict allows."""

TOLERANCE = 1e-5  # gain, as a fraction of the payoff range, that does not count
REFERENCE_RADIUS = 0.005  # radius at which the tolerance is the whole stated one


def allowed_gain(tolerance: float, radius: float | None) -> float:
    """Gain, as a fraction of the payoff range, that a verdict at `radius` does not count."""
    return tolerance * (1.0 if radius is None else min(1.0, radius / REFERENCE_RADIUS))
