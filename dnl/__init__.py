"""Equilibria of multi-sender persuasion games with discontinuous networks."""

from dnl import interruption

interruption.while_loading()  # before what takes seconds to import

from dnl import figures, layers, surrogates
from dnl.ceiling import WelfareCeiling, welfare_ceiling
from dnl.exact.optima import Optimum, Worst, follower_optimum, follower_worst
from dnl.exact.pricing import pricing_gain
from dnl.exact.response import BestResponse, best_response
from dnl.finding import Equilibrium, find_equilibria
from dnl.fitted import FitConfig, FittedSurrogate
from dnl.fitting import fit, fit_many
from dnl.persuasion import OptimalPersuasion, optimal_persuasion
from dnl.revelation import FullRevelation, full_revelation
from dnl.solver import ExtragradientConfig, ExtragradientResult, extragradient
from dnl.verification import Verification, verify

figures.forget_unusable_backend()  # before anything imports matplotlib, Lightning included

__version__ = "0.1.0"

__all__ = [
    "BestResponse",
    "Equilibrium",
    "ExtragradientConfig",
    "ExtragradientResult",
    "FitConfig",
    "FittedSurrogate",
    "FullRevelation",
    "OptimalPersuasion",
    "Optimum",
    "Verification",
    "WelfareCeiling",
    "Worst",
    "best_response",
    "extragradient",
    "find_equilibria",
    "fit",
    "fit_many",
    "follower_optimum",
    "follower_worst",
    "full_revelation",
    "layers",
    "optimal_persuasion",
    "pricing_gain",
    "surrogates",
    "verify",
    "welfare_ceiling",
]
