"""The time and memory that a long computation may use, in one object passed to all its steps.

No step has a clock of its own. A step that may use only part of the time gets `part` or `at_most`;
a step whose arrays grow with its input calls `rows` to see how many fit.
"""

import time
from dataclasses import dataclass

from dnl.runtime.memory import STEP_BYTES


@dataclass(frozen=True)
class Budget:
    """A deadline and a limit on memory.

    Attributes:
        deadline: in seconds of `time.perf_counter`; infinity for none.
        memory: bytes that the arrays of one step may take.
    """

    deadline: float = float("inf")
    memory: int = STEP_BYTES

    @classmethod
    def within(cls, seconds: float) -> "Budget":
        """A budget that ends `seconds` from now."""
        return cls(time.perf_counter() + seconds)

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(self.deadline - time.perf_counter(), 0.0)

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return time.perf_counter() >= self.deadline

    def part(self, share: float) -> "Budget":
        """A budget with `share` of the time that is left."""
        return self.at_most(share * self.left)

    def at_most(self, seconds: float) -> "Budget":
        """A budget that ends `seconds` from now, or with this one if that is sooner."""
        deadline = min(self.deadline, time.perf_counter() + seconds)
        return Budget(deadline, self.memory)

    def rows(self, bytes_per_row: int) -> int:
        """How many rows of this size fit into the memory, at least 1."""
        return max(1, self.memory // max(bytes_per_row, 1))


FOREVER = Budget()  # for programs that take hardly any time
