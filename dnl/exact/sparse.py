"""Sparse matrices of scipy, imported without its side effect: importing changes no setting."""

import warnings

with warnings.catch_warnings():  # scipy.sparse adds a filter of its own
    from scipy.sparse import coo_matrix, csr_matrix, hstack, vstack

__all__ = ["coo_matrix", "csr_matrix", "hstack", "vstack"]
