"""How networks are trained: the paper's way, and the ways that measurement found.

`python -m experiments.recipes` measures; results/recipes holds what it has found so far.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Recipe:
    """One way of training.

    Attributes:
        lr: Adam's learning rate at the start.
        last: its share at the end, on the way by a half cosine; 1 is a constant rate.
        batch_size: samples per step, at most.
        posteriors: joint posteriors per step, at most, where networks see those; but 16 samples.
        pattern_gradient: of activation patterns, see `dnl.layers.ActivationPattern`.
        temperature: first and last of a follower's quantal response, on the way geometrically.
        refit: steps, at most, after which heads that are linear in features are set by least
            squares, as they are at the end; 0 for never.
        restarts: networks trained side by side; the one with the smallest error is kept.
    """

    lr: float
    last: float = 1.0
    batch_size: int = 512
    posteriors: int | None = None
    pattern_gradient: str = "none"
    temperature: tuple[float, float] = (0.1, 0.1)
    refit: int = 0
    restarts: int = 1

    def rows(self, n_joint: int) -> int:
        """Samples per step where each has `n_joint` joint signals."""
        if self.posteriors is None:
            return self.batch_size
        return min(self.batch_size, max(16, self.posteriors // n_joint))

    def rate(self, progress: float) -> float:
        """The share of `lr` at `progress` from 0 to 1."""
        return self.last + (1 - self.last) * (1 + math.cos(math.pi * progress)) / 2

    def heat(self, progress: float) -> float:
        """The temperature at `progress`."""
        first, last = self.temperature
        return first * (last / first) ** progress


PAPER = Recipe(lr=0.01)  # Adam at a constant rate (appendix B); the batch size is ours
FOLLOWER = Recipe(
    lr=0.02,
    last=0.005,
    batch_size=256,
    posteriors=2**14,
    temperature=(0.05, 0.001),
    refit=200,
    restarts=4,
)
# Small batches and a hot start halve the error on contracts and security games.
FLAT_FOLLOWER = Recipe(
    lr=0.02, last=0.005, batch_size=64, temperature=(0.2, 0.001), refit=800, restarts=4
)
RECIPES: Mapping[str, Mapping[str, Recipe]] = MappingProxyType(
    {
        "paper": {
            "relu": PAPER,
            "delu": PAPER,
            "dnl": PAPER,
            "posterior-dnl": FOLLOWER,
            "follower-dnl": FLAT_FOLLOWER,
        },
        "tuned": {
            "relu": Recipe(lr=0.01, last=0.01),
            "delu": Recipe(lr=0.01, last=0.01, pattern_gradient="straight-through"),
            "dnl": Recipe(lr=0.01, last=0.01, pattern_gradient="straight-through"),
            "posterior-dnl": FOLLOWER,  # it has one recipe: the paper knows no such network
            "follower-dnl": FLAT_FOLLOWER,  # nor this one
        },
    }
)
