"""A sender who does not know the receiver learns to persuade it by asking.

"Learning to Persuade" (under review at ICLR 2022) has the setting and the first method; references
to sections and equations are to it.
"""

from dnl.learning_to_persuade.baselines import info_policy, info_q, model_receiver, play
from dnl.learning_to_persuade.problem import Interview, LearnedPolicy, SenderProblem
from dnl.learning_to_persuade.senders import PlayConfig

__all__ = [
    "Interview",
    "LearnedPolicy",
    "PlayConfig",
    "SenderProblem",
    "info_policy",
    "info_q",
    "model_receiver",
    "play",
]
