"""The members of the portfolio by name."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dnl.finding.blocks import blocks
from dnl.finding.gradients import extragradient_smoothed
from dnl.finding.responses import global_responses, local_responses
from dnl.finding.search import Proposals, Search
from dnl.revelation import full_revelation


def no_information(search: Search) -> Iterator[Tensor]:
    """All signals whatever the state: nearly always a local equilibrium, and worth the least."""
    game = search.game
    shape = (game.n_senders, game.n_states, game.n_signals)
    yield torch.full(shape, 1 / game.n_signals, dtype=torch.float64)


def revelation(search: Search) -> Iterator[Tensor]:
    """Full revelation by a code that no single sender can break, where there is one."""
    found = full_revelation(search.game)
    if found.policies is not None:
        yield found.policies


MEMBERS: dict[str, Callable[[Search], Proposals]] = {
    "no-information": no_information,
    "full-revelation": revelation,
    "blocks": blocks,
    "responses": global_responses,
    "local-responses": local_responses,
    "extragradient": extragradient_smoothed,
}
