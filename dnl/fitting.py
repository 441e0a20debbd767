"""From a game to differentiable models of its senders' utilities.

Networks see samples of ex-ante utilities at random profiles and nothing else of the game. All
senders of a game, and all same-shape games of `fit_many`, are trained as one stack.
"""

import json
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnl.devices import pick_device
from dnl.stacking import NetworkStack, concatenate
from dnl.surrogates import Architecture, check_surrogate, make_surrogate
from games import GameStack, PersuasionGame, checks, stack
from games.randomness import stream

RECIPES = ("paper",)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Spread of the training targets, in payoff ranges, below which a utility counts as constant:
# well above rounding in float64, far below any change of a receiver's action that matters.
CONSTANT_SPREAD = 1e-9
EVALUATION_ROWS = 8192
# What torch.load and the reading of its result raise for a file of another kind.
_MALFORMED = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class FitConfig:
    """How surrogates are trained; the defaults are the paper's (appendix B) where it states them.

    Attributes:
        recipe: `"paper"`: Adam at a constant rate on the mean squared error of standardised
            utilities.
        samples: training profiles per game, rows uniform on the simplex.
        test_samples: fresh profiles on which errors are measured.
        epochs: passes over the training samples.
        batch_size: samples per step; not stated in the paper.
        lr: Adam's learning rate.
        architecture: sizes of the networks.
        dtype: `"float32"` or `"float64"`, of the training; samples are simulated in the game's.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`.
    """

    recipe: str = "paper"
    samples: int = 50_000
    test_samples: int = 10_000
    epochs: int = 30
    batch_size: int = 512
    lr: float = 0.01
    architecture: Architecture = field(default_factory=Architecture)
    dtype: str = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        checks.one_of("recipe", self.recipe, RECIPES)
        for name in ("samples", "test_samples"):
            checks.positive_integer(name, getattr(self, name), least=2)
        for name in ("epochs", "batch_size"):
            checks.positive_integer(name, getattr(self, name))
        checks.positive_number("lr", self.lr)
        checks.one_of("dtype", self.dtype, tuple(DTYPES))
        pick_device(self.device)


@dataclass(frozen=True, eq=False)
class FittedSurrogate:
    """One network per sender, fitted to a game: a differentiable stand-in for its simulator.

    Attributes:
        surrogate: name of the networks.
        networks: the `N` networks; inputs are flattened profiles, outputs standardised utilities.
        mean, scale: `(N,)`, the standardisation of utilities.
        mse: `(N,)`, mean squared error on fresh samples, in squared units of utility.
        unexplained: `(N,)`, `mse` as a fraction of the utility's variance there; NaN if constant.
        constant: `(N,)` bool: the utility did not vary over the samples.
        parameter_count: parameters of one network.
        fit_seconds: wall time of the whole stack's training divided by its number of games.
        game: identity of the game; `shape` its (N, M, S, A).
        config, seed: what a fit needs to be run again.
    """

    surrogate: str
    networks: NetworkStack
    mean: Tensor
    scale: Tensor
    mse: Tensor
    unexplained: Tensor
    constant: Tensor
    parameter_count: int
    fit_seconds: float
    game: str
    shape: tuple[int, int, int, int]
    config: FitConfig
    seed: int

    def __call__(self, policies: Tensor) -> Tensor:
        """Predicted utilities: `(B, N, S, M) -> (B, N)`, or `(N, S, M) -> (N,)`."""
        n_senders, n_signals, n_states, _ = self.shape
        expected = (n_senders, n_states, n_signals)
        if policies.ndim not in (3, 4) or policies.shape[-3:] != expected:
            raise checks.shape_error("policies", "(B, N, S, M)", ("B", *expected), policies)
        single = policies.ndim == 3
        batch = policies.unsqueeze(0) if single else policies
        utilities = stack_surrogates([self])(batch.unsqueeze(0))[0]
        return utilities[0] if single else utilities

    def to(self, device: torch.device | str) -> "FittedSurrogate":
        """The same surrogate with its networks on `device`."""
        networks = self.networks.select(slice(None)).to(device)
        return replace(
            self, networks=networks, mean=self.mean.to(device), scale=self.scale.to(device)
        )

    def save(self, path: str | Path) -> None:
        """Write everything to one file, readable by `load` and safe to share (tensors, no code)."""
        content = {
            "format": 1,
            "networks": self.networks.state_dict(),
            "config": asdict(self.config),
            **{
                name: getattr(self, name)
                for name in (
                    *("surrogate", "mean", "scale", "mse", "unexplained", "constant"),
                    *("parameter_count", "fit_seconds", "game", "shape", "seed"),
                )
            },
        }
        torch.save(content, path)

    @classmethod
    def load(cls, path: str | Path) -> "FittedSurrogate":
        """The surrogate in a file that `save` wrote, on the CPU.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds no surrogate.
        """
        try:
            with open(path, "rb") as file:
                content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            state = content.pop("networks")
            config = content.pop("config")
            content.pop("format")
            architecture = Architecture(**config.pop("architecture"))
            content["config"] = FitConfig(**config | {"device": "auto"}, architecture=architecture)
            n_senders, n_signals, n_states, _ = content["shape"]
            network = make_surrogate(
                content["surrogate"], n_senders * n_signals * n_states, architecture
            )
            networks = NetworkStack([network] * n_senders).to(DTYPES[content["config"].dtype])
            networks.load_state_dict(state)
            return cls(networks=networks, **content)
        except _MALFORMED as error:
            raise ValueError(f"{path} holds no fitted surrogate: {error}") from error


def fit(
    game: PersuasionGame,
    surrogate: str = "dnl",
    config: FitConfig | None = None,
    seed: int = 0,
    *,
    directory: str | Path | None = None,
    progress: bool = False,
) -> FittedSurrogate:
    """Fit one network per sender to a game's ex-ante utilities (paper, section 4.1).

    Args:
        game: what to sample from.
        surrogate: `"relu"`, `"delu"` or `"dnl"`.
        config: see `FitConfig`; None is the paper's training.
        seed: of the streams data, initialisation and order.
        directory: see `fit_many`.
        progress: show a progress bar.

    Returns:
        A callable `(B, N, S, M) -> (B, N)` with its errors on fresh samples.

    Raises:
        ValueError: for an unknown surrogate, a bad config, or a directory of another fit.
    """
    return fit_many([game], surrogate, config, seed, directory=directory, progress=progress)[0]


def fit_many(
    games: Sequence[PersuasionGame],
    surrogate: str = "dnl",
    config: FitConfig | None = None,
    seed: int = 0,
    *,
    directory: str | Path | None = None,
    progress: bool = False,
    on_epoch: Callable[[int, int], None] | None = None,
) -> list[FittedSurrogate]:
    """Fit several games of one shape together, each as `fit` would alone with the same seed.

    All networks are one stacked model with initialisation, data, data order and optimiser state of
    their own. In float64 the result equals separate fits up to rounding; in float32 training
    amplifies rounding, and only the error figures agree.

    Args:
        games: at least one; of equal `shape` and `tie_break`.
        surrogate, config, seed: as in `fit`.
        directory: if given, `metrics.csv` (mean squared error per epoch and network, standardised
            units) and a checkpoint go there, and a fit that was interrupted there is taken up
            after its last whole epoch when called again with the same arguments.
        progress: show a progress bar.
        on_epoch: called after each epoch with (epochs done, epochs in all).

    Returns:
        One `FittedSurrogate` per game, in order, on the CPU.
    """
    from dnl import training  # here, so that importing dnl does not load Lightning

    check_surrogate(surrogate)
    checks.positive_integer("seed", seed, least=0)
    config = config or FitConfig()
    games = tuple(games)
    together = stack(games)
    folder = (
        None if directory is None else _prepare(Path(directory), games, surrogate, config, seed)
    )
    device = pick_device(config.device)
    dtype = DTYPES[config.dtype]

    profiles, utilities = _sample(together, config.samples, seed, "train", device)
    mean, scale, constant = _standardisation(together, utilities)
    targets = (utilities - mean.unsqueeze(1)) / scale.unsqueeze(1)  # (G, samples, N)
    networks = _initialise(games, surrogate, config, seed)
    module = training.StackedRegression(
        networks,
        inputs=profiles.flatten(2).to(dtype),
        targets=targets.mT.to(dtype).contiguous(),
        order_seeds=[(seed, game.identity) for game in games],
        labels=[f"game{g}_sender{n}" for g in range(len(games)) for n in range(games[0].n_senders)],
        lr=config.lr,
        batch_size=config.batch_size,
    )
    began = time.perf_counter()
    training.train(module, config.epochs, device, folder, progress, on_epoch)
    seconds = (time.perf_counter() - began) / len(games)
    del module, profiles, utilities, targets

    networks.requires_grad_(False)
    count = sum(p[0].numel() for p in networks.parameters())
    n_senders = games[0].n_senders
    nothing = torch.full_like(mean, float("nan"))
    fitted = [
        FittedSurrogate(
            surrogate=surrogate,
            networks=networks.select(slice(g * n_senders, (g + 1) * n_senders)),
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
    return _evaluate(fitted, together, config, seed, device)


def stack_surrogates(fitted: Sequence[FittedSurrogate]) -> Callable[[Tensor], Tensor]:
    """Surrogates of several same-shape games as one utility, `(G, B, N, S, M) -> (G, B, N)`.

    It computes in the dtype and on the device of its argument.
    """
    n_senders = fitted[0].shape[0]
    networks = concatenate([f.networks for f in fitted]) if len(fitted) > 1 else fitted[0].networks
    mean = torch.stack([f.mean for f in fitted]).unsqueeze(1)  # (G, 1, N)
    scale = torch.stack([f.scale for f in fitted]).unsqueeze(1)

    def utility(policies: Tensor) -> Tensor:
        x = policies.flatten(2)  # (G, B, F)
        if len(fitted) == 1:
            standardised = networks(x[0])  # (N, B, 1): the same input to all networks
        else:
            standardised = networks(x.repeat_interleave(n_senders, 0))  # (G * N, B, 1)
        u = standardised.reshape(len(fitted), n_senders, -1).mT  # (G, B, N)
        return u * scale.to(u) + mean.to(u)

    return utility


def _sample(
    games: GameStack, count: int, seed: int, purpose: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Profiles `(G, count, N, S, M)`, utilities `(G, count, N)`; the games' dtype, `device`."""
    profiles = torch.stack(
        [
            game.sample_policies(count, stream("data", seed, game.identity, purpose))
            for game in games.games
        ]
    ).to(device)
    return profiles, games.ex_ante_utility(profiles, check=False)


def _standardisation(games: GameStack, utilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, scale and constant flag `(G, N)` of utilities `(G, count, N)`."""
    mean, spread = utilities.mean(1), utilities.std(1)
    ranges = torch.stack([game.payoff_range for game in games.games]).to(utilities)
    constant = spread <= CONSTANT_SPREAD * ranges
    return mean, torch.where(constant, 1.0, spread), constant


def _initialise(
    games: Sequence[PersuasionGame], surrogate: str, config: FitConfig, seed: int
) -> NetworkStack:
    """Every sender's network, each initialised from its own stream."""
    n_senders, n_signals, n_states, _ = games[0].shape
    networks = []
    with torch.random.fork_rng(devices=[]):
        for game in games:
            for sender in range(n_senders):
                generator = stream("initialisation", seed, game.identity, sender)
                torch.manual_seed(generator.initial_seed())
                networks.append(
                    make_surrogate(surrogate, n_senders * n_signals * n_states, config.architecture)
                )
    return NetworkStack(networks).to(DTYPES[config.dtype])


@torch.no_grad()
def _evaluate(
    fitted: Sequence[FittedSurrogate],
    games: GameStack,
    config: FitConfig,
    seed: int,
    device: torch.device,
) -> list[FittedSurrogate]:
    """The surrogates with their errors on fresh samples filled in."""
    profiles, truth = _sample(games, config.test_samples, seed, "test", device)
    profiles = profiles.to(DTYPES[config.dtype])
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
    games: Sequence[PersuasionGame],
    surrogate: str,
    config: FitConfig,
    seed: int,
) -> Path:
    """Make the folder of a fit, or make sure that it is this fit's."""
    settings = asdict(config)
    del settings["device"]
    fit_id = {
        "games": [game.identity for game in games],
        "surrogate": surrogate,
        "seed": seed,
        "config": settings,
    }
    text = json.dumps(fit_id, indent=1) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / "fit.json"
    if record.exists() and record.read_text() != text:
        raise ValueError(f"directory holds another fit, got {str(directory)!r}: see {record}")
    record.write_text(text)
    return directory
