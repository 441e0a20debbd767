"""Small fits, and a small module to minimise, for the tests of the trainer."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.registry import Architecture
from dnl.training.trainer import CHUNK, Loss
from games import synthetic_game

# 70 = 2 * 32 + 6: the last batch of every epoch is a partial one.
TINY = FitConfig(
    samples=70,
    test_samples=50,
    epochs=4,
    batch_size=32,
    architecture=Architecture(hidden=(8, 8, 8), hyper=(4, 4), followers=2),
    dtype="float64",
    device="cpu",
)
GAMES = [synthetic_game(2, 2, 3, 3, seed=seed, law="contested") for seed in range(2)]
STEPS = 2 * CHUNK + 3  # the last chunk is a partial one


def assert_equal(first: FittedSurrogate, second: FittedSurrogate) -> None:
    """The same networks and errors, to the last bit."""
    pairs = zip(first.networks.parameters(), second.networks.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    for field in ("mean", "scale", "mse", "unexplained"):
        assert torch.equal(getattr(first, field), getattr(second, field))


def raising_after(epoch: int, error: BaseException) -> Callable[[int, int], None]:
    def on_epoch(done: int, total: int) -> None:
        if done == epoch:
            raise error

    return on_epoch


def assert_logged(directory: Path) -> None:
    """One line per epoch, one column per network."""
    metrics = pd.read_csv(directory / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1, 2, 3]
    columns = [f"game{g}_sender{n}" for g in range(2) for n in range(2)]
    assert set(columns) <= set(metrics.columns)
    assert metrics[columns].notna().all(axis=None)


class Point(nn.Module):
    """A point, and another that is not trained."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([1.0, -2.0], dtype=dtype))
        self.fixed = nn.Parameter(torch.ones(2, dtype=dtype), requires_grad=False)


def moving(module: nn.Module, step: int) -> Tensor:
    """Squared distance to where a target is at this step."""
    assert isinstance(module, Point)
    return (module.at - module.fixed * step / STEPS).square().sum()


def plain_adam(
    point: Point,
    loss: Loss,
    steps: int,
    rate: Callable[[float], float] = lambda progress: 1.0,
    fused: bool = True,
) -> torch.optim.Adam:
    """Minimise step by step, with a learning rate of 0.1."""
    adam = torch.optim.Adam([point.at], fused=fused)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 0.1 * rate(step / steps)
        adam.zero_grad()
        loss(point, step).backward()
        adam.step()
    return adam
