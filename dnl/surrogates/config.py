"""How surrogates are trained: what a fit is told."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dnl.runtime.devices import pick_device
from dnl.surrogates.registry import SURROGATES, Architecture
from dnl.training.recipes import RECIPE_NAMES, Recipe
from games import checks

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class FitConfig:
    """How surrogates are trained; the defaults are the paper's (appendix B) where it states them.

    Attributes:
        recipe: `"paper"`: Adam at a constant rate on the mean squared error of standardised
            utilities; `"tuned"`: what measurement found best; or a `dnl.training.recipes.Recipe`.
        samples: training profiles per game, rows uniform on the simplex.
        test_samples: fresh profiles on which errors are measured.
        epochs: passes over the training samples.
        batch_size: samples per step, None for the recipe's; not stated in the paper.
        lr: Adam's learning rate at the start, None for the recipe's.
        architecture: sizes of the networks.
        dtype: `"float32"` or `"float64"`, of the training; samples are simulated in the game's.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`.
    """

    recipe: str | Recipe = "paper"
    samples: int = 50_000
    test_samples: int = 10_000
    epochs: int = 30
    batch_size: int | None = None
    lr: float | None = None
    architecture: Architecture = field(default_factory=Architecture)
    dtype: str = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, Recipe):
            checks.one_of("recipe", self.recipe, RECIPE_NAMES)
        for name in ("samples", "test_samples"):
            checks.positive_integer(name, getattr(self, name), least=2)
        checks.positive_integer("epochs", self.epochs)
        if self.batch_size is not None:
            checks.positive_integer("batch_size", self.batch_size)
        if self.lr is not None:
            checks.positive_number("lr", self.lr)
        checks.one_of("dtype", self.dtype, tuple(DTYPES))
        pick_device(self.device)

    def training(self, surrogate: str) -> Recipe:
        """The recipe for one kind of networks, with what this configuration says otherwise."""
        recipe = self.recipe
        if not isinstance(recipe, Recipe):
            recipe = SURROGATES[surrogate].recipes[recipe]
        said: dict[str, Any] = {
            "lr": self.lr,
            "batch_size": self.batch_size,
            "pattern_gradient": self.architecture.pattern_gradient,
        }
        if self.batch_size is not None:
            recipe = replace(recipe, posteriors=None)
        if self.lr is not None:
            recipe = replace(recipe, lr_inputs=None)
        return replace(recipe, **{name: value for name, value in said.items() if value is not None})
