"""A certified equilibrium, saved and loaded with all that is needed to verify it again."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dnl.equilibria.verification import Verdict, Verification, verify_profile
from dnl.exact.full_revelation import best_baseline_welfare, full_revelation
from games import PersuasionGame, checks
from games.files import read_record, write_text

KEYS = ("game", "policies", "radius", "source", "status")


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A certified local equilibrium.

    Attributes:
        game: the true game.
        policies: `(N, S, M)`, float64.
        verification: exact, within the radius; certified.
        global_verification: exact, for any deviation.
        source: the member of the portfolio that proposed it.
        status: of the search: `"complete"`, or `"time limit"` where more time may find better
            equilibria and another machine may find others.
    """

    game: PersuasionGame
    policies: Tensor
    verification: Verification
    global_verification: Verification
    source: str
    status: str

    @property
    def utilities(self) -> Tensor:
        """`(N,)`."""
        return self.game.ex_ante_utility(self.policies)

    @property
    def welfare(self) -> float:
        """Sum of the senders' utilities."""
        return self.utilities.sum().item()

    @property
    def nash(self) -> Verdict:
        """Whether it is a Nash equilibrium, where any deviation counts.

        `"certified"`: proven, no sender gains. `"refuted"`: a sender was found to gain.
        `"undecided"`: neither.
        """
        return self.global_verification.verdict

    @property
    def nash_gain(self) -> float:
        """The most that a sender was found to gain by any deviation, a lower bound.

        A fraction of the sender's payoff range, as the simulator gives it; 0 where nobody gains.
        """
        ranges, found = self.game.payoff_range, self.global_verification.witness_gain
        return torch.where(ranges > 0, found / ranges, 0.0).max().item()

    @property
    def nash_bound(self) -> float:
        """Proven: no sender gains more by any deviation, as a fraction of its payoff range."""
        return self.global_verification.relative_gain.max().item()

    @property
    def global_gap(self) -> float:
        """Another name of `nash_bound`."""
        return self.nash_bound

    @property
    def is_global(self) -> bool:
        """Whether it is certified as a Nash equilibrium: `nash == "certified"`."""
        return self.nash is Verdict.CERTIFIED

    def __repr__(self) -> str:
        return (
            f"Equilibrium(welfare={self.welfare:.6g}, nash={self.nash!r}, "
            f"nash_gain={self.nash_gain:.2g}, nash_bound={self.nash_bound:.2g}, "
            f"radius={self.verification.radius:g}, source={self.source!r}, status={self.status!r})"
        )

    @property
    def pareto_dominates_full_revelation(self) -> bool:
        """No sender is worse off than under full revelation, and one is better off.

        Differences up to 1e-9 of the payoff range are rounding.
        """
        better = self.utilities - full_revelation(self.game).utilities
        slack = 1e-9 * self.game.payoff_range
        return bool((better >= -slack).all() and (better > slack).any())

    @property
    def exceeds_baselines(self) -> bool:
        """Welfare above both full revelation's and no information's (same slack)."""
        slack = 1e-9 * self.game.payoff_range.sum().item()
        return self.welfare > best_baseline_welfare(self.game) + slack

    def save(self, path: str | Path) -> None:
        """Write game and profile as JSON, whole or not at all; numbers are exact.

        Verdicts are not saved: `load` verifies again.
        """
        record = {
            "game": self.game.arguments(),
            "policies": self.policies.tolist(),
            "radius": self.verification.radius,
            "source": self.source,
            "status": self.status,
        }
        write_text(path, json.dumps(record, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path, time_limit: float = 60.0) -> "Equilibrium":
        """Read a profile and verify it again, locally and globally.

        Args:
            path: what `save` wrote.
            time_limit: seconds for each of the two verifications.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds no equilibrium; the message names the file. A profile that is
                not certified (any more) is none.
        """
        record = read_record(path, KEYS)
        for name in ("source", "status"):
            if not isinstance(record[name], str):
                raise ValueError(
                    f"{path}: {name} must be a string, got {checks.shown(record[name])}"
                )
        try:
            game = PersuasionGame(**record["game"])
            policies = checks.as_float_tensor("policies", record["policies"])
            radius = record["radius"]
            verification = verify_profile(game, policies, radius, time_limit=time_limit)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
        if not verification.is_equilibrium:
            raise ValueError(f"{path} holds a profile that is {verification.verdict}")
        everywhere = verify_profile(game, policies, None, time_limit=time_limit)
        return cls(game, policies, verification, everywhere, record["source"], record["status"])


class Equilibria(tuple[Equilibrium, ...]):
    """What a search found: a tuple, Nash equilibria first.

    Attributes:
        status: of the search, as in `Equilibrium`; known where nothing was found, too.
    """

    status: str

    def __new__(cls, found: Iterable[Equilibrium], status: str) -> "Equilibria":
        """Put `found`, in order, together with the status."""
        made = super().__new__(cls, found)
        made.status = status
        return made

    def __getnewargs__(self) -> tuple[tuple[Equilibrium, ...], str]:
        return tuple(self), self.status  # for copies and pickles

    def __repr__(self) -> str:
        lines = [f"  {number}: {one!r}" for number, one in enumerate(self, 1)]
        return "\n".join([f"{len(self)} equilibria, search: {self.status}", *lines])
