"""Full revelation: its utilities, and an equilibrium profile that brings it about.

Theorem 4 of the paper: let a code of joint signals, pairwise at Hamming distance at least 2, tell
the receiver its optimal action. Then no single sender can hide the action.

The paper assumes a unique optimal action in every state. The tie rules here need no such
assumption. Let the code tell which action a the receiver takes in the state. Whatever one sender
does, the others' signals leave only states possible in which a is taken, so a is optimal at every
belief over them. If another action b is also optimal at such a belief, it ties with a in each state
of positive probability. In these states the rule takes a: b has a higher index, or, under
`"senders"`, a lower sum of utilities, or the same sum and a higher index. So the rule takes a at
the belief, too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from games import PersuasionGame
from games.persuasion import persuasion_game
from games.persuasion.simulation import TIE_TOLERANCE, Scratch
from games.surroundings import contract, own_surroundings

# As fractions of the simulator's tie tolerance: an action this close to the best one is as good;
# one further from it than this is never taken.
EQUAL, CLEARLY_WORSE = 1e-3, 1.5


@dataclass(frozen=True, eq=False)
class FullRevelation:
    """The senders' utilities when the receiver always learns its optimal action.

    Attributes:
        policies: `(N, S, M)`, a pure profile that reveals the optimal action; None if the senders
            have too few joint signals.
        utilities: `(N,)`, `sum_s mu(s) u_n(s, a*(s))`.
        is_equilibrium: whether `policies` is a global Nash equilibrium by Theorem 4: the joint
            signals used are pairwise at Hamming distance at least 2, and in no state of positive
            probability do actions tie within the tolerance only. False means that the theorem does
            not apply, not that the profile is no equilibrium.
    """

    policies: Tensor | None
    utilities: Tensor
    is_equilibrium: bool

    def __repr__(self) -> str:
        utilities = ", ".join(f"{utility:.6g}" for utility in self.utilities.tolist())
        profile = "none" if self.policies is None else f"{tuple(self.policies.shape)}"
        return (
            f"FullRevelation(utilities=({utilities}), is_equilibrium={self.is_equilibrium}, "
            f"policies: {profile})"
        )


@own_surroundings()
def full_revelation(game: PersuasionGame) -> FullRevelation:
    """Full revelation of the optimal action in `game`.

    If the optimal actions are at most `M**(N-1)`, the profile uses the code "last symbol = sum of
    the others modulo M". If they are at most `M**N`, it uses plain joint signals, which reveal the
    action but need not be an equilibrium. Otherwise there is no profile.
    """
    persuasion_game(game)
    action = _action_in_each_state(game)  # (S,)
    states = torch.arange(game.n_states, device=action.device)
    picked = game.sender_utility[:, states, action]  # (N, S)
    utilities = contract("ns,s->n", picked, game.prior)
    possible = game.prior > 0
    distinct = action[possible].unique()
    robust = len(distinct) <= game.n_signals ** (game.n_senders - 1)
    if not robust and len(distinct) > game.n_signals**game.n_senders:
        return FullRevelation(None, utilities, False)

    # States of probability 0 send the code of the first optimal action.
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


def best_baseline_welfare(game: PersuasionGame) -> float:
    """The higher of the senders' summed utilities: under full revelation or no information."""
    revealed, silent = full_revelation(game).utilities, game.no_information()
    return max(revealed.sum().item(), silent.sum().item())


def _action_in_each_state(game: PersuasionGame) -> Tensor:
    """The receiver's action in every state `(S,)`, by the game's own rule."""
    certain = torch.eye(game.n_states, dtype=game.prior.dtype, device=game.prior.device)
    receiver = game.stacked().receiver(certain)
    actions = receiver.react(
        certain[None, None], torch.ones_like(certain[None, None, :1]), Scratch(certain)
    )
    return actions[0, 0, :, 0]


def _is_clear(game: PersuasionGame, possible: Tensor) -> bool:
    """Whether in every possible state any action is either optimal or clearly worse."""
    v = game.receiver_utility[possible]
    short = v.amax(1, keepdim=True) - v
    unit = game.tie_units(v.dtype)[0]
    equal = short <= EQUAL * TIE_TOLERANCE[v.dtype] * unit
    return bool((equal | (short > CLEARLY_WORSE * TIE_TOLERANCE[v.dtype] * unit)).all())
