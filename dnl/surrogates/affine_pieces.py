"""The pieces of a piecewise affine function, exactly: what descent leaves a little off, put right.

Where a follower's choice stays, a leader's utility is often affine and simulated without noise.
Then a few samples give a piece away for good: all others of that piece lie on the same plane. So
the planes are found by consensus (Fischler and Bolles 1981), starting from what descent has learned
(clusterwise regression, Spaeth 1979); every sample is told its piece; and the choices' scores
follow from a linear classification of the samples. Those are separable for a follower of linear
scores, unless two of its choices are worth the same to everybody: such two become one piece.

Shapes: `B` samples, `F` features, `C` pieces, `O` outputs.
"""

import math
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnl.layers import FollowerNetwork
from dnl.layers.follower import extended

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}  # of a sample's distance from its plane
SWEEPS = 10  # of clusterwise regression
TRIES = 64  # neighbourhoods that are asked for another plane
RIDGE = 1e-9  # of scores, which separable samples would let grow for ever
SEEN = 1e-12  # of the largest second moment: directions of less are rounding
ITERATIONS = 500  # of the classification


@dataclass(frozen=True, eq=False)
class Pieces:
    """Planes and who lies on which.

    Attributes:
        planes: `(C, F, O)`; zero for a piece that was not needed.
        piece: `(B,)` int64, -1 for a sample on no plane.
    """

    planes: Tensor
    piece: Tensor


def find_pieces(
    x: Tensor, y: Tensor, planes: Tensor, generator: torch.Generator, tolerance: float
) -> Pieces:
    """At most `C` planes on which the samples lie.

    Args:
        x: `(B, F)` float64; a feature that is 1 everywhere makes linear maps affine.
        y: `(B, O)`, of size 1.
        planes: `(C, F, O)`, where to start.
        generator: of the neighbourhoods.
        tolerance: largest distance `|x plane - y|`, summed over outputs, of a sample on a plane.
    """
    enough = 2 * x.shape[1]  # samples that make a consensus
    planes = _clusterwise(x, y, planes.to(x), enough)
    hits = distances(x, y, planes) <= tolerance  # (B, C)
    free = torch.ones(len(x), dtype=torch.bool)
    found: list[Tensor] = []
    while len(found) < len(planes):  # the plane of most samples that are not on another yet
        count, best = (hits & free.unsqueeze(1)).sum(0).max(0)
        if count < enough:
            break
        found.append(_solve(x[hits[:, best]], y[hits[:, best]]))
        free &= distances(x, y, found[-1].unsqueeze(0))[:, 0] > tolerance
    while len(found) < len(planes) and free.sum() >= enough:
        plane = _another(x[free], y[free], enough, generator, tolerance)
        if plane is None:
            break
        found.append(plane)
        free &= distances(x, y, plane.unsqueeze(0))[:, 0] > tolerance
    if not found:
        return Pieces(torch.zeros_like(planes), torch.full((len(x),), -1))
    nearest, piece = distances(x, y, torch.stack(found)).min(1)
    missing = [torch.zeros_like(planes[0])] * (len(planes) - len(found))
    return Pieces(torch.stack(found + missing), piece.where(nearest <= tolerance, -1))


def distances(x: Tensor, y: Tensor, planes: Tensor) -> Tensor:
    """`|x plane - y|`, summed over outputs: `(B, C)`."""
    return torch.stack([(x @ plane - y).abs().sum(1) for plane in planes], 1)


def _clusterwise(x: Tensor, y: Tensor, planes: Tensor, enough: int) -> Tensor:
    """Each plane by least squares on the nearer half of the samples nearest to it, in turns."""
    for _ in range(SWEEPS):
        nearest, piece = distances(x, y, planes).min(1)
        moved = planes.clone()
        for c in piece.unique().tolist():
            mine = (piece == c).nonzero()[:, 0]
            if len(mine) >= enough:
                mine = mine[nearest[mine] <= nearest[mine].median()]
                moved[c] = _solve(x[mine], y[mine])
        planes = moved
    return planes


def _another(
    x: Tensor, y: Tensor, enough: int, generator: torch.Generator, tolerance: float
) -> Tensor | None:
    """The plane of most of these samples, among those that neighbourhoods suggest."""
    best: tuple[int, Tensor | None] = (enough - 1, None)
    for centre in torch.randint(len(x), (TRIES,), generator=generator).tolist():
        distance = (x - x[centre]).square().sum(1)
        near = distance.topk(min(x.shape[1] + 4, len(x)), largest=False).indices
        plane = _solve(x[near], y[near])
        on = distances(x, y, plane.unsqueeze(0))[:, 0] <= tolerance
        if on.sum() > best[0]:
            best = (int(on.sum()), _solve(x[on], y[on]))
    return best[1]


def _solve(x: Tensor, y: Tensor) -> Tensor:
    """Least squares, the smallest solution of many: probabilities make features dependent."""
    return torch.linalg.lstsq(x, y, driver="gelsd").solution


def separating_scores(x: Tensor, piece: Tensor, n_pieces: int) -> Tensor:
    """Linear scores `(n_pieces, in)` whose arg max is nearly every sample's piece, if possible.

    Logistic regression with hardly any ridge. Of separable samples a few in ten thousand, right at
    a boundary, may be left on its wrong side.

    Args:
        x: `(B, in)` float64.
        piece: `(B,)` int64, from 0 to `n_pieces - 1`.
    """
    size, axes = torch.linalg.eigh(x.mT @ x / len(x))
    seen = size >= SEEN * size[-1]
    whitened = axes[:, seen] / size[seen].clamp_min(torch.finfo(x.dtype).tiny).sqrt()  # (in, seen)
    z = x @ whitened
    weight = z.new_zeros(n_pieces, z.shape[1]).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weight],
        max_iter=ITERATIONS,
        tolerance_grad=1e-10,
        tolerance_change=1e-13,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(z @ weight.mT, piece) + RIDGE * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return weight.detach() @ whitened.mT


def is_affine(network: nn.Module) -> TypeGuard[FollowerNetwork]:
    """Whether `settle` knows such networks: those of one follower with linear scores."""
    return (
        isinstance(network, FollowerNetwork)
        and network.choice.n_followers == 1
        and network.choice.scorer is None
    )


@torch.no_grad()
def settle(network: FollowerNetwork, x: Tensor, y: Tensor, generator: torch.Generator) -> bool:
    """Replace a fitted network by exact pieces where these predict better; whether they did.

    Args:
        network: of one follower with linear scores, on the CPU like all else.
        x: `(B, in_features)`.
        y: `(B, out_features)`, of size 1, without noise. The tolerance is that of its dtype.
        generator: of the search for pieces.

    Raises:
        ValueError: for another network.
    """
    if not is_affine(network):
        raise ValueError(
            "network must have one follower with linear scores, got "
            f"n_followers={network.choice.n_followers}, scorer={network.choice.scorer}"
        )
    before = _error(network, x, y)
    learned = {name: value.clone() for name, value in network.state_dict().items()}
    inputs, targets = x.double(), y.double()
    planes = network.planes().double().nan_to_num(0.0, 0.0, 0.0)  # training may have diverged
    pieces = find_pieces(extended(inputs), targets, planes, generator, TOLERANCE[y.dtype])
    known = pieces.piece >= 0
    kept, piece = pieces.piece[known].unique(return_inverse=True)
    if not len(kept):
        return False
    scores = separating_scores(inputs[known], piece, len(kept))
    # Choices that are not needed are copies of the first one.
    number = torch.arange(len(planes))
    number = number.where(number < len(kept), 0)
    network.choice.weight.copy_(scores[number])
    network.set_planes(pieces.planes[kept[number]])
    after = _error(network, x, y)
    if after < before or (math.isnan(before) and math.isfinite(after)):
        return True
    network.load_state_dict(learned)
    return False


def _error(network: FollowerNetwork, x: Tensor, y: Tensor) -> float:
    """Mean squared."""
    return (network(x.to(network.choice.weight)) - y).square().mean().item()
