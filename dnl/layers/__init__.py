"""Layers of discontinuous networks: activation patterns, and layers whose weights depend on them.

Plain `nn.Module`s on `(..., features)` tensors; they know nothing of games (they only share the
wording of error messages) or of training. The DNL of "Multi-Sender Persuasion" (section 4.1) in
three lines, for any input with cliffs:

    >>> import torch
    >>> from dnl.layers import DiscontinuousMLP
    >>> network = DiscontinuousMLP(in_features=8, out_features=1)
    >>> network(torch.rand(5, 8)).shape
    torch.Size([5, 1])
"""

from dnl.layers.discontinuous import DiscontinuousMLP
from dnl.layers.emitted import EmittedLinear
from dnl.layers.follower import (
    FollowerChoice,
    FollowerNetwork,
    least_squares,
    quantal_response,
)
from dnl.layers.linear import Linear
from dnl.layers.patterns import (
    PATTERN_GRADIENTS,
    ActivationPattern,
    PatternBias,
    PatternedMLP,
    relu_mlp,
)

__all__ = [
    "PATTERN_GRADIENTS",
    "ActivationPattern",
    "DiscontinuousMLP",
    "EmittedLinear",
    "FollowerChoice",
    "FollowerNetwork",
    "Linear",
    "PatternBias",
    "PatternedMLP",
    "least_squares",
    "quantal_response",
    "relu_mlp",
]
