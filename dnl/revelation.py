"""Full revelation: the comparison value of every table, and as an equilibrium profile.

Theorem 4 of the paper: a code of joint signals that are pairwise at Hamming distance at least 2
tells the receiver its optimal action, and no single sender can hide it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from games import PersuasionGame
from games.simulation import TIE_TOLERANCE
from games.surroundings import contract


@dataclass(frozen=True, eq=False)
class FullRevelation:
    """What the senders get, and how, when the receiver always learns its optimal action.

    Attributes:
        policies: `(N, S, M)`, a pure profile that reveals the optimal action, or None where the
            senders have too few joint signals.
        utilities: `(N,)`, `sum_s mu(s) u_n(s, a*(s))`.
        is_equilibrium: `policies` is a global Nash equilibrium by Theorem 4: every state of
            positive probability has a unique optimal action, and the joint signals used are
            pairwise at Hamming distance at least 2. False means that the theorem does not apply,
            not that the profile is known to fail.
    """

    policies: Tensor | None
    utilities: Tensor
    is_equilibrium: bool


def full_revelation(game: PersuasionGame) -> FullRevelation:
    """Full revelation of the optimal action in `game`.

    The profile uses the code "last symbol = sum of the others modulo M" where it has room for all
    optimal actions (`M**(N-1)` at least their number), else plain joint signals, which reveal but
    can be deviated from, else there is no profile.
    """
    certain = torch.eye(game.n_states, dtype=game.prior.dtype, device=game.prior.device)
    action = _action_at(game, certain)  # (S,)
    states = torch.arange(game.n_states, device=action.device)
    picked = game.sender_utility[:, states, action]  # (N, S)
    utilities = contract("ns,s->n", picked, game.prior)
    possible = game.prior > 0
    distinct = action[possible].unique()
    robust = len(distinct) <= game.n_signals ** (game.n_senders - 1)
    if not robust and len(distinct) > game.n_signals**game.n_senders:
        return FullRevelation(None, utilities, False)

    # States of probability zero send what the first optimal action sends: nobody ever sees it.
    index = (action.unsqueeze(1) == distinct).to(torch.int64).argmax(1)  # (S,)
    free = game.n_senders - 1 if robust else game.n_senders
    symbols = [index // game.n_signals**place % game.n_signals for place in range(free)]
    if robust:
        checksum = torch.zeros_like(index)
        for symbol in symbols:
            checksum = (checksum + symbol) % game.n_signals
        symbols.append(checksum)
    code = torch.stack(symbols)  # (N, S)
    policies = torch.nn.functional.one_hot(code, game.n_signals).to(game.prior)
    return FullRevelation(policies, utilities, robust and _unique(game, possible))


def _action_at(game: PersuasionGame, beliefs: Tensor) -> Tensor:
    """The receiver's action at each belief `(B, S) -> (B,)`, by the game's own rule."""
    actions = []
    for belief in beliefs:
        known = PersuasionGame(
            belief, game.receiver_utility, game.sender_utility, 1, game.tie_break
        )
        silent = belief.new_ones(game.n_senders, game.n_states, 1)
        actions.append(known.receiver_action(silent)[0])
    return torch.stack(actions)


def _unique(game: PersuasionGame, possible: Tensor) -> bool:
    """Whether every possible state has one optimal action, by the receiver's tie tolerance."""
    v = game.receiver_utility[possible]
    if game.n_actions == 1:
        return True
    best, second = v.topk(2, dim=1).values.unbind(1)
    spread = game.receiver_utility.amax() - game.receiver_utility.amin()
    return bool((best - second > TIE_TOLERANCE[v.dtype] * spread).all())
