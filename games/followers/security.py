"""Stackelberg security games: a defender spreads resources over targets, an attacker picks one.

The model of Kiekintveld et al. (2009), "Computing optimal randomized resource allocations for
massive security games": what matters is the probability that a target is covered.

Shapes: `B` decisions, `R` resources, `T` targets.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.contested import first_contested
from games.followers.base import MAX_DRAWS, BaseFollowerGame, is_contested
from games.randomness import stream

PAYOFF_SCALE = 10.0
_TABLES = ("defender_covered", "defender_uncovered", "attacker_covered", "attacker_uncovered")


@dataclass(frozen=True, eq=False, init=False, repr=False)
class SecurityGame(BaseFollowerGame):
    """One defender who spreads resources over targets, and an attacker.

    A decision is a profile `(1, S, M)` with `S = R` rows and `M = T`: row r is the mixed allocation
    of resource r. The coverage of a target is `min(1, sum of its column)`: resources take turns, so
    that no two guard a target at once unless it is covered already. (Independent resources would
    cover it with `1 - prod(1 - p)`, which makes the optimum no linear program. Every coverage in
    [0, 1] that sums to at most `R` is the marginal of a mixture of joint allocations.)

    The attacker attacks the target of its highest expected utility, the lowest index where tied.
    Both then get their covered utility with the probability that it is covered, else the other.

    Args:
        defender_covered, defender_uncovered: `(T,)`, `T >= 2`, at least as high where covered.
        attacker_covered, attacker_uncovered: `(T,)`, at most as high where covered.
        n_resources: `R`, at least 1.

    Raises:
        ValueError: naming the argument that is malformed, and what came.

    Example:
        >>> game = SecurityGame([0, 0], [-2, -1], [0, 0], [2, 1], n_resources=1)
        >>> game.ex_ante_utility(torch.tensor([[[0.75, 0.25]]], dtype=torch.float64))
        tensor([-0.7500], dtype=torch.float64)
    """

    defender_covered: Tensor
    defender_uncovered: Tensor
    attacker_covered: Tensor
    attacker_uncovered: Tensor
    n_resources: int

    def __init__(
        self,
        defender_covered: Array,
        defender_uncovered: Array,
        attacker_covered: Array,
        attacker_uncovered: Array,
        n_resources: int,
    ) -> None:
        given = (defender_covered, defender_uncovered, attacker_covered, attacker_uncovered)
        tables = dict(zip(_TABLES, given, strict=True))
        tables = {name: checks.as_float_tensor(name, table) for name, table in tables.items()}
        first = tables["defender_covered"]
        if first.ndim != 1 or len(first) < 2:
            raise checks.shape_error("defender_covered", "(T,)", ("T >= 2",), first)
        for name, table in tables.items():
            if table.shape != first.shape:
                raise checks.shape_error(name, "(T,)", first.shape, table)
        for higher, lower in (
            ("defender_covered", "defender_uncovered"),
            ("attacker_uncovered", "attacker_covered"),
        ):
            if (tables[higher] < tables[lower]).any():
                raise ValueError(
                    f"{higher} must be at least {lower} at every target, "
                    f"got {checks.shown(tables[higher])} and {checks.shown(tables[lower])}"
                )
        n_resources = checks.positive_integer("n_resources", n_resources)
        common = dict(zip(_TABLES, checks.common_dtype(*tables.values()), strict=True))
        self._set(**common, n_resources=n_resources)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(N, M, S, A) = (1, T, R, T)`."""
        n_targets = len(self.defender_covered)
        return 1, n_targets, self.n_resources, n_targets

    @cached_property
    def payoff_range(self) -> Tensor:
        """`(1,)`: the defender's highest covered less its lowest uncovered utility, a bound."""
        return (self.defender_covered.amax() - self.defender_uncovered.amin()).unsqueeze(0)

    @cached_property
    def follower_range(self) -> float:
        """The attacker's highest uncovered less its lowest covered utility."""
        return (self.attacker_uncovered.amax() - self.attacker_covered.amin()).item()

    def coverage(self, policies: Array) -> Tensor:
        """The probability that each target is covered: `(..., 1, R, T) -> (..., T)`."""
        policies = checks.as_tensor("policies", policies)
        return policies[..., 0, :, :].sum(-2).clamp(max=1)

    def _scores(self, policies: Tensor) -> Tensor:
        covered, uncovered = (
            table.to(policies) for table in (self.attacker_covered, self.attacker_uncovered)
        )
        return uncovered + self.coverage(policies) * (covered - uncovered)

    def _utility(self, policies: Tensor, action: Tensor) -> Tensor:
        covered, uncovered = (
            table.to(policies)[action] for table in (self.defender_covered, self.defender_uncovered)
        )  # (B,) each
        coverage = self.coverage(policies).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return (uncovered + coverage * (covered - uncovered)).unsqueeze(-1)


def random_security_game(n_targets: int, n_resources: int, seed: int) -> SecurityGame:
    """A random security game, by a law that is usual in the literature.

    Utilities are independent: uniform on [0, 10] for the defender where covered and the attacker
    where uncovered, uniform on [-10, 0] for the defender where uncovered and the attacker where
    covered. Redrawn until the attack is contested: the most frequent target is attacked at most
    99 % of 1,024 random decisions.

    Args:
        n_targets: at least 2.
        n_resources: at least 1, and fewer than targets, so that not all can be covered.
        seed: the instance; same sizes and seed give the same game, in float64 on the CPU.

    Raises:
        ValueError: for a bad size or a seed that is no integer of at least 0.
    """
    checks.positive_integer("n_targets", n_targets, least=2)
    checks.positive_integer("n_resources", n_resources)
    if n_resources >= n_targets:
        raise ValueError(f"n_resources must be below n_targets={n_targets}, got {n_resources}")
    checks.positive_integer("seed", seed, least=0)
    generator = stream("game", "security", n_targets, n_resources, seed)

    def draw() -> SecurityGame:
        size = PAYOFF_SCALE * torch.rand(4, n_targets, dtype=torch.float64, generator=generator)
        return SecurityGame(size[0], -size[1], -size[2], size[3], n_resources)

    return first_contested(draw, is_contested, generator, MAX_DRAWS)
