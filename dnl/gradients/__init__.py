"""Gradients of each sender's own utility, and extra-gradient ascent."""
