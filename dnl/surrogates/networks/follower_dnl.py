"""follower-dnl: all leaders' utilities in any game with followers."""

from math import prod

import torch
from torch import Tensor

from dnl.layers import FollowerNetwork
from dnl.surrogates.affine_pieces import is_affine, settle
from dnl.surrogates.registry import Architecture, Shape, Surrogate
from dnl.training.recipes import RECIPE_NAMES, Recipe

FOLLOWERS = 12  # of several leaders; the shape of a game does not tell how many there are


class SettlingFollowerNetwork(FollowerNetwork):
    """A `FollowerNetwork` that exact pieces can replace after training, where they fit better."""

    def settle(self, x: Tensor, y: Tensor, generator: torch.Generator) -> bool:
        """See `dnl.surrogates.affine_pieces.settle`; False where there are several followers."""
        return is_affine(self) and settle(self, x, y, generator)


def build(shape: Shape, sizes: Architecture) -> SettlingFollowerNetwork:
    """The network of all leaders."""
    n_leaders = shape[0]
    followers = sizes.followers or (1 if n_leaders == 1 else FOLLOWERS)
    return SettlingFollowerNetwork(
        prod(shape[:3]), n_leaders, sizes.choices_of(shape), n_followers=followers
    )


# Small batches and a hot start halve the error on contracts and security games.
RECIPE = Recipe(
    lr=0.02,
    last=0.005,
    batch_size=64,
    temperature=(0.2, 0.001),
    refit=800,
    restarts=4,
    settle=True,
)
FOLLOWER_DNL = Surrogate(
    name="follower-dnl",
    build=build,
    recipes=dict.fromkeys(RECIPE_NAMES, RECIPE),  # the paper has no such network
    per_sender=False,
    label="Follower DNL",
    colour="#CC79A7",
    marker="*",
)
