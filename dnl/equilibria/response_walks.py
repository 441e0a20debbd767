"""Alternating exact best responses, global or within a shrinking radius.

A sender moves only if it gains more than a margin. A walk ends at a profile from which nobody
moves. If a profile comes back (a cycle, as undercutting in price competition) it is given up.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from dnl.equilibria.search import GLOBAL, Proposals, Search, canonical
from dnl.exact.best_response import exact_rows, respond
from dnl.exact.status import Status
from games.randomness import near_pure

MOST_WALKS = 36
PROFILES_PER_START = 500  # at most; the one of highest worth is the start
LEAST_GAIN = 1e-4  # as a fraction of the payoff range; a sender stays for less
RESPONSES_PER_RADIUS = 20  # of each sender
COARSE_TOLERANCE = 2e-3  # at radius 0.1: walks need improvements, not optima
SECONDS_PER_RESPONSE = 3.0
ENTRIES_PER_SECOND = 1e5  # joint signals x states x actions set up in a second
FIRST_RADII = (0.1, 0.03)  # of a local walk, before the radius of the search


def global_responses(search: Search) -> Proposals:
    """Walks of global best responses; they end at global equilibria up to the margin."""
    for start in starts(search, "responses"):
        yield from walk(search, start, (None,))


def local_responses(search: Search) -> Proposals:
    """Walks of best responses within a shrinking radius; of any size in the scope `"global"`."""
    for start in starts(search, "local-responses"):
        yield from walk(search, start, walk_radii(search))


def walk_radii(search: Search) -> tuple[float | None, ...]:
    """The radii of a walk to an equilibrium of the kind that is searched for."""
    return (None,) if search.scope == GLOBAL else radii(search.radius)


def radii(last: float) -> tuple[float, ...]:
    """The radii of a local walk, shrinking to `last`."""
    return (*(r for r in FIRST_RADII if r > last), last)


def starts(search: Search, member: str) -> Iterator[Tensor]:
    """In turn: a random profile, the best of many in worth, the best of many near-pure ones."""
    game = search.game
    generator = search.generator(member)
    shape = (game.n_senders, game.n_states)
    many = min(PROFILES_PER_START, search.at_once)
    for index in range(MOST_WALKS):
        if search.budget.over:
            return
        random = game.sample_policies(1 if index % 3 == 0 else many, generator)
        if index % 3 == 2:
            labels = torch.randint(game.n_signals, (many, *shape), generator=generator)
            random = near_pure(labels, random, 0.05)
        yield random[search.worth(random).argmax()]


def walk(search: Search, start: Tensor, radii: tuple[float | None, ...]) -> Proposals:
    """From `start (N, S, M)` until nobody moves, radius by radius; proposes the end point."""
    game = search.game
    size = game.n_signals**game.n_senders * game.n_states * game.n_actions
    policies = start.clone()
    for radius in radii:
        seen = {canonical(policies)}
        quiet = steps = 0
        share = 1.0 if radius is None else min(1.0, 10 * radius)
        margin = max(LEAST_GAIN * share, 0.5 * search.allowed(radius))
        while quiet < game.n_senders and steps < RESPONSES_PER_RADIUS * game.n_senders:
            if search.budget.left * ENTRIES_PER_SECOND <= size:
                search.cut = True
                return
            n = steps % game.n_senders
            steps += 1
            budget = search.budget.at_most(SECONDS_PER_RESPONSE)
            tolerance = max(0.3 * margin, COARSE_TOLERANCE * share) if radius else 0.3 * margin
            response = respond(game, exact_rows(policies), n, radius, budget, tolerance)
            search.cut |= response.status == Status.TIME_LIMIT
            if response.gain <= margin * game.payoff_range[n].item():
                quiet += 1
                continue
            quiet = 0
            policies = policies.clone()
            policies[n] = response.policy
            key = canonical(policies)
            if key in seen:  # a cycle
                return
            seen.add(key)
            yield None
        if quiet < game.n_senders and radius == radii[-1]:
            return
    yield policies
