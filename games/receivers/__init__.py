"""Receivers of games of one sender, whom a sender who does not know them asks what they do."""

from games.receivers.base import BaseReceiver
from games.receivers.learning import (
    BanditReceiver,
    LearningReceiver,
    QLearningReceiver,
    ReinforceReceiver,
)
from games.receivers.rational import QuantalReceiver, RationalReceiver
from games.receivers.registry import RECEIVERS, ReceiverKind

__all__ = [
    "RECEIVERS",
    "BanditReceiver",
    "BaseReceiver",
    "LearningReceiver",
    "QLearningReceiver",
    "QuantalReceiver",
    "RationalReceiver",
    "ReceiverKind",
    "ReinforceReceiver",
]
