"""What to do after a search for equilibria, in sentences.

`next_steps(game, equilibria, scope=, rank_by=, status=)` gives a tuple of sentences. Each says what
is known and, where something can help, what: more time only where the clock ended the search or a
proof, another tie rule only where a value is a limit that the receiver's rule does not grant.
"""

from collections.abc import Sequence

from dnl.equilibria.equilibrium import Equilibrium
from dnl.equilibria.ranking import WELFARE, RankBy
from dnl.runtime.budget import FOREVER, Budget
from games import PersuasionGame


def next_steps(
    game: PersuasionGame,
    equilibria: Sequence[Equilibrium],
    *,
    scope: str = "local",
    rank_by: RankBy = WELFARE,
    status: str | None = None,
    budget: Budget = FOREVER,
) -> tuple[str, ...]:
    """Sentences that say why the search ended, how good the best can be, and what would help.

    Args:
        game: the true game.
        equilibria: what was found, in order.
        scope, rank_by: of the search.
        status: how the search ended: `"complete"`, `"time limit"` or `"interruption"`; None for
            that of the equilibria.
        budget: for proven ceilings.
    """
    return ()
