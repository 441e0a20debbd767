"""Figure 1: a sender's utility over two policy entries, as it is and as the surrogates predict it.

In each of two planes, the probabilities of signal 0 in one state vary and those in the other state
are fixed. The paper does not state its fixed values; ours are the constants below. The values that
the figure shows are stored in `landscapes.csv`, so `experiments.redraw` needs no network.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from dnl import FitConfig, fit
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import claim
from dnl.runtime.tables import read_table, write_table
from dnl.surrogates.registry import PAPER_SURROGATES
from experiments.shared.redrawing import write_figures
from games import checks, didactic_game

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

SENDER = 0
# The state that is fixed, and the probabilities of signal 0 there for senders 0 and 1.
ROWS = ((0, (0.7, 0.6)), (1, (0.35, 0.25)))
CUT = 0.5  # sender 1's probability along which the utility is drawn as a curve
DIGITS = 6  # stored decimals of utilities


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
    """Compute and draw Figure 1; the defaults are the paper's budget.

    Args:
        samples: Training profiles.
        epochs: Passes over them.
        seed: Seed of the data, the initialisation and the order of samples.
        out: Folder of the tables, the figure and the training logs.
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
    fitted = {
        name: fit(game, name, config, seed, directory=out / name, progress=not small)
        for name in PAPER_SURROGATES
    }
    parts = []
    for state, fixed in ROWS:
        values, profiles = landscape(state, fixed, points)
        flat = profiles.flatten(0, 1)
        first, second = torch.meshgrid(values, values, indexing="ij")
        columns = {"sender_0": first.flatten(), "sender_1": second.flatten()}
        columns |= {"true": game.ex_ante_utility(flat)[:, SENDER]}
        columns |= {name: surrogate(flat)[:, SENDER] for name, surrogate in fitted.items()}
        table = {name: column.detach().double().numpy() for name, column in columns.items()}
        parts.append(pd.DataFrame({"fixed_state": state} | table).round(DIGITS))
    write_table(pd.concat(parts), out / "landscapes.csv")
    fits = [
        {"surrogate": name, "samples": config.samples, "epochs": config.epochs}
        | {"unexplained": surrogate.unexplained[SENDER].item()}
        for name, surrogate in fitted.items()
    ]
    write_table(pd.DataFrame(fits), out / "fits.csv")
    print(*write_figures(out, figures(out)), sep="\n")
    held.release()
    return 0


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `landscapes.csv` and `fits.csv`.

    Raises:
        OSError: if a table is missing.
    """
    landscapes, fits = (read_table(folder / f"{name}.csv") for name in ("landscapes", "fits"))
    return {"didactic_landscapes.png": landscape_figure(landscapes, fits)}


def landscape_figure(landscapes: pd.DataFrame, fits: pd.DataFrame) -> "Figure":
    """The networks miss the utility of sender 0 mainly along its curved cliffs, which they smooth.

    One game and one fit of each network, so there are no averages and no intervals. One row of
    panels for each plane: the true utility, the error of each network (prediction less truth) and
    all of them along one line. Panels of one kind share their colour bar.

    Args:
        landscapes: columns `fixed_state`, `sender_0`, `sender_1`, `true` and the names of networks;
            one row per point of a grid.
        fits: columns `surrogate`, `samples`, `epochs` and `unexplained` (the fraction of sender 0's
            variance that the network leaves unexplained on test samples of the whole game).
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    styles = palette.styles(fits["surrogate"])
    unexplained = fits.set_index("surrogate")["unexplained"]
    true = landscapes["true"].to_numpy(dtype=float)
    low, high = true.min(), true.max()
    most = max(abs(landscapes[name].to_numpy(dtype=float) - true).max() for name in styles)
    planes = list(landscapes.groupby("fixed_state"))
    columns = 2 + len(styles)
    figure = Figure(figsize=(2.9 * columns, 1.2 + 2.7 * len(planes)), layout="constrained")
    grid = figure.subplots(len(planes), columns, squeeze=False)
    truth = error = None
    for panels, (state, plane) in zip(grid, planes, strict=True):
        truth = _heat_map(panels[0], plane, plane["true"], "viridis", low, high)
        panels[0].set_title("true utility")
        for panel, (name, style) in zip(panels[1:-1], styles.items(), strict=True):
            error = _heat_map(panel, plane, plane[name] - plane["true"], "RdBu_r", -most, most)
            panel.set_title(f"{style.label} − true (unexplained {unexplained[name]:.3f})")
        at = min(plane["sender_1"], key=lambda value: abs(value - CUT))
        line = plane[plane["sender_1"] == at]
        panels[-1].plot(line["sender_0"], line["true"], color="black", linewidth=2.2, label="true")
        for name, style in styles.items():
            panels[-1].plot(line["sender_0"], line[name], color=style.colour, label=style.label)
        panels[-1].set_title("along the dotted line")
        panels[-1].set_ylabel(f"utility of sender {SENDER}")
        for panel in panels[:-1]:
            panel.axhline(at, color="black", linewidth=0.9, linestyle=":")
            panel.set_aspect("equal")
        varied = 1 - int(str(state))
        panels[0].set_ylabel(f"sender 1: P(signal 0 | state {varied})")
        for panel in panels:
            panel.set_xlabel(f"sender 0: P(signal 0 | state {varied})")
            panel.title.set_fontsize(10)
    assert truth is not None
    assert error is not None
    bar: dict[str, Any] = {"orientation": "horizontal", "shrink": 0.9, "aspect": 30}
    figure.colorbar(truth, ax=grid[:, 0], label=f"utility of sender {SENDER}", **bar)
    figure.colorbar(error, ax=grid[:, 1:-1], label="prediction less true utility", **bar)
    grid[0, -1].legend(fontsize=8)
    samples, epochs = fits[["samples", "epochs"]].iloc[0]
    figure.suptitle(
        f"Didactic game: utility of sender {SENDER}, and what networks make of it "
        f"(training samples: {samples:,}, passes: {epochs})"
    )
    return figure


def _heat_map(
    panel: "Axes", plane: pd.DataFrame, values: pd.Series, colours: str, low: float, high: float
) -> "QuadMesh":
    """Draw values over the probabilities of both senders."""
    table = plane.assign(value=values).pivot(index="sender_1", columns="sender_0", values="value")
    x, y = table.columns.to_numpy(), table.index.to_numpy()
    return panel.pcolormesh(x, y, table, cmap=colours, vmin=low, vmax=high, rasterized=True)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.didactic_landscapes"))
