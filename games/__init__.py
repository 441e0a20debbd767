"""Game simulators: torch in, torch out, no learning. See `PersuasionGame` and `REGISTRY`.

Other games whose leaders' utilities jump when a follower switches choice: see `FollowerGame`.
"""

from games.followers.base import FollowerGame
from games.followers.contracts import ContractGame, random_contract_game
from games.followers.focused import Focused
from games.followers.pricing import PricingGame, random_pricing_game
from games.followers.security import SecurityGame, random_security_game
from games.followers.zoomed import Zoomed
from games.persuasion.advertising import advertising_products_game, advertising_quality_game
from games.persuasion.classic import didactic_game, prosecutor_game
from games.persuasion.estimation import UtilityEstimate
from games.persuasion.game import PersuasionGame
from games.persuasion.game_stack import GameStack, stack
from games.persuasion.matrix import random_matrix_game
from games.persuasion.ride_hailing import ride_hailing_game
from games.persuasion.synthetic import LAWS, synthetic_game
from games.registry import FOLLOWER_REGISTRY, REGISTRY, Family

__all__ = [
    "FOLLOWER_REGISTRY",
    "LAWS",
    "REGISTRY",
    "ContractGame",
    "Family",
    "Focused",
    "FollowerGame",
    "GameStack",
    "PersuasionGame",
    "PricingGame",
    "SecurityGame",
    "UtilityEstimate",
    "Zoomed",
    "advertising_products_game",
    "advertising_quality_game",
    "didactic_game",
    "prosecutor_game",
    "random_contract_game",
    "random_matrix_game",
    "random_pricing_game",
    "random_security_game",
    "ride_hailing_game",
    "stack",
    "synthetic_game",
]
