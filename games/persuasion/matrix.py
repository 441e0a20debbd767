"""Random matrix games of one sender, as in section 5 of "Learning to Persuade"."""

import torch

from games import checks
from games.persuasion.game import PersuasionGame
from games.randomness import stream


def random_matrix_game(
    n_states: int, n_actions: int, seed: int, n_signals: int | None = None
) -> PersuasionGame:
    """One sender and one receiver whose utilities are independent and uniform on [0, 1].

    The paper does not state its prior. Ours is uniform: the persuasion optima then have about the
    paper's means, and lower ones under priors drawn from the simplex. Ties go the sender's way, as
    optimal persuasion asks.

    Args:
        n_states, n_actions: at least 1.
        seed: the instance; same sizes and seed give the same game, in float64 on the CPU, whatever
            `n_signals`.
        n_signals: `M`; as many as actions unless given, with which the optimum can be had.

    Raises:
        ValueError: for a bad size or a seed that is no integer of at least 0.
    """
    n_states = checks.positive_integer("n_states", n_states)
    n_actions = checks.positive_integer("n_actions", n_actions)
    seed = checks.positive_integer("seed", seed, least=0)
    generator = stream("game", "matrix", n_states, n_actions, seed)
    sender, receiver = torch.rand(
        (2, n_states, n_actions), dtype=torch.float64, generator=generator
    )
    return PersuasionGame(
        prior=torch.full((n_states,), 1 / n_states, dtype=torch.float64),
        receiver_utility=receiver,
        sender_utility=sender.unsqueeze(0),
        n_signals=n_actions if n_signals is None else n_signals,
        tie_break="senders",
    )
