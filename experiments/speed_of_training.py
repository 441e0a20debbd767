"""How fast surrogates are trained, against what one writes first (`plain.py`)."""

import logging
import warnings

import torch
from torch import nn

from dnl import FitConfig, fit, fit_many
from dnl.surrogates import Shape, make_surrogate, parameter_count
from experiments.plain import PlainDNL, SideBySide, plain_lightning_fit
from experiments.timing import row, seconds
from games import synthetic_game


def training_rate(network: nn.Module, features: int, batch: int, steps: int) -> float:
    """Samples per second of Adam steps on random data, the median step of `steps`."""
    x, y = torch.rand(batch, features), torch.randn(batch, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)

    def step() -> None:
        loss = (network(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step()
    return batch / seconds(step, repeats=steps)


def dnl_training(shape: Shape, steps: int) -> list[dict[str, object]]:
    """DNL's training, emitted layers as matrix products against a weight matrix per sample.

    Each at its best batch. A weight is multiplied with each sample once in the forward pass and
    twice in the backward pass, so a sample takes 6 operations for each of the parameters.
    """
    n_senders, n_signals, n_states, _ = shape
    features = n_senders * n_signals * n_states
    factor = torch.rand(1024, 1024)
    rates: dict[tuple[str, int], list[float]] = {}
    peaks = []
    for _ in range(3):  # in turns, so that a slow moment of the machine hits all
        for batch in (256, 512, 1024, 2048):
            for name in ("plain", "library"):
                network = PlainDNL(features) if name == "plain" else make_surrogate("dnl", shape)
                rate = training_rate(network, features, batch, steps)
                rates.setdefault((name, batch), []).append(rate)
            product = seconds(lambda: factor @ factor, repeats=10)
            peaks.append(2 * 1024**3 / product)
    middle = {way: sorted(rate)[1] for way, rate in rates.items()}
    plain, ours = (
        max((way for way in middle if way[0] == name), key=middle.__getitem__)
        for name in ("plain", "library")
    )
    what = f"DNL training, {features} inputs, samples/s (batch: plain {plain[1]}, library {ours[1]}"
    needed = 6 * parameter_count(make_surrogate("dnl", shape)) / sorted(peaks)[len(peaks) // 2]
    return [
        row(f"{what})", middle[plain], middle[ours], middle[ours] / middle[plain])
        | {
            "plain_share_of_peak": round(middle[plain] * needed, 3),
            "share_of_peak": round(middle[ours] * needed, 3),
        }
    ]


def stacked_fits(n_games: int, samples: int, epochs: int) -> list[dict[str, object]]:
    """ReLU on `n_games` games of N = 2, (2, 2, 2): `fit_many` against separate fits."""
    games = [synthetic_game(2, 2, 2, 2, seed, "contested") for seed in range(n_games)]
    config = FitConfig(samples=samples, test_samples=1000, epochs=epochs, device="cpu")
    fit(games[0], "relu", FitConfig(samples=600, test_samples=100, epochs=1, device="cpu"))

    def plain() -> None:
        for game in games:
            profiles = game.sample_policies(samples)
            y = game.ex_ante_utility(profiles)
            y = ((y - y.mean(0)) / y.std(0)).float()
            network = SideBySide(
                make_surrogate("relu", (2, 2, 2, 2)) for _ in range(game.n_senders)
            )
            plain_lightning_fit(network, profiles.flatten(1).float(), y, epochs)

    together = seconds(lambda: fit_many(games, "relu", config))
    one_by_one = seconds(lambda: [fit(game, "relu", config) for game in games])
    loaders = seconds(plain)
    what = f"ReLU, {n_games} games of N=2 (2,2,2), {samples} samples, {epochs} epochs, seconds"
    return [
        row(
            f"{what}: separate Lightning fits with a DataLoader",
            loaders,
            together,
            loaders / together,
        ),
        row(f"{what}: separate calls of dnl.fit", one_by_one, together, one_by_one / together),
    ]


def quieten() -> None:
    """Silence Lightning in the plain fits."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
