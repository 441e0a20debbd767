"""Games and profiles whose best responses are known exactly from the references."""

import dataclasses

import torch
from torch import Tensor

from games import PersuasionGame, synthetic_game
from games.randomness import near_pure
from tests.references import best_response as reference

TIE_BREAKS = ["first", "senders"]
KINDS = ["random", "near-pure", "pure"]
Tables = tuple[reference.Array, reference.Array, reference.Array]
Sizes = tuple[int, int, int, int]  # N, M, S, A


def contested(sizes: Sizes, seed: int, tie_break: str = "first") -> PersuasionGame:
    game = synthetic_game(*sizes, seed=seed, law="contested")
    return dataclasses.replace(game, tie_break=tie_break)


def profile(game: PersuasionGame, kind: str, seed: int = 0) -> Tensor:
    mixed, other = game.sample_policies(2, torch.Generator().manual_seed(seed))
    noise = {"random": 1.0, "near-pure": 0.05, "pure": 0.0}[kind]
    return near_pure(other.argmax(-1), mixed, noise)


def tables(game: PersuasionGame, policies: Tensor, sender: int) -> Tables:
    weights = reference.others_weights(game.prior.numpy(), policies.numpy(), sender)
    return weights, game.receiver_utility.numpy(), game.sender_utility[sender].numpy()
