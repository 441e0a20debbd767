"""Fit differentiable models of the senders' (leaders') utilities to samples of a game.

The networks see ex-ante utilities at random profiles and nothing else of the game. The networks of
all senders of a game, and of all games of `fit_many`, are trained as one stack.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dnl.layers.stack import NetworkStack
from dnl.runtime.devices import pick_device
from dnl.runtime.settings import config_of, in_force, path_of
from dnl.surrogates.fitted import DTYPES, FitConfig, FittedSurrogate, stack_surrogates
from dnl.surrogates.registry import (
    SURROGATES,
    Architecture,
    check_surrogate,
    make_surrogate,
    network_shape,
    networks_per_game,
)
from dnl.surrogates.sampling import Sample, all_games, sample
from dnl.training.recipes import Recipe
from games import FollowerGame, PersuasionGame, checks
from games.files import write_text
from games.randomness import seed_of, stream
from games.surroundings import own_surroundings

# A utility is constant if the standard deviation of its samples is below this many payoff ranges
# (far below the effect of any change of action that matters), or this fraction of their mean.
CONSTANT_SPREAD = 1e-9
CONSTANT_ROUNDING = 1e-13
EVALUATION_ROWS = 8192  # profiles evaluated at a time, over all games


@runtime_checkable
class SettlesExactly(Protocol):
    """A network whose values exact pieces can replace after training."""

    def settle(self, x: Tensor, y: Tensor, generator: torch.Generator) -> bool:
        """Find exact pieces of `x (B, in)`, `y (B, out)`; keep them (True) if they fit better."""


@runtime_checkable
class TakesPrior(Protocol):
    """A network that may be told the game's prior."""

    def set_prior(self, prior: Tensor) -> None:
        """Take the prior `(S,)`."""


def fit(
    game: FollowerGame,
    surrogate: str = "dnl",
    config: FitConfig | None = None,
    seed: int | None = None,
    *,
    directory: str | Path | None = None,
    progress: bool = False,
    generator: torch.Generator | None = None,
) -> FittedSurrogate:
    """Fit networks to the ex-ante utilities of a game's senders (paper, section 4.1).

    Args:
        game: the game to sample, a `PersuasionGame` or any other `FollowerGame`.
        surrogate: a name in `dnl.surrogates.SURROGATES`: `"relu"`, `"delu"`, `"dnl"`,
            `"follower-dnl"` or, for persuasion games, `"posterior-dnl"`.
        config: see `FitConfig`; None for the paper's training.
        seed: of the random streams for data, initialisation and order; None for 0.
        directory: see `fit_many`.
        progress: show a progress bar.
        generator: instead of `seed`.

    Returns:
        A callable `(B, N, S, M) -> (B, N)` with its errors on fresh samples.

    Raises:
        ValueError: for an unknown surrogate, one that cannot be fitted to this game, a bad config,
            or a directory that holds another fit.
    """
    seed = seed_of(seed, generator)
    return fit_many([game], surrogate, config, seed, directory=directory, progress=progress)[0]


@own_surroundings()
def fit_many(
    games: Sequence[FollowerGame],
    surrogate: str = "dnl",
    config: FitConfig | None = None,
    seed: int | None = None,
    *,
    directory: str | Path | None = None,
    progress: bool = False,
    on_epoch: Callable[[int, int], None] | None = None,
    samples: Sample = sample,
    generator: torch.Generator | None = None,
) -> list[FittedSurrogate]:
    """Fit several games together, each as `fit` would alone with the same seed.

    The networks form one stacked model; each has its own initialisation, data, data order and
    optimiser state. In float64 the result equals that of separate fits up to rounding. In float32
    training amplifies rounding, and only the errors agree.

    Args:
        games: at least one, all of one class. Their networks must have one shape
            (`dnl.surrogates.registry.network_shape`): equal numbers of senders, signals and
            states, and for posterior-dnl and follower-dnl of actions.
        surrogate, config, seed: as in `fit`.
        directory: if given, `metrics.csv` (mean squared error per epoch and network, standardised
            units) and a checkpoint go there, and a fit that was interrupted there continues after
            its last whole epoch when called again with the same arguments.
        progress: show a progress bar.
        on_epoch: called after each epoch with (epochs done, epochs in total).
        samples: draws and simulates the samples. One `sampling.Remembered()` for all surrogates of
            the same games does so once.
        generator: instead of `seed`.

    Returns:
        One `FittedSurrogate` per game, in order, on the CPU.

    Raises:
        ValueError: as in `fit`, and for games that cannot be fitted together.
    """
    check_surrogate(surrogate)
    config = config_of(config, FitConfig)
    games = _checked(games, surrogate, config.architecture)
    checks.instance("progress", progress, bool)
    if on_epoch is not None:
        checks.function("on_epoch", on_epoch)
    checks.function("samples", samples)
    folder = None if directory is None else path_of("directory", directory)
    seed = seed_of(seed, generator)
    if folder is not None:
        _prepare(folder, games, surrogate, config, seed)
    from dnl.training import trainer  # here, so that importing dnl does not load Lightning

    device = pick_device(config.device)
    dtype = DTYPES[config.dtype]

    recipe = config.training(surrogate)
    # Only exact pieces need the games' own precision, which may take twice the memory.
    precision = games[0].payoff_range.dtype if recipe.settle else dtype
    profiles, utilities = samples(games, config.samples, seed, "train", device, precision)
    mean, scale, constant = _standardisation(games, utilities)
    scale = scale * recipe.unit
    targets = (utilities - mean.unsqueeze(1)) / scale.unsqueeze(1)  # (G, samples, N)
    networks = _initialise(games, surrogate, config, recipe, seed)
    module = trainer.StackedRegression(
        networks,
        inputs=profiles.flatten(2).to(dtype),
        targets=targets.mT.to(dtype).contiguous(),
        order_seeds=[(seed, game.identity) for game in games],
        labels=_labels(len(games), recipe.restarts, games[0].shape[0]),
        recipe=recipe,
        epochs=config.epochs,
    )
    began = time.perf_counter()
    trainer.train(module, config.epochs, device, folder, progress, on_epoch)
    best = [0] * len(games)
    if recipe.restarts > 1:  # a network that diverged is never the best
        best = module.judge().nan_to_num(float("inf")).argmin(1).tolist()
    per_game = networks_per_game(surrogate, games[0].shape[0])
    first = [(g * recipe.restarts + restart) * per_game for g, restart in enumerate(best)]
    if recipe.settle:
        _settle(games, networks, first, profiles, targets, seed)
    seconds = (time.perf_counter() - began) / len(games)
    module.inputs = module.targets = torch.empty(0)  # Lightning lets go of the module late
    del profiles, utilities, targets

    count = sum(p[0].numel() for p in networks.parameters() if p.requires_grad)
    nothing = torch.full_like(mean, float("nan"))
    fitted = [
        FittedSurrogate(
            surrogate=surrogate,
            networks=networks.select(slice(first[g], first[g] + per_game)),
            mean=mean[g].cpu(),
            scale=scale[g].cpu(),
            mse=nothing[g].cpu(),
            unexplained=nothing[g].cpu(),
            constant=constant[g].cpu(),
            parameter_count=count,
            fit_seconds=seconds,
            game=game.identity,
            shape=game.shape,
            config=config,
            seed=seed,
        )
        for g, game in enumerate(games)
    ]
    return _evaluate(fitted, games, config, seed, device, samples)


def _checked(
    games: Sequence[FollowerGame], surrogate: str, architecture: Architecture
) -> tuple[FollowerGame, ...]:
    """The games, if this surrogate can be fitted to them together."""
    games = all_games(games)
    classes = {type(game) for game in games}
    networks = {network_shape(surrogate, game.shape, architecture) for game in games}
    if len(classes) > 1 or len(networks) > 1:
        kinds = {(type(game).__name__, game.shape) for game in games}
        raise ValueError(
            "games must share their class, and shape (N, M, S, A) as far as networks of "
            f"{surrogate!r} depend on it, got {kinds}"
        )
    reason = SURROGATES[surrogate].refusal(games[0])
    if reason is not None:
        raise ValueError(
            f"surrogate must be another than {surrogate!r}, which {reason}, got game={games[0]!r}"
        )
    return games


def _standardisation(
    games: Sequence[FollowerGame], utilities: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, scale and constant flag `(G, N)` of utilities `(G, count, N)`."""
    mean, spread = utilities.mean(1), utilities.std(1)
    ranges = torch.stack([game.payoff_range for game in games]).to(utilities)
    constant = spread <= torch.maximum(CONSTANT_SPREAD * ranges, CONSTANT_ROUNDING * mean.abs())
    return mean, torch.where(constant, 1.0, spread), constant


def _initialise(
    games: Sequence[FollowerGame], surrogate: str, config: FitConfig, recipe: Recipe, seed: int
) -> NetworkStack:
    """All games' networks, each initialised from its own stream."""
    architecture = replace(config.architecture, pattern_gradient=recipe.pattern_gradient)
    count = networks_per_game(surrogate, games[0].shape[0]) * recipe.restarts
    networks = []
    with torch.random.fork_rng(devices=[]):
        for game in games:
            for index in range(count):
                generator = stream("initialisation", seed, game.identity, index)
                # Not torch.manual_seed, which seeds all devices: only the CPU's state is restored.
                torch.default_generator.manual_seed(generator.initial_seed())
                network = make_surrogate(surrogate, game.shape, architecture)
                recipe.prepare(network)
                if (
                    architecture.prior == "given"
                    and isinstance(network, TakesPrior)
                    and isinstance(game, PersuasionGame)
                ):
                    network.set_prior(game.prior)
                networks.append(network)
    _check_output(networks[0], surrogate, games[0])
    return NetworkStack(networks).to(DTYPES[config.dtype])


def _check_output(network: nn.Module, surrogate: str, game: FollowerGame) -> None:
    """Raise a ValueError unless the network predicts one utility, or those of all senders."""
    n_senders, n_signals, n_states, _ = game.shape
    width = 1 if SURROGATES[surrogate].per_sender else n_senders
    with torch.no_grad():
        found = network(torch.zeros(1, n_senders * n_signals * n_states))
    if tuple(found.shape) != (1, width):
        raise ValueError(
            f"surrogate {surrogate!r} must predict (B, {width}) utilities from (B, N * S * M), "
            f"got shape {tuple(found.shape)} for B=1"
        )


def _settle(
    games: Sequence[FollowerGame],
    networks: NetworkStack,
    chosen: Sequence[int],
    profiles: Tensor,
    targets: Tensor,
    seed: int,
) -> None:
    """Let each game's best network find exact pieces, if it can.

    Args:
        chosen: the indices of these `G` networks.
        profiles: `(G, samples, N, S, M)`.
        targets: `(G, samples, N)`.
    """
    for g, (game, index) in enumerate(zip(games, chosen, strict=True)):
        network = networks.network(index)
        if isinstance(network, SettlesExactly):
            generator = stream("initialisation", seed, game.identity, "pieces")
            if network.settle(profiles[g].flatten(1).cpu(), targets[g].cpu(), generator):
                networks.set_network(index, network)


def _labels(n_games: int, restarts: int, n_senders: int) -> list[str]:
    """Column names of the log, one per game, restart and sender."""
    return [
        f"game{g}_sender{n}" if restarts == 1 else f"game{g}_restart{r}_sender{n}"
        for g in range(n_games)
        for r in range(restarts)
        for n in range(n_senders)
    ]


@torch.no_grad()
def _evaluate(
    fitted: Sequence[FittedSurrogate],
    games: Sequence[FollowerGame],
    config: FitConfig,
    seed: int,
    device: torch.device,
    samples: Sample,
) -> list[FittedSurrogate]:
    """The surrogates with their errors on fresh samples."""
    dtype = DTYPES[config.dtype]
    profiles, truth = samples(games, config.test_samples, seed, "test", device, dtype)
    utility = stack_surrogates([f.to(device) for f in fitted])
    rows = max(1, EVALUATION_ROWS // len(fitted))
    predicted = torch.cat([utility(part) for part in profiles.split(rows, 1)], 1)
    mse = (predicted.to(truth) - truth).square().mean(1).cpu()  # (G, N)
    _, spread, flat = _standardisation(games, truth)
    flat = flat.cpu() | torch.stack([f.constant for f in fitted])
    unexplained = torch.where(flat, float("nan"), mse / spread.square().cpu())
    return [
        replace(f, mse=mse[g], unexplained=unexplained[g], constant=flat[g])
        for g, f in enumerate(fitted)
    ]


def _prepare(
    directory: Path,
    games: Sequence[FollowerGame],
    surrogate: str,
    config: FitConfig,
    seed: int,
) -> None:
    """Create the folder of a fit, or check that it belongs to this fit."""
    settings = asdict(config)
    del settings["device"]
    fit_id = {
        "games": [game.identity for game in games],
        "surrogate": surrogate,
        "seed": seed,
        "config": settings,
        "training": asdict(config.training(surrogate)),
    }
    text = json.dumps(fit_id, indent=1) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / "fit.json"
    if record.exists() and not _is_of(record, fit_id):
        raise ValueError(f"directory holds another fit, got {str(directory)!r}: see {record}")
    write_text(record, text)


def _is_of(record: Path, fit_id: dict[str, object]) -> bool:
    """Whether a fit's record, perhaps an older one, is of this fit."""
    try:
        there = json.loads(record.read_text())
    except ValueError:
        return False
    return isinstance(there, dict) and in_force(there) == in_force(fit_id)
