"""Surrogates: networks that predict senders' utilities, fitted to samples of a game."""

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
