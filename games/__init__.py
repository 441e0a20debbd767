"""Game simulators: torch in, torch out, no learning. See `PersuasionGame` and `REGISTRY`."""

from games.advertising import advertising_products_game, advertising_quality_game
from games.classic import didactic_game, prosecutor_game
from games.persuasion import PersuasionGame
from games.registry import REGISTRY, Family
from games.ride_hailing import ride_hailing_game
from games.stacking import GameStack, stack
from games.synthetic import LAWS, synthetic_game

__all__ = [
    "LAWS",
    "REGISTRY",
    "Family",
    "GameStack",
    "PersuasionGame",
    "advertising_products_game",
    "advertising_quality_game",
    "didactic_game",
    "prosecutor_game",
    "ride_hailing_game",
    "stack",
    "synthetic_game",
]
