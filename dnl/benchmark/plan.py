"""What a benchmark runs: the options of the command, the presets, and the resulting plan."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from dnl.benchmark.evaluation import Stages
from dnl.gradients.extragradient import ExtragradientConfig
from dnl.runtime import cli
from dnl.runtime.devices import pick_device
from dnl.runtime.settings import path_of
from dnl.runtime.tables import Key
from dnl.surrogates.fitted import FitConfig
from dnl.surrogates.registry import PAPER_SURROGATES, SURROGATES, check_surrogate
from dnl.training.recipes import RECIPE_NAMES
from games import LAWS, PersuasionGame, checks, synthetic_game

T = TypeVar("T")
# Larger runs are typing errors: their networks fit no memory, and they would take years.
MOST_ENTRIES = 10**6  # of a profile, senders x signals x states, and of a sender's utility
MOST_ROWS = 10**7  # of a table
Size = tuple[int, int, int]  # (M, S, A)


@dataclass(frozen=True)
class Preset:
    """A grid of games and its budget: the values of options that are not given."""

    law: tuple[str, ...]
    sizes: tuple[Size, ...]
    axis: tuple[int, ...]  # values of those of --signals, --states, --actions that are not given
    instances: int
    samples: int
    epochs: int
    starts: int
    deviations: int
    finish: int


_PAPER_AXIS = (2, 4, 6, 8, 10)
PRESETS = {
    "quick": Preset(
        law=("contested",),
        sizes=((2, 2, 2), (4, 2, 2), (2, 4, 2), (2, 2, 4), (4, 4, 4)),
        axis=(2, 4),
        instances=2,
        samples=10_000,
        epochs=10,
        starts=30,
        deviations=10,
        finish=0,
    ),
    "paper": Preset(
        law=("contested", "paper"),
        sizes=tuple(itertools.product(_PAPER_AXIS, _PAPER_AXIS, _PAPER_AXIS)),
        axis=_PAPER_AXIS,
        instances=5,
        samples=50_000,
        epochs=30,
        starts=300,
        deviations=100,
        finish=0,
    ),
}


@Parameter(name="*")
@dataclass(frozen=True)
class BenchConfig:
    """What to run. Options that are not given come from the preset.

    Attributes:
        senders: Numbers of senders.
        preset: "quick" (minutes on two cores) or "paper" (the whole benchmark of the paper).
        law: Laws of the random games: "paper", "contested" or both.
        signals: Signals per sender. If any of signals, states, actions is given, all combinations
            are run; those not given take 2 4 (quick) or 2 4 6 8 10 (paper).
        states: Numbers of states.
        actions: Numbers of actions.
        instances: Random games per size.
        surrogates: Networks to compare.
        recipe: How the networks are trained: "paper" or "tuned" (best in our measurements).
        samples: Training profiles per game.
        epochs: Passes over the training profiles.
        starts: Starting points of extra-gradient per game.
        deviations: Sampled deviations per sender and entry of its policy (states x signals).
        finish: Number of best end points that exact best responses then improve until they rest.
        verification: "sampled", or "both": exact, too, for profiles that sampling does not refute.
        radius: Radius of the local equilibria.
        iterations: Extra-gradient steps (default: the paper's 20, or 30 above radius 0.005).
        seed: Seed of all random draws except the games, whose seed is the instance number.
        device: "auto", "cpu" or "cuda".
        workers: Number of local worker processes (needs the extra "cluster").
        scheduler: Address of a Dask scheduler whose workers compute (needs the extra "cluster").
        out: Folder for the results (default: a new one under results/).
        resume: Continue the run in the folder given by --out.
        quiet: Show no progress and no summary.
    """

    senders: Annotated[tuple[int, ...], cli.MANY] = (2, 4)
    preset: str = "quick"
    law: Annotated[tuple[str, ...] | None, cli.MANY] = None
    signals: Annotated[tuple[int, ...] | None, cli.MANY] = None
    states: Annotated[tuple[int, ...] | None, cli.MANY] = None
    actions: Annotated[tuple[int, ...] | None, cli.MANY] = None
    instances: int | None = None
    surrogates: Annotated[
        tuple[str, ...],
        cli.MANY,
        Parameter(help=f"Networks to compare, out of {', '.join(SURROGATES)}."),
    ] = PAPER_SURROGATES
    recipe: str = "paper"
    samples: int | None = None
    epochs: int | None = None
    starts: int | None = None
    deviations: int | None = None
    finish: int | None = None
    verification: str = "both"
    radius: float = 0.005
    iterations: int | None = None
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    out: Path | None = None
    resume: Annotated[bool, cli.FLAG] = False
    quiet: Annotated[bool, cli.FLAG] = False

    def __post_init__(self) -> None:
        checks.one_of("preset", self.preset, tuple(PRESETS))
        for name in ("senders", "signals", "states", "actions", "law", "surrogates"):
            values = getattr(self, name)
            optional = name not in ("senders", "surrogates") and values is None
            if not optional and not checks.sequence(name, values):
                raise ValueError(f"{name} must hold at least one value, got none")
        for name in ("senders", "signals", "states", "actions"):
            for value in getattr(self, name) or ():
                checks.positive_integer(name, value)
        for name in ("instances", "epochs", "starts", "deviations", "iterations"):
            if getattr(self, name) is not None:
                checks.positive_integer(name, getattr(self, name))
        if self.samples is not None:
            checks.positive_integer("samples", self.samples, least=2)
        for law in self.law or ():
            checks.one_of("law", law, LAWS)
        for surrogate in self.surrogates:
            check_surrogate(surrogate, "surrogates")
        checks.one_of("recipe", self.recipe, RECIPE_NAMES)
        if self.finish is not None:
            checks.positive_integer("finish", self.finish, least=0)
        checks.one_of("verification", self.verification, ("both", "sampled"))
        checks.radius("radius", self.radius)
        checks.positive_integer("seed", self.seed, least=0)
        pick_device(self.device)
        for name in ("resume", "quiet"):
            checks.instance(name, getattr(self, name), bool)
        if self.out is not None:
            object.__setattr__(self, "out", path_of("out", self.out))
        if self.scheduler is not None:
            checks.filled("scheduler", self.scheduler)
        if self.workers is not None:
            checks.positive_integer("workers", self.workers)
            if self.scheduler is not None:
                raise ValueError(
                    "scheduler brings its own workers, got "
                    f"scheduler={self.scheduler!r} and workers={self.workers}: leave one out"
                )
        if self.resume and self.out is None:
            raise ValueError("resume needs the folder to go on with, got no --out")


@dataclass(frozen=True)
class Plan:
    """A complete configuration: which rows a run has and how each is computed."""

    senders: tuple[int, ...]
    laws: tuple[str, ...]
    sizes: tuple[Size, ...]
    instances: int
    surrogates: tuple[str, ...]
    stages: Stages

    @property
    def order(self) -> list[Key]:
        """Keys of all rows, in the order of the table."""
        return [
            (law, n_senders, *size, instance, surrogate)
            for law in self.laws
            for n_senders in self.senders
            for size in self.sizes
            for instance in range(self.instances)
            for surrogate in self.surrogates
        ]

    def configuration(self) -> dict[str, Any]:
        """All settings that affect the rows, as JSON values; where they are computed does not."""
        values = asdict(self)
        stages = values.pop("stages")
        fit, solver = stages.pop("fit"), stages.pop("solver")
        fit.pop("device")
        return {
            **values,
            **stages,
            **{f"fit.{name}": value for name, value in fit.items()},
            **{f"solver.{name}": value for name, value in solver.items()},
        }


def make_plan(config: BenchConfig) -> Plan:
    """Take options that were not given from the preset."""
    preset = PRESETS[config.preset]

    def chosen(name: str) -> Any:
        value = getattr(config, name)
        return getattr(preset, name) if value is None else value

    sizes = preset.sizes
    if config.signals or config.states or config.actions:
        axes = (config.signals, config.states, config.actions)
        signals, states, actions = (_unique(axis or preset.axis) for axis in axes)
        sizes = tuple(itertools.product(signals, states, actions))
    laws = _unique(chosen("law"))
    for n in config.senders:
        for m, s, a in sizes:
            check_size(n, m, s, a)
    games = len(laws) * len(config.senders) * len(sizes) * chosen("instances")
    if games * len(config.surrogates) > MOST_ROWS:
        raise ValueError(f"instances must make at most {MOST_ROWS:,} rows, got {games:,} games")
    for name, values in zip(
        ("signals", "states", "actions"), zip(*sizes, strict=True), strict=True
    ):
        if "contested" in laws and 1 in values:
            raise ValueError(f"{name} must be at least 2 under law 'contested', got 1")
    iterations = config.iterations
    if iterations is None:
        iterations = 30 if config.radius > 0.005 else ExtragradientConfig().iterations
    return Plan(
        senders=_unique(config.senders),
        laws=laws,
        sizes=sizes,
        instances=chosen("instances"),
        surrogates=_unique(config.surrogates),
        stages=Stages(
            fit=FitConfig(
                recipe=config.recipe,
                samples=chosen("samples"),
                epochs=chosen("epochs"),
                device=config.device,
            ),
            solver=ExtragradientConfig(iterations=iterations),
            starts=chosen("starts"),
            radius=config.radius,
            deviations=chosen("deviations"),
            exact=config.verification == "both",
            finish=chosen("finish"),
            seed=config.seed,
        ),
    )


def game_of(key: Key) -> PersuasionGame:
    """The game of a row; its instance number is the seed of the game."""
    law, n_senders, n_signals, n_states, n_actions, instance = key[:6]
    return synthetic_game(n_senders, n_signals, n_states, n_actions, seed=instance, law=law)


def check_size(senders: int, signals: int, states: int, actions: int) -> None:
    """Raise a ValueError for a game that is too large for any memory."""
    for kind, last in (("signals", signals), ("actions", actions)):
        if senders * states * last > MOST_ENTRIES:
            raise ValueError(
                f"senders x states x {kind} must be at most {MOST_ENTRIES:,}, "
                f"got {senders} x {states} x {last}"
            )


def _unique(values: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
