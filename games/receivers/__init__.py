"""Receivers of games of one sender, for senders that learn how a receiver reacts by asking it."""

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
