"""Speed of extra-gradient, against a backward pass for each sender."""

import torch
from torch import Tensor

from dnl import FitConfig, extragradient, fit_many
from dnl.surrogates.fitted import stack_surrogates
from dnl.surrogates.registry import Shape
from experiments.shared.timing import row, seconds
from games import synthetic_game


def ascents(
    shape: Shape, n_games: int, starts: int, device: torch.device
) -> list[dict[str, object]]:
    """DNLs of `n_games` games, hardly trained: training does not change the time of an ascent."""
    games = [synthetic_game(*shape, seed, "contested") for seed in range(n_games)]
    config = FitConfig(samples=600, test_samples=2, epochs=1, device=str(device))
    utility = stack_surrogates([one.to(device) for one in fit_many(games, "dnl", config)])
    begin = torch.stack([game.sample_policies(starts) for game in games]).float().to(device)

    def plain(policies: Tensor) -> Tensor:
        return utility(policies)  # a function has no `own_gradient`

    one_by_one = seconds(lambda: extragradient(plain, begin), repeats=3)
    at_once = seconds(lambda: extragradient(utility, begin), repeats=3)
    n_senders, n_signals, n_states, n_actions = shape
    what = f"extra-gradient on DNL, {n_games} games of N={n_senders} "
    what += f"({n_signals},{n_states},{n_actions}), {starts} starts, seconds: "
    what += "a backward pass for each sender"
    return [row(what, one_by_one, at_once, one_by_one / at_once)]
