"""Exact recovery of a piecewise affine function from noiseless samples.

While a follower's choice stays the same, a leader's utility is often affine and simulated without
noise. Then a few samples of a piece determine its plane, and all other samples of the piece lie on
it. The planes are found by consensus (Fischler and Bolles 1981), starting from those that gradient
descent has learned (clusterwise regression, Spaeth 1979). Each sample is then assigned to its
piece, and a linear classification of the samples gives the scores of the choices. The samples of a
follower with linear scores are separable, unless two choices are worth the same to everybody: these
two become one piece.

Shapes: `B` samples, `F` features, `C` pieces, `O` outputs.
"""

import math
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnl.layers import FollowerNetwork, shapes
from dnl.layers.follower import extended
from games import checks
from games.randomness import generator_of

PLANE_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}  # distance of a sample from its plane
SWEEPS = 10  # of clusterwise regression
NEIGHBOURHOODS = 64  # in which another plane is looked for
SCORE_RIDGE = 1e-9  # on the scores, which would grow without bound on separable samples
LEAST_MOMENT = 1e-12  # share of the largest second moment; directions with less are rounding
CLASSIFIER_ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class Pieces:
    """Planes, and the plane on which each sample lies.

    Attributes:
        planes: `(C, F, O)`; zero for a piece that is not needed.
        piece: `(B,)` int64, -1 for a sample that lies on none.
    """

    planes: Tensor
    piece: Tensor

    def __repr__(self) -> str:
        on = int((self.piece >= 0).sum())
        return (
            f"Pieces(planes: {tuple(self.planes.shape)}, samples on one: {on} of {len(self.piece)})"
        )


def find_pieces(
    x: Tensor,
    y: Tensor,
    planes: Tensor,
    generator: torch.Generator | None = None,
    tolerance: float = PLANE_TOLERANCE[torch.float64],
    *,
    seed: int | None = None,
) -> Pieces:
    """Find at most `C` planes on which the samples lie.

    Args:
        x: `(B, F)` float64; a feature that is always 1 makes linear maps affine.
        y: `(B, O)`, of unit scale.
        planes: `(C, F, O)`, the initial ones.
        generator, seed: one of them, to draw the neighbourhoods; neither for torch's global
            generator.
        tolerance: largest distance `|x plane - y|`, summed over outputs, of a sample on a plane.

    Raises:
        ValueError: for a bad argument.
    """
    generator = generator_of(seed, generator)
    tolerance = checks.positive_number("tolerance", tolerance)
    shapes.samples(x, y)
    shapes.table("planes", planes, "(C, F, O)", "C", x.shape[1], y.shape[1])
    for name, value in (("x", x), ("y", y)):
        if value.dtype != torch.float64:
            raise ValueError(f"{name} must be float64, got {value.dtype}")
    enough = 2 * x.shape[1]  # samples for a consensus
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
    """Alternate: assign samples to the nearest plane; refit each to the nearer half of its own."""
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
    x: Tensor, y: Tensor, enough: int, generator: torch.Generator | None, tolerance: float
) -> Tensor | None:
    """The plane, fitted to a random neighbourhood, on which most of these samples lie."""
    best: tuple[int, Tensor | None] = (enough - 1, None)
    for centre in torch.randint(len(x), (NEIGHBOURHOODS,), generator=generator).tolist():
        distance = (x - x[centre]).square().sum(1)
        near = distance.topk(min(x.shape[1] + 4, len(x)), largest=False).indices
        plane = _solve(x[near], y[near])
        on = distances(x, y, plane.unsqueeze(0))[:, 0] <= tolerance
        if on.sum() > best[0]:
            best = (int(on.sum()), _solve(x[on], y[on]))
    return best[1]


def _solve(x: Tensor, y: Tensor) -> Tensor:
    """Least squares of least norm: features that are probabilities are linearly dependent."""
    return torch.linalg.lstsq(x, y, driver="gelsd").solution


def separating_scores(x: Tensor, piece: Tensor, n_pieces: int) -> Tensor:
    """Linear scores `(n_pieces, in)` whose arg max is each sample's piece, where that is possible.

    Logistic regression with a tiny ridge. Even of separable samples, a few in ten thousand that are
    very close to a boundary may end up on its wrong side.

    Args:
        x: `(B, in)` float64.
        piece: `(B,)` int64, from 0 to `n_pieces - 1`.

    Raises:
        ValueError: for a bad argument.
    """
    checks.positive_integer("n_pieces", n_pieces)
    if shapes.table("x", x, "(B, in)", "B", "in").dtype != torch.float64 or not len(x):
        raise ValueError(f"x must hold float64 samples, got {checks.shown(x)} of {x.dtype}")
    if not isinstance(piece, Tensor) or piece.dtype != torch.int64 or piece.shape != x.shape[:1]:
        raise ValueError(f"piece must be int64 (B,) = ({len(x)}), got {checks.shown(piece)}")
    if piece.min() < 0 or piece.max() >= n_pieces:
        raise ValueError(f"piece must lie in 0..{n_pieces - 1}, got {checks.shown(piece)}")
    size, axes = torch.linalg.eigh(x.mT @ x / len(x))
    seen = size >= LEAST_MOMENT * size[-1]
    whitened = axes[:, seen] / size[seen].clamp_min(torch.finfo(x.dtype).tiny).sqrt()  # (in, seen)
    z = x @ whitened
    weight = z.new_zeros(n_pieces, z.shape[1]).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weight],
        max_iter=CLASSIFIER_ITERATIONS,
        tolerance_grad=1e-10,
        tolerance_change=1e-13,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(z @ weight.mT, piece) + SCORE_RIDGE * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return weight.detach() @ whitened.mT


def is_affine(network: nn.Module) -> TypeGuard[FollowerNetwork]:
    """Whether `settle` applies to a network: it has one follower with linear scores."""
    return (
        isinstance(network, FollowerNetwork)
        and network.choice.n_followers == 1
        and network.choice.scorer is None
    )


@torch.no_grad()
def settle(
    network: FollowerNetwork,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
) -> bool:
    """Replace a fitted network's values by exact pieces if these predict better; True if so.

    Args:
        network: of one follower with linear scores, on the CPU like the samples.
        x: `(B, in_features)`.
        y: `(B, out_features)`, of unit scale and without noise. Its dtype decides the tolerance.
        generator, seed: as in `find_pieces`.

    Raises:
        ValueError: for another network, or a bad argument.
    """
    generator = generator_of(seed, generator)
    checks.instance("network", network, FollowerNetwork)
    if not is_affine(network):
        raise ValueError(
            "network must have one follower with linear scores, got "
            f"n_followers={network.choice.n_followers}, scorer={network.choice.scorer}"
        )
    head = network.head
    shapes.samples(x, y, head.in_features, head.out_features)
    if y.dtype not in PLANE_TOLERANCE:
        raise ValueError(f"y must be float32 or float64, got {y.dtype}")
    before = _error(network, x, y)
    learned = {name: value.clone() for name, value in network.state_dict().items()}
    inputs, targets = x.double(), y.double()
    planes = network.planes().double().nan_to_num(0.0, 0.0, 0.0)  # training may have diverged
    pieces = find_pieces(extended(inputs), targets, planes, generator, PLANE_TOLERANCE[y.dtype])
    known = pieces.piece >= 0
    kept, piece = pieces.piece[known].unique(return_inverse=True)
    if not len(kept):
        return False
    scores = separating_scores(inputs[known], piece, len(kept))
    # Choices that are not needed become copies of the first.
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
    """Mean squared error."""
    return (network(x.to(network.choice.weight)) - y).square().mean().item()
