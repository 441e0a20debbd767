"""posterior-dnl: all senders' utilities in a persuasion game, as a sum over joint signals."""

from dnl.layers.posterior import PosteriorNetwork
from dnl.surrogates.registry import Architecture, Shape, Surrogate
from dnl.training.recipes import RECIPE_NAMES, Recipe
from games import FollowerGame, PersuasionGame


def build(shape: Shape, sizes: Architecture) -> PosteriorNetwork:
    """The network of all senders."""
    return PosteriorNetwork(*shape[:3], sizes.choices_of(shape))


def refusal(game: FollowerGame) -> str | None:
    """Only a receiver who sees posteriors makes utilities such sums."""
    return None if isinstance(game, PersuasionGame) else "is for persuasion games only"


RECIPE = Recipe(
    lr=0.02,
    last=0.005,
    batch_size=256,
    posteriors=2**14,
    temperature=(0.05, 0.001),
    refit=200,
    restarts=4,
)
POSTERIOR_DNL = Surrogate(
    name="posterior-dnl",
    build=build,
    recipes=dict.fromkeys(RECIPE_NAMES, RECIPE),  # the paper has no such network
    per_sender=False,
    refusal=refusal,
    label="Posterior DNL",
    colour="#D55E00",
    marker="P",
)
