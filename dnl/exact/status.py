"""How an exact computation ended, and what a caller can do about it."""

from enum import StrEnum


class Status(StrEnum):
    """How an exact computation ended. Bounds are valid whatever the status."""

    OPTIMAL = "optimal"
    NOT_ATTAINED = "not attained"
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    SUSPECT = "numerically suspect"
    INFEASIBLE = "infeasible"

    @property
    def advice(self) -> str:
        """What a caller can do, in one sentence."""
        return _ADVICE[self]


_ADVICE = {
    Status.OPTIMAL: "The search is closed; the bound is tight within the tolerance.",
    Status.NOT_ATTAINED: (
        "What was found stays below the bound, which may be a limit that the receiver's tie rule "
        'does not grant; tie_break="senders" may grant it.'
    ),
    Status.TIME_LIMIT: "The bound holds but is not tight; raise time_limit.",
    Status.MEMORY_LIMIT: (
        "The bound holds but is loose: the program for a better one has more entries than memory "
        "allows, so more time does not help; fewer signals, states or actions would."
    ),
    Status.SUSPECT: (
        "The solver could not settle a linear program, so the bound holds but may be loose; "
        "rescale utilities that differ by many orders of magnitude, or raise the tolerance."
    ),
    Status.INFEASIBLE: (
        "No policy lies within the radius, which only rounding can cause; raise the radius."
    ),
}
