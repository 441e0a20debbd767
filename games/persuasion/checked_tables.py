"""The tables that define a persuasion game, checked."""

import torch
from torch import Tensor

from games import checks
from games.checks import Array


def checked_tables(
    prior: Array, receiver_utility: Array, sender_utility: Array
) -> tuple[Tensor, Tensor, Tensor]:
    """Prior `(S,)`, receiver's `(S, A)` and senders' `(N, S, A)` utilities, of one dtype.

    Raises:
        ValueError: naming the table that is malformed, and what came.
    """
    prior = checks.as_float_tensor("prior", prior)
    v = checks.as_float_tensor("receiver_utility", receiver_utility)
    u = checks.as_float_tensor("sender_utility", sender_utility)
    if prior.ndim != 1 or prior.numel() == 0:
        raise ValueError(f"prior must have shape (S,) with S >= 1, got {tuple(prior.shape)}")
    if (prior < 0).any():
        raise ValueError(f"prior must not be negative, got {checks.shown(prior)}")
    total = prior.double().sum().item()
    if abs(total - 1) > 1e-6:
        raise ValueError(f"prior must sum to 1, got {checks.shown(prior)} with sum {total:.9g}")
    if v.ndim != 2 or 0 in v.shape:
        raise checks.shape_error("receiver_utility", "(S, A)", (len(prior), "A >= 1"), v)
    if u.ndim != 3 or 0 in u.shape:
        expected = ("N >= 1", len(prior), v.shape[1])
        raise checks.shape_error("sender_utility", "(N, S, A)", expected, u)
    _same_states({"prior": len(prior), "receiver_utility": len(v), "sender_utility": u.shape[1]})
    if u.shape[2] != v.shape[1]:
        raise checks.shape_error("sender_utility", "(N, S, A)", ("N >= 1", *v.shape), u)
    prior, v, u = checks.common_dtype(prior, v, u)
    checks.moderate("receiver_utility", v)
    checks.moderate("sender_utility", u)
    # A prior that already sums to 1 keeps its bits, so that saving and loading changes nothing.
    if abs(total - 1) > 8 * torch.finfo(prior.dtype).eps:
        prior = prior / prior.sum()
    return prior, v, u


def _same_states(counts: dict[str, int]) -> None:
    """Raise unless all three tables have equally many states, blaming the odd one out."""
    numbers = list(counts.values())
    odd = [name for name, count in counts.items() if numbers.count(count) == 1]
    if not odd:
        return
    wanted = (
        f"{odd[0]} must have as many states as the other tables"
        if len(odd) == 1
        else f"{', '.join(counts)} must have equally many states"
    )
    got = ", ".join(f"{count} in {name}" for name, count in counts.items())
    raise ValueError(f"{wanted}, got {got}")
