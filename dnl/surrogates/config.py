"""Settings of a fit."""

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
            utilities; `"tuned"`: the surrogate's best one in our measurements; or a
            `dnl.training.recipes.Recipe`.
        samples: training profiles per game, with rows uniform on the simplex.
        test_samples: fresh profiles for measuring errors.
        epochs: passes over the training samples.
        batch_size: samples per step; None for the recipe's, as the paper states none.
        lr: Adam's initial learning rate; None for the recipe's.
        architecture: sizes of the networks.
        dtype: `"float32"` or `"float64"`, for training; samples are simulated in the game's dtype.
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
        checks.instance("architecture", self.architecture, Architecture)
        checks.one_of("dtype", self.dtype, tuple(DTYPES))
        pick_device(self.device)

    def training(self, surrogate: str) -> Recipe:
        """The recipe for a surrogate, with this configuration's own values in place of its."""
        recipe = self.recipe
        if not isinstance(recipe, Recipe):
            recipe = SURROGATES[surrogate].recipes[recipe]
        own: dict[str, Any] = {
            "lr": self.lr,
            "batch_size": self.batch_size,
            "pattern_gradient": self.architecture.pattern_gradient,
        }
        if self.batch_size is not None:
            recipe = replace(recipe, posteriors=None)
        if self.lr is not None:
            recipe = replace(recipe, lr_inputs=None)
        return replace(recipe, **{name: value for name, value in own.items() if value is not None})
