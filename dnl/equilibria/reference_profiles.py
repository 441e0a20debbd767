"""The two profiles that others are compared with: full revelation and no information."""

import torch

from dnl.equilibria.search import Proposals, Search
from dnl.exact.full_revelation import full_revelation


def no_information(search: Search) -> Proposals:
    """All signals whatever the state: nearly always a local equilibrium, and worth the least."""
    game = search.game
    shape = (game.n_senders, game.n_states, game.n_signals)
    yield torch.full(shape, 1 / game.n_signals, dtype=torch.float64)


def revelation(search: Search) -> Proposals:
    """Full revelation by a code that no single sender can break, where there is one."""
    found = full_revelation(search.game)
    if found.policies is not None:
        yield found.policies
