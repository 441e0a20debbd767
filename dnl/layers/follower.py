"""A follower's choice as a layer: hard forward, quantal response backward.

In a game with a follower, leaders' utilities jump where the follower switches its choice, and are
smooth in between. That is a discontinuous network whose activation pattern is an arg max:

    pattern    = one-hot of the choice with the highest score      (lower part: the follower)
    upper part = layers that the pattern emits: one set of weights per choice

    >>> import torch
    >>> from dnl.layers import FollowerNetwork
    >>> network = FollowerNetwork(in_features=3, out_features=2, n_choices=4)
    >>> network(torch.rand(5, 3)).shape
    torch.Size([5, 2])
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnl.layers import shapes
from dnl.layers.emitted import EmittedLinear
from games import checks

TEMPERATURE = 0.1  # of a new layer, in units of the spread of its score weights
RIDGE = 1e-6  # of the mean squared feature
ROWS = 2048  # whose features least squares hold at a time


def quantal_response(scores: Tensor, temperature: float, dim: int = -1) -> Tensor:
    """Probabilities of choices, along `dim`, that are the likelier the higher their scores.

    Logit quantal response (McKelvey and Palfrey 1995); the arg max as the temperature falls to 0.

    Args:
        scores: along `dim`, those of the choices.
        temperature: above 0.
        dim: the axis of the choices.
    """
    shapes.floating("scores", scores)
    temperature = checks.positive_number("temperature", temperature)
    if type(dim) is not int or not -scores.ndim <= dim < scores.ndim:
        raise ValueError(
            f"dim must be an axis of scores of shape {tuple(scores.shape)}, got {checks.shown(dim)}"
        )
    best = scores.detach().amax(dim, keepdim=True)  # so that no temperature is too low
    return ((scores - best) / temperature).softmax(dim)


def extended(x: Tensor) -> Tensor:
    """`x (..., in)` and a one."""
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


def least_squares(features: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The linear head on `features` that fits best, with a little ridge: `(*F, out)`.

    Args:
        features: `(B, in) -> (B, *F)`.
        x: `(B, in)`.
        y: `(B, out)`.
    """
    checks.function("features", features)
    shapes.samples(x, y)
    with torch.no_grad():
        sums: list[Tensor] = []
        for part, target in zip(x.split(ROWS), y.split(ROWS), strict=True):
            shaped = shapes.floating("what features returns", features(part))
            flat = shaped.flatten(1).double()
            terms = [flat.mT @ flat, flat.mT @ target.double()]
            sums = [a + b for a, b in zip(sums, terms, strict=True)] if sums else terms
        gram, product = sums
        gram.diagonal().add_(RIDGE * gram.diagonal().mean().clamp_min(1e-300))
        return torch.linalg.solve(gram, product).unflatten(0, shaped.shape[1:]).to(y)


def piecewise_least_squares(piece: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`least_squares` where every sample is in one piece, which has a head of its own.

    Args:
        piece: `(B, C)`, one-hot.
        x: `(B, in)`.
        y: `(B, out)`.

    Returns:
        `(C, in, out)`.
    """
    shapes.samples(x, y)
    shapes.table("piece", piece, "(B, C)", len(x), "C")
    with torch.no_grad():
        sums: list[Tensor] = []
        parts = (t.double().split(ROWS) for t in (piece, x, y))
        for chosen, part, target in zip(*parts, strict=True):
            both = torch.cat([part, target], -1)
            terms = part.unsqueeze(-1) * both.unsqueeze(-2)  # (b, in, in + out)
            total = (chosen.mT @ terms.flatten(1)).unflatten(1, terms.shape[1:])
            sums = [total + sums[0]] if sums else [total]
        gram, product = sums[0].split([x.shape[1], y.shape[1]], -1)
        diagonal = gram.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(RIDGE * diagonal.mean().clamp_min(1e-300))
        return torch.linalg.solve(gram, product).to(y)


class FollowerChoice(nn.Module):
    """The choice with the highest score, `(..., in_features) -> (..., n_choices)` one-hot.

    Of several followers, each by scores of its own, one after the other:
    `(..., n_followers * n_choices)`.

    Backward it is *quantal response*, the derivative of `relaxed(x, temperature)`: a utility that
    depends on the choice can so move the boundaries between choices. The gradient is then not that
    of the function: as the temperature falls it is nonzero ever closer to the boundaries only. Of
    equal scores the first wins.

    Args:
        in_features: of the input.
        n_choices: of a follower, at least 2. More than the true number do no harm: some are never
            chosen.
        scorer: `(..., in_features) -> (..., n_followers * n_choices)`; None for a linear one
            without bias, whose scores are in units of the spread of its weights, so that
            temperatures mean the same in every layer.
        n_followers: who choose independently of one another.

    Attributes:
        temperature: above 0; a trainer may lower it (`anneal`). None: the choice is piecewise
            constant and passes no gradient, which is then exactly that of the function.
    """

    def __init__(
        self,
        in_features: int,
        n_choices: int,
        scorer: nn.Module | None = None,
        n_followers: int = 1,
    ) -> None:
        super().__init__()
        self.in_features = checks.positive_integer("in_features", in_features)
        self.n_choices = checks.positive_integer("n_choices", n_choices, least=2)
        self.n_followers = checks.positive_integer("n_followers", n_followers)
        if scorer is not None:
            checks.instance("scorer", scorer, nn.Module)
        self.temperature: float | None = TEMPERATURE
        self.scorer = scorer
        if scorer is None:
            self.weight = nn.Parameter(torch.randn(self.n_scores, self.in_features))

    @property
    def n_scores(self) -> int:
        """The number of all followers' choices together."""
        return self.n_followers * self.n_choices

    def anneal(self, temperature: float | None) -> None:
        """Set the temperature of the backward pass."""
        if temperature is not None:
            temperature = checks.positive_number("temperature", temperature)
        self.temperature = temperature

    def scores(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., n_followers * n_choices)`."""
        shapes.wide("x", x, self.in_features)
        if self.scorer is None:
            shapes.alike("x", x, self.weight)
            return functional.linear(x, self._unit_weight(x.dtype))
        found: Tensor = self.scorer(x)
        if not isinstance(found, Tensor) or found.shape != (*x.shape[:-1], self.n_scores):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                "scorer must return shape (..., n_followers * n_choices) = "
                f"(..., {self.n_scores}) at x of shape {tuple(x.shape)}, got {got}"
            )
        return found

    def relaxed(self, x: Tensor, temperature: float) -> Tensor:
        """Quantal response: probabilities of all choices, `(..., n_followers * n_choices)`."""
        apart = self.scores(x).unflatten(-1, (self.n_followers, self.n_choices))
        return quantal_response(apart, temperature).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """One-hot choices; see the class for the backward pass."""
        shapes.wide("x", x, self.in_features)
        columns = self.columns(x.reshape(-1, self.in_features).mT)
        return columns.mT.reshape(*x.shape[:-1], self.n_scores)

    def columns(self, x: Tensor) -> Tensor:
        """The same with inputs as columns: `(..., in, K) -> (..., n_followers * n_choices, K)`.

        Many times faster on a CPU, which takes the maximum and the softmax of many inputs at once
        where they lie side by side.
        """
        shapes.floating("x", x)
        if x.ndim < 2 or x.shape[-2] != self.in_features:
            expected = ("...", self.in_features, "K")
            raise checks.shape_error("x", "(..., in_features, K)", expected, x)
        if self.scorer is None:
            shapes.alike("x", x, self.weight)
            scores = self._unit_weight(x.dtype) @ x
        else:
            scores = self.scores(x.mT).mT
        apart = scores.unflatten(-2, (self.n_followers, self.n_choices))
        if self.temperature is None:
            return _one_hot(apart).flatten(-3, -2)
        chosen: Tensor = _HardChoice.apply(apart, self.temperature)
        return chosen.flatten(-3, -2)

    def _unit_weight(self, dtype: torch.dtype) -> Tensor:
        return self.weight / self.weight.square().mean().clamp_min(torch.finfo(dtype).tiny).sqrt()

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, n_choices={self.n_choices}, "
            f"n_followers={self.n_followers}"
        )


class FollowerNetwork(nn.Module):
    """DNL whose activation pattern is a follower's choice: `(..., in) -> (..., out)`.

    It is affine wherever the choices stay. With several followers the pattern is all their choices,
    and the network is the sum of one per follower, as is what sellers get from several buyers.

    Args:
        in_features, out_features: of the whole network.
        n_choices: of a follower, at least 2.
        scorer, n_followers: see `FollowerChoice`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_choices: int,
        scorer: nn.Module | None = None,
        n_followers: int = 1,
    ) -> None:
        super().__init__()
        checks.positive_integer("out_features", out_features)
        self.choice = FollowerChoice(in_features, n_choices, scorer, n_followers)
        head = EmittedLinear(in_features, out_features, self.choice.n_scores)
        self.upper = nn.ModuleList([head])  # a list, for the names of its values in saved files

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., out_features)`."""
        result: Tensor = self.head(x, self.choice(x))
        return result

    def features(self, x: Tensor) -> Tensor:
        """`(..., in_features) -> (..., n_followers * n_choices, in_features + 1)`.

        The input and a one at each follower's choice, zero elsewhere: the network is linear in
        them.
        """
        return self.choice(x).unsqueeze(-1) * extended(x).unsqueeze(-2)

    def refit(self, x: Tensor, y: Tensor) -> None:
        """Set the head by least squares: the choices stay.

        Args:
            x: `(B, in_features)`.
            y: `(B, out_features)`.
        """
        shapes.samples(x, y, self.head.in_features, self.head.out_features)
        if self.choice.n_followers == 1:
            planes = piecewise_least_squares(self.choice(x), extended(x), y)
        else:
            planes = least_squares(self.features, x, y)
        self.set_planes(planes)

    @torch.no_grad()
    def planes(self) -> Tensor:
        """What the network is where the choice stays: `(n_choices, in_features + 1, out_features)`.

        The last row is the constant.

        Raises:
            ValueError: of several followers, whose choices make up a piece together.
        """
        if self.choice.n_followers > 1:
            raise ValueError(
                f"n_followers must be 1 for planes of single choices, got {self.choice.n_followers}"
            )
        head = self.head
        each = torch.eye(self.choice.n_choices, dtype=head.weight.dtype, device=head.weight.device)
        weight, bias = head.emit(each)
        return torch.cat([weight, bias.unsqueeze(-1)], -1).mT

    @torch.no_grad()
    def set_planes(self, planes: Tensor) -> None:
        """Set the head: `(n_followers * n_choices, in + 1, out)`."""
        head = self.head
        expected = (self.choice.n_scores, head.in_features + 1, head.out_features)
        axes = "(n_followers * n_choices, in_features + 1, out_features)"
        values = shapes.table("planes", planes, axes, *expected).movedim(-1, 0)
        head.weight.zero_()[:, 1:] = values[..., :-1]
        head.bias.zero_()[:, 1:] = values[..., -1]

    @property
    def head(self) -> EmittedLinear:
        """The linear layer that the choice emits."""
        (head,) = self.upper
        assert isinstance(head, EmittedLinear)
        return head


class _HardChoice(torch.autograd.Function):
    """One-hot of the highest of `scores (..., C, K)`; backward as if it were quantal response."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, temperature: float) -> Tensor:
        return _one_hot(scores)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        scores, ctx.temperature = inputs
        ctx.save_for_backward(scores)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (scores,) = ctx.saved_tensors
        soft = quantal_response(scores, ctx.temperature, dim=-2)
        weighted = gradient * soft
        return (weighted - soft * weighted.sum(-2, keepdim=True)) / ctx.temperature, None


def _one_hot(scores: Tensor) -> Tensor:
    """Of the first of the highest scores, along the last axis but one."""
    number = torch.arange(scores.shape[-2], device=scores.device).unsqueeze(-1)
    return (scores.max(-2, keepdim=True).indices == number).to(scores.dtype)
