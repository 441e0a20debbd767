"""Receivers to be asked, and learned from, by a sender who does not know them."""

from games.receivers.base import BaseReceiver
from games.receivers.learning import (
    BanditReceiver,
    LearningReceiver,
    QLearningReceiver,
    ReinforceReceiver,
)
from games.receivers.rational import QuantalReceiver, RationalReceiver

__all__ = [
    "BanditReceiver",
    "BaseReceiver",
    "LearningReceiver",
    "QLearningReceiver",
    "QuantalReceiver",
    "RationalReceiver",
    "ReinforceReceiver",
]
