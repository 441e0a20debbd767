"""The equilibria of a learned game, judged on the true game.

A surrogate that has learned a receiver is a game of its own (`FittedSurrogate.learned_game`), and
`find_equilibria` solves it. But the learned receiver switches its action at slightly wrong beliefs,
and the equilibria worth having lie right beside such beliefs. So what is proven in the learned game
is a candidate only: in the true game its welfare may be far lower than predicted. A few best
responses in the true game often correct it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.equilibria.portfolio import find_equilibria
from dnl.equilibria.response_walks import LEAST_GAIN, RESPONSES_PER_RADIUS, radii, walk
from dnl.equilibria.sampled_deviations import DEVIATIONS_PER_ENTRY, best_sampled
from dnl.equilibria.search import LOCAL, SCOPES, Proposals, Search
from dnl.equilibria.verification import METHODS, Verdict, Verification, Verifications, verify
from dnl.exact.best_response import exact_rows
from dnl.runtime.budget import Budget
from dnl.surrogates.fitted import FittedSurrogate
from games import PersuasionGame, checks
from games.randomness import seed_of
from games.surroundings import own_surroundings

SOLVING_SHARE = 0.4  # of the time, for the learned game
WALKING_SHARE = 0.5  # of what is left for a candidate, for the best responses
LEAST_SECONDS = 1e-3
SETTLED = (Verdict.CERTIFIED, Verdict.NOT_REFUTED)


@dataclass(frozen=True, eq=False)
class Judged:
    """A profile, what the surrogate predicts of it, and what the true game says of it.

    Attributes:
        policies: `(N, S, M)`, float64.
        predicted: `(N,)`: the senders' utilities as the surrogate predicts them.
        utilities: `(N,)`: those of the true game.
        local_verification: on the true game, within the radius.
        nash_verification: on the true game, of any deviation.
    """

    policies: Tensor
    predicted: Tensor
    utilities: Tensor
    local_verification: Verification
    nash_verification: Verification

    @property
    def predicted_welfare(self) -> float:
        """Sum of the predicted utilities."""
        return self.predicted.sum().item()

    @property
    def welfare(self) -> float:
        """Sum of the senders' utilities in the true game."""
        return self.utilities.sum().item()

    @property
    def local(self) -> Verdict:
        """Whether it is a local equilibrium of the true game."""
        return self.local_verification.verdict

    @property
    def nash(self) -> Verdict:
        """Whether it is a Nash equilibrium of the true game, where any deviation counts."""
        return self.nash_verification.verdict

    def __repr__(self) -> str:
        return (
            f"Judged(predicted_welfare={self.predicted_welfare:.5g}, welfare={self.welfare:.5g}, "
            f"local={self.local!r}, nash={self.nash!r})"
        )


@dataclass(frozen=True, eq=False)
class LearnedCandidate:
    """A local equilibrium of a learned game, before and after best responses in the true game.

    Attributes:
        proposed: the profile that is an equilibrium of the learned game.
        finished: where best responses in the true game came to rest; `proposed` itself where no
            sender moved, None where they did not rest in time or went round in a circle.
        moves: how many best responses led there, or were made in the last attempt.
        method: `"exact"`: responses and verdicts are proven. `"sampled"`: they come from random
            deviations, and nothing is certified.
    """

    proposed: Judged
    finished: Judged | None
    moves: int
    method: str

    def __repr__(self) -> str:
        first, end = self.proposed, self.finished
        after = "no rest"
        if end is not None:
            after = f"true={end.welfare:.5g}, local={end.local!r}, nash={end.nash!r}"
        return (
            f"LearnedCandidate(predicted={first.predicted_welfare:.5g}, true={first.welfare:.5g}, "
            f"local={first.local!r}, nash={first.nash!r}; after {self.moves} moves: {after})"
        )


@own_surroundings()
def find_learned_equilibria(
    fitted: FittedSurrogate,
    game: PersuasionGame,
    radius: float = 0.005,
    time_limit: float = 60.0,
    seed: int | None = None,
    *,
    scope: str = LOCAL,
    method: str = "exact",
    generator: torch.Generator | None = None,
) -> tuple[LearnedCandidate, ...]:
    """Solve the game that a surrogate has learned, and judge every solution on the true game.

    Each equilibrium that is proven in the learned game is a candidate. The senders then respond in
    turn, in the true game, until nobody gains. Both profiles are verified on the true game.

    Args:
        fitted: a surrogate that has learned a receiver, such as `"posterior-dnl"`.
        game: the true game, to which it was fitted.
        radius: of the local equilibria, above 0 and at most 1.
        time_limit: seconds in all. A round of random deviations that has begun is finished.
        seed: of the random draws; None for 0.
        scope: `"local"`: they respond within the radius or, if that does not come to rest, within a
            radius that shrinks to it, and so end at local equilibria. `"global"`: they respond by
            any policy, and so end at Nash equilibria.
        method: `"exact"`: exact best responses, and proofs, for a true game that is known.
            `"sampled"`: random deviations, which need no more of the true game than payoff ranges
            and utilities at profiles; they refute, but never certify, and find fewer improvements.
        generator: instead of `seed`.

    Returns:
        One `LearnedCandidate` for each equilibrium of the learned game. First those that end at a
        Nash equilibrium of the true game, then those that end at a local one, then the others; each
        part by the true welfare where it ends. Where deviations are sampled, what they do not
        refute counts. May be empty.

    Raises:
        ValueError: for a bad argument, a surrogate that learns no receiver, or another game.
        ImportError: if highspy is not installed.
    """
    checks.instance("fitted", fitted, FittedSurrogate)
    checks.instance("game", game, PersuasionGame)
    if (fitted.game, fitted.shape) != (game.identity, game.shape):
        raise ValueError(
            f"game must be the one that was fitted, {fitted.game} of shape {fitted.shape}, "
            f"got {game.identity} of shape {game.shape}"
        )
    radius = checks.radius("radius", radius)
    time_limit = checks.positive_number("time_limit", time_limit)
    checks.one_of("scope", scope, SCOPES)
    checks.one_of("method", method, METHODS)
    learned = fitted.learned_game()
    seed = seed_of(seed, generator)
    budget = Budget.within(time_limit)
    solving = max(SOLVING_SHARE * budget.left, LEAST_SECONDS)
    solutions = find_equilibria(learned, radius, solving, seed)
    search = Search(game.to("cpu", torch.float64), radius, budget.part(0.5), seed)
    near: tuple[float | None, ...] = (radius,)
    walks = (near, radii(radius)) if scope == LOCAL else ((None,),)
    judge = _Judge(fitted, search, method, walks)
    found = [
        judge.candidate(one.policies, budget.part(1 / left))
        for one, left in zip(solutions, range(len(solutions), 0, -1), strict=True)
    ]
    return tuple(sorted(found, key=_rank))


def _rank(candidate: LearnedCandidate) -> tuple[bool, bool, bool, float]:
    end = candidate.finished
    if end is None:
        return True, True, True, -candidate.proposed.welfare
    return False, end.nash not in SETTLED, end.local not in SETTLED, -end.welfare


@dataclass(frozen=True, eq=False)
class _Judge:
    """Follows and verifies profiles on the true game, float64 on the CPU."""

    fitted: FittedSurrogate
    search: Search
    method: str
    walks: tuple[tuple[float | None, ...], ...]  # radii of each, tried in turn

    @property
    def game(self) -> PersuasionGame:
        """The true game."""
        return self.search.game

    def candidate(self, policies: Tensor, budget: Budget) -> LearnedCandidate:
        """One solution of the learned game, judged before and after the walk."""
        before = self.judged(policies, budget.part((1 - WALKING_SHARE) / 2))
        walking = budget.part(WALKING_SHARE)
        rest, moves = self.rest_of(policies, walking)
        after = before if moves == 0 else None
        if rest is not None and moves:
            after = self.judged(rest, budget)
        return LearnedCandidate(before, after if rest is not None else None, moves, self.method)

    def judged(self, policies: Tensor, budget: Budget) -> Judged:
        """A profile with both verifications, each with half of the time."""
        local = self.verified(policies, self.search.radius, budget.part(0.5))
        return Judged(
            policies=policies,
            predicted=self.fitted(policies),
            utilities=self.game.ex_ante_utility(policies),
            local_verification=local,
            nash_verification=self.verified(policies, None, budget),
        )

    def verified(self, policies: Tensor, radius: float | None, budget: Budget) -> Verification:
        """The verification of one profile."""
        left, seed = max(budget.left, LEAST_SECONDS), self.search.seed
        found = verify(self.game, policies, radius, self.method, time_limit=left, seed=seed)
        assert not isinstance(found, Verifications)
        return found

    def rest_of(self, policies: Tensor, budget: Budget) -> tuple[Tensor | None, int]:
        """Where responses come to rest, if they do, and the number of moves until then."""
        moves, follow = 0, walk if self.method == "exact" else sampled_walk
        for left, shrinking in zip(range(len(self.walks), 0, -1), self.walks, strict=True):
            moves, self.search.budget = 0, budget.part(1 / left)
            for rest in follow(self.search, policies, shrinking):
                if rest is not None:
                    return rest, moves
                moves += 1
        return None, moves


def sampled_walk(search: Search, start: Tensor, radii: tuple[float | None, ...]) -> Proposals:
    """As `walk`; the sender moves for whom the best of random deviations gains most."""
    game = search.game
    generator = search.generator("learned game")
    deviations = DEVIATIONS_PER_ENTRY * game.n_states * game.n_signals
    units = game.payoff_range.where(game.payoff_range > 0, 1.0)
    policies = torch.from_numpy(exact_rows(start))
    for radius in radii:
        least = LEAST_GAIN * (1.0 if radius is None else min(1.0, 10 * radius))
        for _ in range(RESPONSES_PER_RADIUS * game.n_senders):
            if search.budget.over:
                return
            seed = int(torch.randint(2**31, (), generator=generator))
            gain, witness = best_sampled(game, policies[None], radius, seed, deviations)
            sender = int((gain[0] / units).argmax())
            if gain[0, sender] <= least * units[sender]:
                break
            policies = policies.clone()
            policies[sender] = witness[0, sender]
            yield None
        else:
            if radius == radii[-1]:
                return
    yield policies
