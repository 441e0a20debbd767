"""Networks that stand in for a game: which there are, how they are fitted, what they learn."""

from dnl.surrogates.registry import (
    PAPER_SURROGATES,
    SURROGATES,
    Architecture,
    DeLUNetwork,
    ReLUNetwork,
    Shape,
    check_surrogate,
    make_surrogate,
    network_shape,
    networks_per_game,
    parameter_count,
)

__all__ = [
    "PAPER_SURROGATES",
    "SURROGATES",
    "Architecture",
    "DeLUNetwork",
    "ReLUNetwork",
    "Shape",
    "check_surrogate",
    "make_surrogate",
    "network_shape",
    "networks_per_game",
    "parameter_count",
]
