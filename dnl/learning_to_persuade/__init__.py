"""A sender that does not know the receiver learns to persuade it by asking.

The setting and the first method are those of "Learning to Persuade" (under review at ICLR 2022);
sections and equations refer to it.
"""

from dnl.learning_to_persuade.alternating import AlternatingConfig, learn_alternating
from dnl.learning_to_persuade.asking import AskingConfig, learn_by_asking
from dnl.learning_to_persuade.baselines import (
    info_policy,
    info_q,
    model_receiver,
    play,
)
from dnl.learning_to_persuade.networks import ReceiverNetwork, TableNet
from dnl.learning_to_persuade.problem import Interview, LearnedPolicy, SenderProblem
from dnl.learning_to_persuade.senders import PlayConfig
from dnl.learning_to_persuade.warm_up import PAPER_WARM_UP, WarmUpConfig, persuade_known

__all__ = [
    "PAPER_WARM_UP",
    "AlternatingConfig",
    "AskingConfig",
    "Interview",
    "LearnedPolicy",
    "PlayConfig",
    "ReceiverNetwork",
    "SenderProblem",
    "TableNet",
    "WarmUpConfig",
    "info_policy",
    "info_q",
    "learn_alternating",
    "learn_by_asking",
    "model_receiver",
    "persuade_known",
    "play",
]
