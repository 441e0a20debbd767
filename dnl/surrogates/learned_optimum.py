"""The best decision of a single leader according to a fitted follower network.

While the learned follower takes choice c, prediction and scores are linear in the decision. So one
linear program per choice gives the optimum, as for the true game (`dnl.exact.commitment`). Optima
lie at jumps, and learned jumps are slightly off; so the decision keeps a distance from them.

Shapes: `C` choices of the learned follower, `D = S * M` entries of a decision.
"""

import numpy as np
import torch
from torch import Tensor

from dnl.exact.linear_program import LinearProgram
from dnl.runtime.budget import FOREVER
from dnl.surrogates.affine_pieces import is_affine
from dnl.surrogates.fitted import SUPPORT, FittedSurrogate
from games import checks
from games.checks import Array
from games.randomness import stream, uniform_distributions
from games.surroundings import own_surroundings

SAMPLED_PROFILES = 10_000  # by which rare choices are recognised


@own_surroundings()
def learned_optimum(
    fitted: FittedSurrogate, margin: float = 0.004, profiles: Array | None = None
) -> Tensor:
    """The decision with the highest prediction at distance `margin` from every learned jump.

    Choices that the learned follower makes at less than a thousandth of `profiles` are left out.
    With few samples this is a poor decision: the prediction at its own optimum errs upwards.

    Args:
        fitted: `"follower-dnl"` of a game of one leader, with one follower.
        margin: Euclidean distance between profiles within which the learned choice stays the same.
        profiles: `(B, 1, S, M)`, distributed as in the fit; None for 10,000 uniform ones.

    Returns:
        `(1, S, M)`, float64 on the CPU.

    Raises:
        ValueError: for another surrogate, malformed profiles, or a margin that is not positive or
            too large for every choice.
        ImportError: if highspy is not installed.
    """
    margin = checks.positive_number("margin", margin)
    checks.instance("fitted", fitted, FittedSurrogate)
    network = fitted.networks.network(0).double().cpu()
    n_leaders, n_entries, n_rows, _ = fitted.shape
    if n_leaders != 1 or not is_affine(network):
        raise ValueError(
            "fitted must be a 'follower-dnl' of one leader and one follower, "
            f"got {fitted.surrogate!r} of shape {fitted.shape}"
        )
    if profiles is None:
        generator = stream("learned optimum", fitted.game)
        profiles = uniform_distributions((SAMPLED_PROFILES, 1, n_rows, n_entries), generator)
    profiles = checks.as_tensor("profiles", profiles)
    checks.profiles("profiles", profiles, 1, n_rows, n_entries)
    if profiles.ndim == 3 or not len(profiles):
        raise ValueError(f"profiles must be many, (B, 1, S, M), got shape {tuple(profiles.shape)}")
    with torch.no_grad():
        supported = network.choice(profiles.double().cpu().flatten(1)).mean(0) >= SUPPORT  # (C,)
    planes = network.planes()[..., 0]  # (C, D + 1)
    score, value, bias = network.choice.weight.detach(), planes[:, :-1], planes[:, -1]
    rows = np.kron(np.eye(n_rows), np.ones(n_entries))  # (S, D): every row sums to 1
    best, policies = -np.inf, None
    for choice in supported.nonzero()[:, 0].tolist():
        ahead = score[choice] - score  # (C, D); its own row is 0 >= 0
        along = ahead.unflatten(1, (n_rows, n_entries))  # less what no decision can change
        steepness = (along - along.mean(2, keepdim=True)).flatten(1).norm(dim=1)
        point = (
            LinearProgram(
                value[choice].numpy(),
                np.ones(score.shape[1]),
                np.vstack([ahead.numpy(), rows]),
                np.append(margin * steepness.numpy(), np.ones(n_rows)),
                np.append(np.full(len(score), np.inf), np.ones(n_rows)),
            )
            .solve(FOREVER)
            .point
        )
        if point is not None and (reached := point @ value[choice].numpy() + bias[choice]) > best:
            best, policies = reached, torch.from_numpy(point)
    if policies is None:
        raise ValueError(f"margin must leave room in the piece of some choice, got {margin!r}")
    shaped = policies.view(1, n_rows, n_entries)
    return shaped / shaped.sum(-1, keepdim=True)
