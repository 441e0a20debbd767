"""Multi-sender persuasion games: the simulator and the families of games."""

from games.persuasion.checked_game import persuasion_game
from games.persuasion.game import TIE_BREAKS, PersuasionGame, of_one_sender

__all__ = ["TIE_BREAKS", "PersuasionGame", "of_one_sender", "persuasion_game"]
