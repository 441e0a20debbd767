"""Full revelation: the comparison value of every table, and as an equilibrium profile.

Theorem 4 of the paper: a code of joint signals that are pairwise at Hamming distance at least 2
tells the receiver its optimal action, and no single sender can hide it.

The paper asks for a unique optimal action in every state. Under the tie rules here that is not
needed. Let the code tell which action the receiver takes in the state. Whatever one sender does,
the others' signals leave only states possible in which that action a is taken, so a is optimal at
every belief over them. Another action b that is optimal there, too, ties with a in each state of
positive probability. There the rule took a: b has a higher index, or, under `"senders"`, no higher
sum of utilities and where the sums are equal a higher index. So a is taken at the belief.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from games import PersuasionGame, checks
from games.persuasion.simulation import TIE_TOLERANCE, Scratch
from games.surroundings import contract, own_surroundings


@dataclass(frozen=True, eq=False)
class FullRevelation:
    """What the senders get, and how, when the receiver always learns its optimal action.

    Attributes:
        policies: `(N, S, M)`, a pure profile that reveals the optimal action, or None where the
            senders have too few joint signals.
        utilities: `(N,)`, `sum_s mu(s) u_n(s, a*(s))`.
        is_equilibrium: `policies` is a global Nash equilibrium by Theorem 4: the joint signals used
            are pairwise at Hamming distance at least 2, and in no state of positive probability an
            action is worse than another by so little that only the tolerance makes them tie. False
            means that the theorem does not apply, not that the profile is known to fail.
    """

    policies: Tensor | None
    utilities: Tensor
    is_equilibrium: bool


@own_surroundings()
def full_revelation(game: PersuasionGame) -> FullRevelation:
    """Full revelation of the optimal action in `game`.

    The profile uses the code "last symbol = sum of the others modulo M" where it has room for all
    optimal actions (`M**(N-1)` at least their number), else plain joint signals, which reveal but
    can be deviated from, else there is no profile.
    """
    checks.instance("game", game, PersuasionGame)
    action = _action_in_each_state(game)  # (S,)
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
    return FullRevelation(policies, utilities, robust and _is_clear(game, possible))


def _action_in_each_state(game: PersuasionGame) -> Tensor:
    """The receiver's action in every state `(S,)`, by the game's own rule."""
    certain = torch.eye(game.n_states, dtype=game.prior.dtype, device=game.prior.device)
    receiver = game.stacked().receiver(certain)
    actions = receiver.react(
        certain[None, None], torch.ones_like(certain[None, None, :1]), Scratch(certain)
    )
    return actions[0, 0, :, 0]


def _is_clear(game: PersuasionGame, possible: Tensor) -> bool:
    """Whether actions in every possible state are either equally good, or clearly not."""
    v = game.receiver_utility[possible]
    short = v.amax(1, keepdim=True) - v
    unit = game.tie_units(v.dtype)[0]
    equal = short <= 1e-3 * TIE_TOLERANCE[v.dtype] * unit
    return bool((equal | (short > 1.5 * TIE_TOLERANCE[v.dtype] * unit)).all())
