"""Game simulators: torch in, torch out, no learning. See `PersuasionGame` and `REGISTRY`.

Other games whose leaders' utilities jump when a follower switches choice: see `FollowerGame`.
"""

from games.advertising import advertising_products_game, advertising_quality_game
from games.classic import didactic_game, prosecutor_game
from games.contracts import ContractGame, random_contract_game
from games.estimation import UtilityEstimate
from games.focused import Focused
from games.follower import FollowerGame
from games.matrix import random_matrix_game
from games.persuasion import PersuasionGame
from games.pricing import PricingGame, random_pricing_game
from games.registry import REGISTRY, Family
from games.ride_hailing import ride_hailing_game
from games.security import SecurityGame, random_security_game
from games.stacking import GameStack, stack
from games.synthetic import LAWS, synthetic_game
from games.zoomed import Zoomed

__all__ = [
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
