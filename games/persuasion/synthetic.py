"""The paper's random benchmark games (section 5.2), and a law under which they are contested."""

import torch

from games import checks
from games.contested import first_contested
from games.persuasion.game import PersuasionGame
from games.randomness import stream, uniform_distributions

LAWS = ("paper", "contested")
UTILITY_SCALE = 10.0  # standard deviation: the paper's variance is 100
CONTESTED_SHARE = 1e-3  # of a sender's utility range: its least standard deviation
MAX_DRAWS = 10_000  # of games until one is contested


def synthetic_game(
    n_senders: int, n_signals: int, n_states: int, n_actions: int, seed: int, law: str = "paper"
) -> PersuasionGame:
    """A random game of the benchmark.

    Args:
        n_senders, n_signals, n_states, n_actions: sizes, each at least 1.
        seed: the instance; same sizes, law and seed give the same game.
        law: `"paper"`: utilities normal with standard deviation 10, prior the softmax of such
            normals. These priors are nearly degenerate, and in many such games the receiver never
            changes action: every utility is then constant. `"contested"` (ours): prior uniform on
            the simplex, utilities as before, redrawn until every sender's utility has, over 1,024
            random profiles, a standard deviation of at least 0.001 of the difference between its
            highest and its lowest utility in the table.

    Returns:
        A float64 game on the CPU with the tie rule `"first"`.

    Raises:
        ValueError: for a size below 1, a seed that is no integer >= 0, an unknown law, or a
            contested game with a single state, signal or action (no such game exists).
    """
    sizes = {
        "n_senders": n_senders,
        "n_signals": n_signals,
        "n_states": n_states,
        "n_actions": n_actions,
    }
    for name, size in sizes.items():
        checks.positive_integer(name, size)
    checks.positive_integer("seed", seed, least=0)
    checks.one_of("law", law, LAWS)
    generator = stream("game", law, n_senders, n_signals, n_states, n_actions, seed)

    def normal(*size: int) -> torch.Tensor:
        return UTILITY_SCALE * torch.randn(*size, dtype=torch.float64, generator=generator)

    def draw() -> PersuasionGame:
        if law == "paper":
            prior = normal(n_states).softmax(0)
        else:
            prior = uniform_distributions((n_states,), generator)
        return PersuasionGame(
            prior,
            receiver_utility=normal(n_states, n_actions),
            sender_utility=normal(n_senders, n_states, n_actions),
            n_signals=n_signals,
        )

    if law == "paper":
        return draw()
    for name in ("n_signals", "n_states", "n_actions"):
        if sizes[name] == 1:
            raise ValueError(f"{name} must be at least 2 under law 'contested', got 1")
    return first_contested(draw, _is_contested, generator, MAX_DRAWS)


def _is_contested(game: PersuasionGame, policies: torch.Tensor) -> bool:
    """Whether every sender's utility depends on `policies (B, N, S, M)`."""
    spread, u = game.ex_ante_utility(policies).std(0), game.sender_utility
    return bool((spread >= CONTESTED_SHARE * (u.amax((1, 2)) - u.amin((1, 2)))).all())
