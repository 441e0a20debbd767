"""Equilibria of multi-sender persuasion games with discontinuous networks."""

__version__ = "0.1.0"
