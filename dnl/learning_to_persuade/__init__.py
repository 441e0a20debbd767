"""A sender who does not know the receiver learns to persuade it by asking.

"Learning to Persuade" (under review at ICLR 2022) has the setting and the first method; references
to sections and equations are to it.
"""

from dnl.learning_to_persuade.asking import AskingConfig, learn_by_asking
from dnl.learning_to_persuade.baselines import (
    PlayConfig,
    info_policy,
    info_q,
    model_receiver,
    play,
)
from dnl.learning_to_persuade.problem import Interview, LearnedPolicy, SenderProblem

__all__ = [
    "AskingConfig",
    "Interview",
    "LearnedPolicy",
    "PlayConfig",
    "SenderProblem",
    "info_policy",
    "info_q",
    "learn_by_asking",
    "model_receiver",
    "play",
]
