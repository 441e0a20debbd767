"""Speed of training surrogates, against plain versions (`plain.py`)."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from dnl import FitConfig, fit, fit_many
from dnl.surrogates.registry import Shape, make_surrogate, parameter_count
from experiments.shared.plain import PlainDNL, SideBySide, plain_lightning_fit
from experiments.shared.timing import row, seconds
from games import synthetic_game

# Size of the matrices whose product measures the peak.
PRODUCT = {"cpu": 1024, "cuda": 8192}


def training_rate(
    network: nn.Module, features: int, batch: int, steps: int, device: torch.device
) -> float:
    """Samples per second of Adam steps on random data, the median step of `steps`."""
    network.to(device)
    x, y = torch.rand(batch, features, device=device), torch.randn(batch, 1, device=device)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)

    def step() -> None:
        loss = (network(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step()
    return batch / seconds(step, repeats=steps)


def dnl_training(
    shape: Shape, batches: Sequence[int], steps: int, device: torch.device
) -> list[dict[str, object]]:
    """DNL's training, emitted layers as matrix products, against a weight matrix per sample.

    Each at its best of `batches`. A weight is multiplied with each sample once in the forward pass
    and twice in the backward pass, so a sample takes 6 operations for each of the parameters.
    """
    n_senders, n_signals, n_states, _ = shape
    features = n_senders * n_signals * n_states
    size = PRODUCT[device.type]
    factor = torch.rand(size, size, device=device)
    rates: dict[tuple[str, int], list[float]] = {}
    peaks = []
    for _ in range(3):  # in turns, so that a slow moment of the machine affects all
        for batch in batches:
            for name in ("plain", "library"):
                network = PlainDNL(features) if name == "plain" else make_surrogate("dnl", shape)
                rate = training_rate(network, features, batch, steps, device)
                rates.setdefault((name, batch), []).append(rate)
            product = seconds(lambda: factor @ factor, repeats=10)
            peaks.append(2 * size**3 / product)
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


def stacked_fits(
    n_games: int, samples: int, epochs: int, device: torch.device
) -> list[dict[str, object]]:
    """ReLU on `n_games` games of N = 2, (2, 2, 2): `fit_many` against separate fits."""
    games = [synthetic_game(2, 2, 2, 2, seed, "contested") for seed in range(n_games)]
    config = FitConfig(samples=samples, test_samples=1000, epochs=epochs, device=str(device))
    fit(games[0], "relu", replace(config, samples=600, epochs=1))  # what only a first fit takes

    def plain() -> None:
        for game in games:
            profiles = game.sample_policies(samples)
            y = game.ex_ante_utility(profiles)
            y = ((y - y.mean(0)) / y.std(0)).float()
            network = SideBySide(
                make_surrogate("relu", (2, 2, 2, 2)) for _ in range(game.n_senders)
            )
            plain_lightning_fit(
                network, profiles.flatten(1).float(), y, epochs, accelerator=device.type
            )

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


def one_after_another(
    shape: Shape, n_games: int, samples: int, epochs: int, alone: int, device: torch.device
) -> list[dict[str, object]]:
    """DNL of `n_games` games as one stack, against Lightning fits of one network each.

    Only the training counts. Each network takes as long as any other by itself, so `alone` of them
    are fitted, and their time stands for that of all.
    """
    games = [synthetic_game(*shape, seed, "contested") for seed in range(n_games)]
    config = FitConfig(samples=samples, test_samples=100, epochs=epochs, device=str(device))
    fit(games[0], "dnl", replace(config, samples=600, epochs=1))  # what only a first fit takes
    together = sum(one.fit_seconds for one in fit_many(games, "dnl", config))
    networks = n_games * shape[0]
    profiles = games[0].sample_policies(samples)
    y = games[0].ex_ante_utility(profiles)[:, :1]
    x, y = profiles.flatten(1).float(), ((y - y.mean()) / y.std()).float()

    def plain() -> None:
        for _ in range(alone):
            network = make_surrogate("dnl", shape)
            plain_lightning_fit(network, x, y, epochs, accelerator=device.type)

    apart = seconds(plain) * networks / alone
    n_senders, n_signals, n_states, n_actions = shape
    what = f"DNL, {networks} networks of N={n_senders} ({n_signals},{n_states},{n_actions}), "
    what += f"{samples} samples, {epochs} epochs, seconds: one Lightning fit after the other "
    what += f"({alone} of them, times {networks / alone:g})"
    return [row(what, apart, together, apart / together)]


def quieten() -> None:
    """Silence Lightning in the plain fits."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
