"""A planner's best recommendation, sent by one sender.

The planner knows the state and maximises what the search ranks by, welfare by default, under one of
three constraints. First every sender must get the most that any profile could give it; such a
profile is a global equilibrium, since nobody can gain. Then every sender must get what it could
secure by revealing the state. Last there is no constraint.
"""

from dnl.equilibria.one_speaker import fewest, spoken
from dnl.equilibria.search import Proposals, Search, canonical
from dnl.exact.deviation import MARGINS
from dnl.exact.recommendation import Recommendation
from dnl.exact.tolerance import TOLERANCE
from dnl.exact.welfare_ceiling import participation


def planner(search: Search) -> Proposals:
    """The planner's recommendations, sent by each sender in turn, the most constrained first."""
    game = search.plain
    worth = search.ranking.table(game).numpy()
    own = search.own - 0.5 * TOLERANCE * game.payoff_range
    best = tuple(
        (u.numpy(), least)
        for u, least, spread in zip(
            game.sender_utility, own.tolist(), game.payoff_range, strict=True
        )
        if spread > 0
    )
    seen: set[bytes] = set()
    for least in (best, participation(game), ()):
        if search.budget.over:
            return
        yield None
        program = Recommendation(game, worth, slack=-MARGINS[0], least=least)
        found = fewest(program, game, game.n_signals)
        if found is None:
            continue
        for speaker in range(game.n_senders):
            policies = spoken(game, speaker, found[0])
            key = canonical(policies)
            if key not in seen:
                seen.add(key)
                yield policies if search.survives(policies.unsqueeze(0))[0] else None
