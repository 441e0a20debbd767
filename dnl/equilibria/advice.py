"""What to do after a search for equilibria, in sentences.

`next_steps(game, equilibria, scope=, rank_by=, status=)` gives a tuple of sentences. They say how
good an equilibrium can be at all, why the search ended, and why verdicts are undecided. Each names
what can help, and nothing else: more time only where the clock ended the search or a proof, another
tie rule only where a value is a limit that the receiver's rule does not grant.
"""

from collections.abc import Iterator, Sequence

import torch

from dnl.equilibria.equilibrium import Equilibrium
from dnl.equilibria.one_speaker import fewest, spoken
from dnl.equilibria.ranking import WELFARE, RankBy, Ranking, ranking_of
from dnl.equilibria.search import GLOBAL, GLOBAL_SHARE
from dnl.equilibria.verification import Verdict
from dnl.exact.best_response import ATTAINED_GAP
from dnl.exact.full_revelation import full_revelation
from dnl.exact.recommendation import Recommendation
from dnl.exact.status import Status
from dnl.exact.tolerance import allowed_gain
from dnl.exact.welfare_ceiling import WelfareCeiling
from dnl.runtime.budget import FOREVER, Budget
from games import PersuasionGame
from games.surroundings import own_surroundings

LONGER = "a longer time_limit (--time-limit)"


@own_surroundings()
def next_steps(
    game: PersuasionGame,
    equilibria: Sequence[Equilibrium],
    *,
    scope: str = "local",
    rank_by: RankBy = WELFARE,
    status: str | None = None,
    budget: Budget = FOREVER,
) -> tuple[str, ...]:
    """Sentences that say how good the best can be, why the search ended, and what would help.

    Equilibria are called by their number in the list, from 1.

    Args:
        game: the true game.
        equilibria: what was found, in order; may be empty.
        scope, rank_by: of the search.
        status: how the search ended: `"complete"`, `"time limit"` or `"interruption"`; None for
            that of the equilibria (unknown if there are none).
        budget: for the proven ceilings.
    """
    game = game.to("cpu", torch.float64)
    ranking = ranking_of(game, rank_by)
    ceiling = ranking.ceiling(game, budget)
    if status is None and equilibria:
        status = equilibria[0].status
    nash = [place for place, one in enumerate(equilibria) if one.is_global]
    worth = [ranking.of(game, one.policies).item() for one in equilibria]
    steps: list[str] = []
    best = max(nash, key=worth.__getitem__) if nash else None
    met = False
    if best is not None:
        short = ceiling.global_equilibrium - worth[best]
        met = short <= ranking.slack_of_ceiling(game)
        steps.append(_best_nash(best, worth[best], met, ceiling, ranking))
    else:
        steps += _no_nash(game, equilibria, scope)
    if scope != GLOBAL and equilibria:
        top = max(range(len(worth)), key=worth.__getitem__)
        if worth[top] >= ceiling.any_profile - ranking.slack(game) and top not in nash:
            steps.append(
                f"No profile of policies has a higher {ranking.label} than number {top + 1} "
                f"({worth[top]:.6g}, proven). So only Nash equilibria are left to search for."
            )
    if not met:
        steps += _ended(status, scope)
    steps += _undecided(game, equilibria)
    if best is not None and met and (limit := _limit(game, worth[best], best, ceiling, ranking)):
        steps.append(limit)
    return tuple(steps)


def _best_nash(
    place: int, worth: float, met: bool, ceiling: WelfareCeiling, ranking: Ranking
) -> str:
    if met:
        return (
            f"Number {place + 1} has the highest {ranking.label} of all Nash equilibria "
            f"({worth:.6g}, proven): no search can find a better one."
        )
    return (
        f"Number {place + 1} is the best Nash equilibrium found ({ranking.label}: {worth:.6g}). It "
        f"is proven that none exceeds {ceiling.global_equilibrium:.6g}."
    )


def _no_nash(game: PersuasionGame, equilibria: Sequence[Equilibrium], scope: str) -> Iterator[str]:
    none = "No profile was certified" if not equilibria else "None of them is proven to be Nash"
    if scope == GLOBAL:
        none = "No Nash equilibrium was certified"
    if full_revelation(game).is_equilibrium:
        yield (
            f"{none}, yet full revelation is a Nash equilibrium of this game (Theorem 4 of the "
            'paper): members=["full-revelation"] (--members full-revelation) finds it.'
        )
    else:
        yield f"{none}. This does not show that there is none: a search tries some profiles only."
    if scope != GLOBAL:
        yield 'scope="global" (--global) spends the whole search on Nash equilibria.'


def _ended(status: str | None, scope: str) -> Iterator[str]:
    """Why the search ended, where something better may exist."""
    if status == "complete":
        yield (
            "All members of the search came to their end before the clock did. More time changes "
            "nothing, but another seed (--seed) or other members (--members) may find a better one."
        )
    elif status == "time limit":
        kept = GLOBAL_SHARE[scope]
        yield (
            f"The clock ended the search or one of its proofs (the last {kept:.0%} of the time are "
            f"for proofs of what was found): {LONGER} may find a better one."
        )
    elif status == "interruption":
        yield "The search was interrupted: run to its end, it may find a better one."


def _undecided(game: PersuasionGame, equilibria: Sequence[Equilibrium]) -> Iterator[str]:
    """Why verdicts on Nash are undecided, and what decides them."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(equilibria):
        if one.nash is Verdict.UNDECIDED:
            for reason in _reasons(one):
                places.setdefault(reason, []).append(place + 1)
    for reason, found in places.items():
        names = ", ".join(map(str, found))
        which = f"number {names} is" if len(found) == 1 else f"numbers {names} are"
        yield f"Whether {which} Nash is undecided: {_remedy(reason, game)}"


def _reasons(one: Equilibrium) -> set[str]:
    """The statuses of the senders whose bound is too high for a certificate."""
    found = one.global_verification
    high = found.relative_gain > allowed_gain(found.tolerance, None)
    return {status for status, is_high in zip(found.status, high.tolist(), strict=True) if is_high}


def _remedy(reason: str, game: PersuasionGame) -> str:
    if reason == Status.TIME_LIMIT:
        return (
            f"the proof ran out of time. {LONGER[0].upper()}{LONGER[1:]}, or "
            "verify(game, policies, None, time_limit=...), may decide."
        )
    if reason == Status.MEMORY_LIMIT:
        return (
            "the program of the proof has more entries than memory allows. More time does not "
            "help; fewer signals, states or actions would."
        )
    if reason == Status.NOT_ATTAINED:
        other = ', tie_break="senders" may' if game.tie_break == "first" else ""
        return (
            "the largest gain is a limit at which the receiver is indifferent, and no deviation "
            f"was found that its rule {game.tie_break!r} grants. More time does not help{other}."
        )
    if reason == Status.SUSPECT:
        return Status.SUSPECT.advice[0].lower() + Status.SUSPECT.advice[1:]
    return (
        "the largest possible gain is about as large as the tolerance. verify with a larger "
        "tolerance certifies, with a smaller one refutes."
    )


def _limit(
    game: PersuasionGame, worth: float, place: int, ceiling: WelfareCeiling, ranking: Ranking
) -> str | None:
    """A sentence where the best value is a limit only, and the rule `"senders"` attains it."""
    # Where senders' demands lower the ceiling of Nash equilibria, the planner below has others.
    short, most = ceiling.any_profile - worth, ranking.slack(game)
    attained = ATTAINED_GAP * ranking.spread(game)
    if game.tie_break != "first" or not attained < short <= most:
        return None
    arguments = game.prior, game.receiver_utility, game.sender_utility, game.n_signals
    granting = PersuasionGame(*arguments, tie_break="senders")
    program = Recommendation(granting, ranking.table(granting).numpy(), slack=0.0)
    found = fewest(program, granting, granting.n_signals)
    if found is None:
        return None
    best = ranking.of(granting, spoken(granting, 0, found[0])).item()
    if best < ceiling.any_profile - attained:
        return None
    return (
        f"The {ranking.label} of number {place + 1} is {short:.1g} below the ceiling. The ceiling "
        "is a limit: there the receiver is indifferent, and its rule 'first' takes another action. "
        'With tie_break="senders" a profile attains it.'
    )
