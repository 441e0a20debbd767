"""Figure 1: a sender's utility over two policy entries, as it is and as the surrogates predict it.

First row: both policies in state 0 are fixed and the probabilities of signal 0 in state 1 vary;
second row: the reverse. The paper does not state its fixed values; ours are the constants below.
"""

from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dnl import FitConfig, fit
from dnl.reporting.figures import write_figure
from dnl.runtime import cli
from dnl.runtime.records import claim
from dnl.surrogates.registry import PAPER_SURROGATES
from games import checks, didactic_game

SENDER = 0
# Row -> (state that is fixed, probability of signal 0 there for senders 0 and 1).
ROWS = ((0, (0.7, 0.6)), (1, (0.35, 0.25)))
TITLES = {"relu": "ReLU", "delu": "DeLU", "dnl": "DNL"}


def landscape(fixed_state: int, fixed: tuple[float, float], points: int) -> tuple[Tensor, Tensor]:
    """A grid on [0, 1]: values `(points,)` and profiles `(points, points, 2, 2, 2)`."""
    values = torch.linspace(0, 1, points, dtype=torch.float64)
    first = torch.empty(points, points, 2, 2, dtype=torch.float64)  # probability of signal 0
    first[..., 0, fixed_state], first[..., 1, fixed_state] = fixed
    first[..., 0, 1 - fixed_state] = values.unsqueeze(1)
    first[..., 1, 1 - fixed_state] = values
    return values, torch.stack([first, 1 - first], -1)


def main(
    *,
    samples: int = 500_000,
    epochs: int = 200,
    seed: int = 0,
    out: Path = Path("results/didactic_landscapes"),
    small: bool = False,
) -> int:
    """Draw Figure 1; the defaults are the paper's budget.

    Args:
        samples: Training profiles.
        epochs: Passes over them.
        seed: Seed of the data, the initialisation and the order of samples.
        out: Folder of the figure and of the training logs.
        small: Run for seconds instead of the paper's budget.
    """
    checks.positive_integer("seed", seed, least=0)
    game = didactic_game()
    config = FitConfig(samples=samples, epochs=epochs)
    points = 61
    if small:
        config = FitConfig(samples=500, test_samples=500, epochs=1)
        points = 11
    held = claim(out, asdict(config) | {"seed": seed})
    order = ["dnl", "relu", "delu"]  # the paper's
    fitted = {
        name: fit(game, name, config, seed, directory=out / name, progress=not small)
        for name in sorted(PAPER_SURROGATES, key=order.index)
    }
    figure = Figure(figsize=(17, 10), layout="constrained")
    for row, (state, fixed) in enumerate(ROWS):
        values, profiles = landscape(state, fixed, points)
        flat = profiles.flatten(0, 1)
        surfaces = {"True utility": game.ex_ante_utility(flat)[:, SENDER]}
        for name, surrogate in fitted.items():
            title = f"{TITLES[name]} (unexplained variance {surrogate.unexplained[SENDER]:.3f})"
            surfaces[title] = surrogate(flat)[:, SENDER]
        true = surfaces["True utility"]
        margin = 0.15 * (true.max() - true.min()).item()
        for column, (title, surface) in enumerate(surfaces.items()):
            axes = figure.add_subplot(2, 4, 4 * row + column + 1, projection="3d")
            x, y = torch.meshgrid(values, values, indexing="ij")
            z = surface.reshape(points, points).detach()
            axes.plot_surface(
                x.numpy(), y.numpy(), z.numpy(), cmap="viridis", rcount=points, ccount=points
            )
            axes.set_zlim(true.min().item() - margin, true.max().item() + margin)
            axes.set_title(title if row == 0 else title.split(" (")[0])
            axes.set_xlabel("sender 0")
            axes.set_ylabel("sender 1")
            axes.view_init(elev=28, azim=-125)
            if column == 0:
                axes.set_title(f"{title}\nover P(signal 0 | state {1 - state})")
    figure.suptitle(
        f"Sender {SENDER}'s ex-ante utility, didactic game "
        f"({config.samples:,} samples, {config.epochs} epochs)"
    )
    path = out / "didactic_landscapes.png"
    write_figure(path, figure, dpi=110)
    held.release()
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.didactic_landscapes"))
