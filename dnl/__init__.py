"""Equilibria of multi-sender persuasion games with discontinuous networks."""

from importlib import import_module
from types import ModuleType

from dnl.runtime import interruption

interruption.while_loading()  # before what takes seconds to import

from dnl import layers, surrogates
from dnl.equilibria import (
    Equilibrium,
    LearnedCandidate,
    find_equilibria,
    find_learned_equilibria,
)
from dnl.equilibria.verification import Verdict, Verification, Verifications, verify
from dnl.exact.best_response import BestResponse, best_response
from dnl.exact.commitment import Optimum, Worst, follower_optimum, follower_worst
from dnl.exact.full_revelation import FullRevelation, full_revelation
from dnl.exact.optimal_persuasion import OptimalPersuasion, optimal_persuasion
from dnl.exact.pricing_gain import pricing_gain
from dnl.exact.welfare_ceiling import WelfareCeiling, welfare_ceiling
from dnl.gradients.extragradient import ExtragradientConfig, ExtragradientResult, extragradient
from dnl.reporting import figures
from dnl.runtime import old_names
from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.fitting import fit, fit_many

figures.forget_unusable_backend()  # before anything imports matplotlib, Lightning included
old_names.install()

__version__ = "0.1.0"

__all__ = [
    "BestResponse",
    "Equilibrium",
    "ExtragradientConfig",
    "ExtragradientResult",
    "FitConfig",
    "FittedSurrogate",
    "FullRevelation",
    "LearnedCandidate",
    "OptimalPersuasion",
    "Optimum",
    "Verdict",
    "Verification",
    "Verifications",
    "WelfareCeiling",
    "Worst",
    "best_response",
    "extragradient",
    "find_equilibria",
    "find_learned_equilibria",
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


def __getattr__(name: str) -> ModuleType:
    """A documented module under its old name, as in `dnl.recipes`."""
    if f"dnl.{name}" in old_names.MOVED:
        return import_module(f"dnl.{name}")
    raise AttributeError(f"module 'dnl' has no attribute {name!r}")
