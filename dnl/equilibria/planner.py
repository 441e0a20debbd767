"""What a planner would recommend, said by one sender.

A planner who knows the state recommends actions so that welfare is highest. It is asked first to
give every sender the most that this sender could get by any profile: a profile that does so is a
global equilibrium, since nobody can gain. Where that is too much, it must give every sender what it
could secure by revealing everything; then nothing.
"""

from dnl.equilibria.one_speaker import fewest, spoken
from dnl.equilibria.search import Proposals, Search, canonical
from dnl.exact.deviation import MARGINS
from dnl.exact.recommendation import Recommendation
from dnl.exact.tolerance import TOLERANCE
from dnl.exact.welfare_ceiling import participation


def planner(search: Search) -> Proposals:
    """The planner's recommendations, by each sender in turn, the most just ones first."""
    game = search.plain
    welfare = game.sender_utility.sum(0).numpy()
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
        program = Recommendation(game, welfare, slack=-MARGINS[0], least=least)
        found = fewest(program, game, game.n_signals)
        if found is None:
            continue
        for speaker in range(game.n_senders):
            policies = spoken(game, speaker, found[0])
            key = canonical(policies)
            if key not in seen:
                seen.add(key)
                yield policies if search.survives(policies.unsqueeze(0))[0] else None
