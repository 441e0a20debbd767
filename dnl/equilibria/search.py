"""One search for equilibria: game, budget and state, and tests of profiles for all members."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dnl.equilibria.ranking import WELFARE, RankBy, Ranking, ranking_of
from dnl.equilibria.single_moves import best_move
from dnl.equilibria.verification import Verdict, decide
from dnl.exact.deviation import SLACK
from dnl.exact.tie_breaking import resolve_ties
from dnl.exact.tolerance import TOLERANCE, allowed_gain
from dnl.exact.welfare_ceiling import WelfareCeiling, own_ceilings
from dnl.runtime.budget import Budget
from games import PersuasionGame
from games.randomness import stream

Proposals = Iterator[Tensor | None]  # profiles (N, S, M); None lets others have their turn

LOCAL, GLOBAL = SCOPES = ("local", "global")
GLOBAL_SHARE = {LOCAL: 0.3, GLOBAL: 0.1}  # of the time limit, kept for proofs after the search

PRODUCTS_PER_LOOK = 2e8  # joint signals x states x actions between two looks at the clock: 0.1 s
PROFILES_AT_ONCE = 5_000  # simulated together, at most
SIMULATIONS_PER_TEST = 32  # the cheap test of one profile takes as long as these
CEILING_SHARE = 0.1  # of the time, for the ceilings of worth


@dataclass
class Search:
    """One search for equilibria of `game`.

    Attributes:
        game: float64 on the CPU.
        radius: of the local equilibria looked for.
        budget: time and memory of the search.
        seed: of the members' random streams.
        tolerance: of certificates, at the reference radius.
        scope: `"local"`, or `"global"` where only equilibria for any deviation count.
        rank_by: as in `find_equilibria`.
        ranking: the weights of utilities that it names. Their sum is a profile's *worth*: by
            default welfare.
        floor: highest worth certified so far; a proposal must exceed it.
        global_floor: the same among global equilibria.
        ceiling: upper bounds on the worth of any profile and of any global equilibrium.
        own: `(N,)`: upper bounds on each sender's utility.
        plain: the game without actions that the tie rule never takes. Programs that ask for a
            strictly optimal action need it: of two equal actions neither is.
        cut: whether the clock ended a computation, so that another run may differ.
    """

    game: PersuasionGame
    radius: float
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    tolerance: float = TOLERANCE
    scope: str = LOCAL
    rank_by: RankBy = WELFARE
    floor: float = field(default=-float("inf"))
    global_floor: float = field(default=-float("inf"))
    cut: bool = False
    ranking: Ranking = field(init=False)
    ceiling: WelfareCeiling = field(init=False)
    own: Tensor = field(init=False)
    plain: PersuasionGame = field(init=False)

    def __post_init__(self) -> None:
        budget = self.budget.part(CEILING_SHARE)
        self.ranking = ranking_of(self.game, self.rank_by)
        self.plain = without_unused(self.game)
        self.own = own_ceilings(self.plain, budget)
        self.ceiling = self.ranking.ceiling(self.plain, budget)
        self.cut |= budget.over

    def generator(self, member: str) -> torch.Generator:
        """The member's own random stream."""
        return stream("starts", self.seed, self.game.identity, member)

    @property
    def reach(self) -> float:
        """How much of a state's probability a sender may move in tests of proposals."""
        return 1.0 if self.scope == GLOBAL else self.radius

    @property
    def slack(self) -> float:
        """Differences in worth up to this do not count."""
        return self.ranking.slack(self.game)

    @property
    def is_best(self) -> bool:
        """Whether no profile can be worth more than the best found."""
        return self.floor >= self.ceiling.any_profile - self.slack

    @property
    def is_best_global(self) -> bool:
        """Whether no global equilibrium can be worth more than the best found."""
        slack = self.ranking.slack_of_ceiling(self.game)
        return self.global_floor >= self.ceiling.global_equilibrium - slack

    @property
    def at_once(self) -> int:
        """How many profiles are simulated between two looks at the clock."""
        n_senders, n_signals, n_states, n_actions = self.game.shape
        work = n_signals**n_senders * n_states * n_actions
        memory = 8 * n_states * (n_senders * n_signals + n_actions)
        return max(
            1, min(PROFILES_AT_ONCE, int(PRODUCTS_PER_LOOK // work), self.budget.rows(4 * memory))
        )

    def utilities(self, policies: Tensor) -> Tensor:
        """Every sender's utility: `(B, N, S, M) -> (B, N)`.

        Minus infinity for profiles that are not reached before the time is over.
        """
        return self.utilities_and_worth(policies)[0]

    def worth(self, policies: Tensor) -> Tensor:
        """What profiles are worth: `(N, S, M) -> ()`, or `(B, N, S, M) -> (B,)` as above."""
        if policies.ndim == 3:
            return self.ranking.of(self.game, policies)
        return self.utilities_and_worth(policies)[1]

    def utilities_and_worth(self, policies: Tensor) -> tuple[Tensor, Tensor]:
        """Both of the above: `(B, N, S, M) -> (B, N), (B,)`."""
        utilities = policies.new_full(policies.shape[:2], -float("inf"))
        worth = utilities.new_full(utilities.shape[:1], -float("inf"))
        for start in range(0, len(policies), self.at_once):
            if start and self.budget.over:
                self.cut = True
                break
            part = slice(start, start + self.at_once)
            utilities[part] = self.game.ex_ante_utility(policies[part])
            receiver: Tensor | float = 0.0
            if self.ranking.receiver:
                receiver = self.game.receiver_ex_ante_utility(policies[part])
            worth[part] = self.ranking.combine(utilities[part], receiver)
        return utilities, worth

    def allowed(self, radius: float | None) -> float:
        """The gain that a certificate at `radius` allows, as a fraction of the payoff range."""
        return allowed_gain(self.tolerance, radius)

    def survives(self, policies: Tensor) -> Tensor:
        """Cheap necessary test of equilibria: `(B, N, S, M) -> (B,)` bool.

        Whether no sender gains by moving up to `reach` of one state's probability from one signal
        to another. False for profiles that are not reached before the time is over.
        """
        game = self.game
        passed = torch.zeros(len(policies), dtype=torch.bool)
        n_senders, n_signals, n_states, n_actions = game.shape
        memory = 64 * n_signals**n_senders * max(n_states, n_actions)
        step = min(max(1, self.at_once // SIMULATIONS_PER_TEST), self.budget.rows(memory))
        for start in range(0, len(policies), step):
            if self.budget.over:
                self.cut = True
                break
            part = policies[start : start + step]
            kept = torch.ones(len(part), dtype=torch.bool)
            for n in range(n_senders):
                kept &= best_move(game, part, n, self.reach) <= self.most(self.reach)[n]
            passed[start : start + step] = kept
        return passed

    def certifies(self, policies: Tensor, radius: float | None, share: float) -> bool:
        """Whether a proof is found that nobody gains by deviating from `policies (N, S, M)`.

        Args:
            policies: the profile.
            radius: of the deviations.
            share: of the time left that may be spent.
        """
        return self.verdict(policies, radius, share) is Verdict.CERTIFIED

    def verdict(self, policies: Tensor, radius: float | None, share: float) -> Verdict:
        """The verdict on `policies (N, S, M)`; arguments as above."""
        if self.is_every_best(policies, radius):
            return Verdict.CERTIFIED
        limit = max(share * self.budget.left, 1e-3)
        began = time.perf_counter()
        verdict = decide(self.game, policies, radius, self.tolerance, limit)
        # Each sender may use only its share of the limit.
        late = time.perf_counter() - began >= 0.9 * limit / self.game.n_senders
        self.cut |= verdict is Verdict.UNDECIDED and late
        return verdict

    def at_most(self, policies: Tensor) -> Tensor:
        """`(N,)`: bounds on what deviations gain, from the upper bounds on utilities."""
        gain = (self.own - self.game.ex_ante_utility(policies)).clamp_min(0)
        return torch.where(self.game.payoff_range > 0, gain, 0.0)

    def is_every_best(self, policies: Tensor, radius: float | None = None) -> bool:
        """Whether every sender gets the most that any profile could give it: a cheap proof."""
        return bool((self.at_most(policies) <= self.most(radius)).all())

    def most(self, radius: float | None) -> Tensor:
        """`(N,)`: the gain that a certificate at `radius` allows."""
        return self.allowed(radius) * self.game.payoff_range


def without_unused(game: PersuasionGame) -> PersuasionGame:
    """The game without the actions that the receiver's tie rule never takes.

    Those are the actions for which there is another one that is at least as good for the receiver
    in every state that happens, and that the rule prefers. Policies mean the same in both.
    """
    units = [unit or 1.0 for unit in game.tie_units(game.prior.dtype)]
    value, *ranks = [t.numpy() / unit for t, unit in zip(game.criteria, units, strict=True)]
    happens = game.prior.numpy() > 0
    ties = resolve_ties(value, ranks[0] if ranks else None, happens[None])
    kept = torch.from_numpy(ties.taken[0])
    for rank in ranks:
        lead = (rank[happens][:, None, :] - rank[happens][:, :, None]).min(0)  # (A, A): the second
        kept &= torch.from_numpy(~(ties.ranked[0] & (lead > SLACK)).any(1))
    if kept.all():
        return game
    v, u = game.receiver_utility[:, kept], game.sender_utility[..., kept]
    return PersuasionGame(game.prior, v, u, game.n_signals, game.tie_break)


def canonical(policies: Tensor) -> bytes:
    """A key, the same for profiles that differ only in the names of signals, up to 1e-6."""
    columns = (policies * 1e6).round().to(torch.int64).mT.tolist()  # (N, M, S)
    return repr([sorted(sender) for sender in columns]).encode()
