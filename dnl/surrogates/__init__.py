"""Networks that stand in for a game: which there are, how they are fitted, what they learn."""

from dnl.surrogates.networks.delu import DeLUNetwork
from dnl.surrogates.networks.relu import ReLUNetwork
from dnl.surrogates.registry import (
    PAPER_SURROGATES,
    SURROGATES,
    Architecture,
    Shape,
    Surrogate,
    check_surrogate,
    make_surrogate,
    network_shape,
    networks_per_game,
    parameter_count,
    register,
)

__all__ = [
    "PAPER_SURROGATES",
    "SURROGATES",
    "Architecture",
    "DeLUNetwork",
    "ReLUNetwork",
    "Shape",
    "Surrogate",
    "check_surrogate",
    "make_surrogate",
    "network_shape",
    "networks_per_game",
    "parameter_count",
    "register",
]
