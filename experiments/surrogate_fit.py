"""Compare the fits of all surrogates on contested games that nothing was tuned on.

The paper's three networks are trained with the tuned recipe, and on the first game of a size also
with the paper's, to compare times (`experiments.recipes` compares their fits). Posterior-dnl is
trained on all samples and on a tenth of them. One row per game and fit: unexplained variance on
fresh samples, and the cosine of the surrogate's gradients with the true ones inside cells. The
networks are saved; `experiments.end_points` uses them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import torch

from dnl import FitConfig, FittedSurrogate, fit
from dnl.gradients.own_gradient import own_gradient
from dnl.reporting import palette
from dnl.runtime import cli
from dnl.runtime.records import Row
from dnl.runtime.tables import Key, read_table, write_table
from dnl.surrogates.registry import PAPER_SURROGATES
from experiments.shared.redrawing import write_figures
from experiments.shared.resumable import table_of
from games import PersuasionGame, checks, synthetic_game
from games.randomness import stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = {  # (M, S, A) by number of senders
    2: ((4, 4, 4), (6, 6, 6), (10, 10, 10)),
    4: ((4, 4, 4), (6, 6, 6)),
}
FIRST_INSTANCE = 100  # settings were chosen on instances below
EPOCHS = 30
POSTERIOR_EPOCHS = {2: 10, 4: 1}  # by number of senders; with four, a sample has many joint signals
FEW = 10  # a fit from a tenth of the samples makes ten times the passes
NETWORKS = "networks"  # name of the folder, which git ignores
KEYS = ["n_senders", "n_signals", "n_states", "n_actions", "instance", "surrogate", "recipe", "few"]


def main(
    *,
    instances: int = 5,
    samples: int = 50_000,
    senders: Annotated[tuple[int, ...], cli.MANY] = (2, 4),
    out: Path = Path("results/surrogate_fit"),
    small: bool = False,
) -> int:
    """Fit every surrogate to contested games; finished fits are not computed again.

    Args:
        instances: Games per size; their numbers start at 100.
        samples: Training profiles per game.
        senders: Numbers of senders; 2 and 4 are possible.
        out: Folder of the table.
        small: Run for a few seconds only.
    """
    checks.positive_integer("instances", instances)
    checks.positive_integer("samples", samples)
    for n in senders:
        checks.one_of("senders", str(n), tuple(map(str, SIZES)))
    sizes = [(n, *size) for n in senders for size in SIZES[n]]
    posterior = [("posterior-dnl", "paper", few) for few in (False, True)]
    tuned, paper = (
        [(name, recipe, False) for name in PAPER_SURROGATES] for recipe in ("tuned", "paper")
    )
    if small:
        sizes, tuned, paper, instances, samples = [(2, 2, 2, 2)], tuned[:1], [], 1, 400
    numbers = range(FIRST_INSTANCE, FIRST_INSTANCE + instances)
    keys = [
        (*size, instance, *way)
        for ways, games in ((posterior, numbers), (tuned, numbers), (paper, numbers[:1]))
        for instance in games
        for size in sizes
        for way in ways
    ]
    configuration = {"samples": samples, "epochs": EPOCHS, "few": FEW}
    configuration |= {f"posterior epochs, {n} senders": e for n, e in POSTERIOR_EPOCHS.items()}
    arguments = (samples, out / NETWORKS, small)
    rows = table_of(
        out, KEYS, keys, row_of, configuration, arguments, quiet=small, table="fits.csv"
    )
    summary = summarise(rows)
    write_table(summary, out / "summary.csv")
    print(summary.to_string(index=False))
    write_figures(out, figures(out))
    return 0


def network_file(folder: Path, key: Key) -> Path:
    """The file of the networks of one fit."""
    n, m, s, a, instance, surrogate, recipe, few = key
    return folder / f"{n}-{m}-{s}-{a}-{instance}-{surrogate}-{'few' if few else recipe}.pt"


def row_of(key: Key, samples: int, networks: Path, small: bool) -> Row:
    """The row of one fit; its networks are saved in a folder."""
    n, m, s, a, instance, surrogate, recipe, few = key
    game = synthetic_game(n, m, s, a, instance, "contested")
    epochs = POSTERIOR_EPOCHS[n] if surrogate == "posterior-dnl" else EPOCHS
    config = FitConfig(
        recipe=recipe,
        samples=samples // FEW if few else samples,
        epochs=1 if small else epochs * FEW if few else epochs,
        test_samples=100 if small else 10_000,
    )
    fitted = fit(game, surrogate, config)
    networks.mkdir(exist_ok=True)
    fitted.save(network_file(networks, key))
    return dict(zip(KEYS, key, strict=True)) | {
        "unexplained": fitted.unexplained.mean().item(),
        "worst": fitted.unexplained.max().item(),
        "parameters": fitted.parameter_count,
        "seconds": fitted.fit_seconds,
        "cosine": cosine(game, fitted),
    }


def cosine(game: PersuasionGame, fitted: FittedSurrogate) -> float:
    """Mean cosine of gradients along the simplex, over random profiles and senders.

    Points with true gradient 0, as on a plateau, have no direction and do not count.
    """
    policies = game.sample_policies(500, stream("data", 0, game.identity, "directions"))
    true, learned = (
        (gradient - gradient.mean(-1, keepdim=True)).flatten(2)
        for gradient in (
            own_gradient(game.ex_ante_utility, policies),
            own_gradient(fitted, policies.to(fitted.networks.dtype)).to(policies),
        )
    )  # (B, N, S * M)
    there = true.norm(dim=-1) > 1e-9 * game.payoff_range
    return torch.cosine_similarity(true, learned, dim=-1)[there].mean().item()


def fit_names(rows: pd.DataFrame) -> pd.Series:
    """What was fitted and how: "dnl, tuned", "posterior-dnl", "posterior-dnl, tenth"."""
    names = rows["surrogate"] + ", " + rows["recipe"]
    posterior = rows["surrogate"] == "posterior-dnl"
    return names.where(~posterior, "posterior-dnl").where(~rows["few"], "posterior-dnl, tenth")


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per size: mean unexplained variance and seconds of every fit."""
    size = rows.apply(lambda r: f"({r.n_signals},{r.n_states},{r.n_actions})", axis=1)
    labelled = rows.assign(size=size, fit=fit_names(rows))
    groups = labelled.groupby(["n_senders", "n_signals", "size", "fit"], sort=False)
    summary = groups.agg(
        games=("unexplained", "size"),
        unexplained=("unexplained", "mean"),
        worst=("worst", "max"),
        seconds=("seconds", "mean"),
        cosine=("cosine", "mean"),
    ).reset_index()
    best = (
        summary[summary["fit"].str.endswith("tuned")]
        .groupby(["n_senders", "size"])["unexplained"]
        .min()
        .rename("best other")
    )
    paper = summary[summary["fit"] == "dnl, paper"].set_index(["n_senders", "size"])["seconds"]
    summary = summary.join(best, on=["n_senders", "size"])
    summary["of best other"] = summary["unexplained"] / summary.pop("best other")
    summary = summary.join(paper.rename("paper dnl"), on=["n_senders", "size"])
    summary["of paper's DNL seconds"] = summary["seconds"] / summary.pop("paper dnl")
    summary = summary.sort_values(["n_senders", "n_signals", "unexplained"], ignore_index=True)
    return summary.drop(columns="n_signals")


def figures(folder: Path) -> dict[str, "Figure"]:
    """The figure of a finished run by the name of its file, from `fits.csv`.

    Raises:
        OSError: if there is no table.
    """
    return {"surrogate_fit.png": fit_figure(read_table(folder / "fits.csv"))}


def fit_figure(rows: pd.DataFrame) -> "Figure":
    """Posterior DNL leaves about a hundredth of the others' unexplained variance, or less.

    A small mark is a game: the unexplained variance on fresh samples, the mean over its senders. A
    large mark is the mean over the games of the size; the legend says how many there are (the
    paper's recipe has fewer). The spread of the games is shown itself, without intervals.

    Args:
        rows: of `fits.csv`.
    """
    from matplotlib.figure import Figure  # imported here: it takes a second to load

    rows = rows.assign(fit=fit_names(rows))
    groups = list(rows.groupby(KEYS[:4], sort=True))
    styles = palette.styles(rows["fit"])
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
    for i, (name, style) in enumerate(styles.items()):
        aside = 0.8 * ((i + 0.5) / len(styles) - 0.5)  # keeps the fits of a size apart
        fits = [games.loc[games["fit"] == name, "unexplained"] for _, games in groups]
        at = [place + aside for place, own in enumerate(fits) for _ in own]
        axes.scatter(at, pd.concat(fits), s=10, alpha=0.6, **style.dots)
        most = max(map(len, fits))
        label = f"{style.label} ({most} game{'s' * (most > 1)} per size)"
        means = [own.mean() for own in fits]
        at = [place + aside for place in range(len(groups))]
        axes.scatter(at, means, s=70, label=label, zorder=3, **style.dots)
    for place in range(1, len(groups)):
        axes.axvline(place - 0.5, color="0.85", linewidth=0.8)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--", label="1 = explains nothing")
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_xticks(range(len(groups)), ["N={}\n({},{},{})".format(*size) for size, _ in groups])
    axes.set_xlabel("senders N and (signals, states, actions)")
    axes.set_yscale("log")
    axes.set_ylabel("unexplained variance on fresh samples (logarithmic)")
    axes.set_title("Surrogates of contested games: games (small) and means over games (large)")
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


if __name__ == "__main__":
    raise SystemExit(cli.run(main, "experiments.surrogate_fit"))
