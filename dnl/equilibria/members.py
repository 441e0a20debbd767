"""The members of the portfolio by name."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dnl.equilibria.agreement import agreement
from dnl.equilibria.blocks import all_blocks, blocks
from dnl.equilibria.division import division
from dnl.equilibria.gradient_ascent import extragradient_smoothed, surrogate_ends
from dnl.equilibria.one_speaker import one_speaker
from dnl.equilibria.planner import planner
from dnl.equilibria.response_walks import global_responses, local_responses
from dnl.equilibria.search import Proposals, Search
from dnl.exact.full_revelation import full_revelation
from dnl.surrogates.fitted import FitConfig
from dnl.surrogates.fitting import fit
from dnl.surrogates.registry import SURROGATES

SAMPLES, EPOCHS = 10_000, 10  # of the surrogates' fits: the benchmark's quick budget


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


def ascended(surrogate: str) -> Callable[[Search], Proposals]:
    """The paper's own way as a member: fit `surrogate` from samples, ascend it, finish."""

    def member(search: Search) -> Proposals:
        config = FitConfig(samples=SAMPLES, epochs=EPOCHS, test_samples=1_000, device="cpu")
        fitted = fit(search.game, surrogate, config, search.seed)
        yield None
        yield from surrogate_ends(search, fitted)

    return member


MEMBERS: dict[str, Callable[[Search], Proposals]] = {
    "no-information": no_information,
    "full-revelation": revelation,
    "agreement": agreement,
    "planner": planner,
    "division": division,
    "one-speaker": one_speaker,
    "blocks": blocks,
    "responses": global_responses,
    "local-responses": local_responses,
    "extragradient": extragradient_smoothed,
    "all-blocks": all_blocks,
    **{f"surrogate-{name}": ascended(name) for name in SURROGATES},
}
# Those that know the game; surrogates are for games that can only be sampled.
DEFAULT_MEMBERS = tuple(name for name in MEMBERS if not name.startswith("surrogate-"))
