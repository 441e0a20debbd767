"""What every member of the portfolio is told, and how its proposals are judged."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dnl.ceiling import WelfareCeiling, welfare_ceiling
from dnl.tolerance import TOLERANCE, allowed_gain
from dnl.verification import decide
from games import PersuasionGame
from games.randomness import stream

Proposals = Iterator[Tensor | None]  # profiles (N, S, M); None where a step found nothing


@dataclass
class Search:
    """One search for equilibria of `game`.

    Attributes:
        game: float64 on the CPU.
        radius: of the local equilibria looked for.
        deadline: of `time.perf_counter`.
        seed: of the members' streams.
        tolerance: of certificates, at the reference radius.
        floor: welfare that a proposal must exceed to be of use; rises during the search.
        global_floor: the same for profiles that may be global equilibria.
        ceiling: what welfare, of any profile and of global equilibria, cannot exceed.
        cut: the clock has ended a computation, so another run may differ.
    """

    game: PersuasionGame
    radius: float
    deadline: float
    seed: int = 0
    tolerance: float = TOLERANCE
    floor: float = field(default=-float("inf"))
    global_floor: float = field(default=-float("inf"))
    cut: bool = False
    ceiling: WelfareCeiling = field(init=False)

    def __post_init__(self) -> None:
        self.ceiling = welfare_ceiling(self.game)

    def generator(self, member: str) -> torch.Generator:
        """The member's own random stream."""
        return stream("starts", self.seed, self.game.identity, member)

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(self.deadline - time.perf_counter(), 0.0)

    @property
    def slack(self) -> float:
        """Differences of welfare up to this count for nothing."""
        return 1e-6 * self.game.payoff_range.sum().item()

    @property
    def is_best(self) -> bool:
        """Whether no profile is better than the best found."""
        return self.floor >= self.ceiling.any_profile - self.slack

    @property
    def is_best_global(self) -> bool:
        """Whether no global equilibrium is better than the best found."""
        return self.global_floor >= self.ceiling.global_equilibrium - self.slack

    def welfare(self, policies: Tensor) -> Tensor:
        """Sum of the senders' utilities: `(..., N, S, M) -> (...)`."""
        return self.game.ex_ante_utility(policies).sum(-1)

    def allowed(self, radius: float | None) -> float:
        """Gain, as a fraction of the payoff range, that a certificate at `radius` allows."""
        return allowed_gain(self.tolerance, radius)

    def survives(self, policies: Tensor) -> Tensor:
        """Cheap necessary test of local equilibria: `(B, N, S, M) -> (B,)` bool.

        Nobody gains by moving up to `radius` of one state's probability from one signal to another.
        """
        game, n_signals = self.game, self.game.n_signals
        passed = torch.ones(len(policies), dtype=torch.bool)
        ranges = game.payoff_range
        state, source, target = torch.cartesian_prod(
            torch.arange(game.n_states), torch.arange(n_signals), torch.arange(n_signals)
        ).T
        state, source, target = (t[source != target] for t in (state, source, target))
        index = torch.arange(len(state))
        if not len(index):
            return passed
        block = max(1, 2**22 // (len(index) * game.n_states * n_signals))
        for start in range(0, len(policies), block):
            part = policies[start : start + block]
            for n in range(game.n_senders):
                tried = part[:, n].unsqueeze(1).repeat(1, len(index), 1, 1)  # (b, D, S, M)
                room = 1 - tried[:, index, state, target]
                moved = tried[:, index, state, source].clamp_max(self.radius).minimum(room)
                tried[:, index, state, source] -= moved
                tried[:, index, state, target] += moved
                gain = game.deviation_gain(part, n, tried).amax(1)
                limit = self.allowed(self.radius) * ranges[n]
                passed[start : start + block] &= gain <= limit
        return passed

    def certifies(self, policies: Tensor, radius: float | None, share: float) -> bool:
        """Whether it is proven that nobody gains by deviating from `policies (N, S, M)`.

        Args:
            policies: the profile.
            radius: of the deviations.
            share: of the time left that may be spent.
        """
        limit = max(share * self.left, 1e-3)
        began = time.perf_counter()
        verdict = decide(self.game, policies, radius, self.tolerance, limit)
        # A sender may use its part of the limit only.
        late = time.perf_counter() - began >= 0.9 * limit / self.game.n_senders
        self.cut |= verdict == "undecided" and late
        return verdict == "certified"


def canonical(policies: Tensor) -> bytes:
    """The same for profiles that differ by names of signals only, up to 1e-6."""
    columns = (policies * 1e6).round().to(torch.int64).mT.tolist()  # (N, M, S)
    return repr([sorted(sender) for sender in columns]).encode()
