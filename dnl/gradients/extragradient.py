"""Extra-gradient ascent of all senders at once, on any differentiable utility.

Korpelevich (1976): extrapolate along the gradient, then step from the *same* point along the
gradient at the extrapolated point. Every sender ascends its own utility in its own policy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnl.gradients.own_gradient import Utility, own_gradient
from dnl.gradients.simplex import project_to_simplex
from dnl.runtime.settings import config_of
from games import checks
from games.checks import Array
from games.surroundings import differentiable

STEPS = ("adam", "sgd")
PROJECTIONS = ("softmax", "euclidean")


@dataclass(frozen=True)
class ExtragradientConfig:
    """Settings; the defaults are the paper's (appendix B) where it states them.

    Attributes:
        iterations: each takes two gradients; the paper uses 20, and 30 at radius 0.01.
        lr: step size.
        step: `"adam"`: one set of moments, advanced at both half-steps. Its steps have size `lr`
            however small the gradient is, so it circles around or leaves equilibria to which plain
            steps converge (matching pennies). `"sgd"`: plain steps.
        projection: `"softmax"`: policies are the softmax of logits and the steps move the logits;
            a probability of exactly 0 stays 0. `"euclidean"`: steps move the policies, which are
            then projected onto the simplex.
    """

    iterations: int = 20
    lr: float = 0.1
    step: str = "adam"
    projection: str = "softmax"

    def __post_init__(self) -> None:
        checks.positive_integer("iterations", self.iterations, least=0)
        checks.positive_number("lr", self.lr)
        checks.one_of("step", self.step, STEPS)
        checks.one_of("projection", self.projection, PROJECTIONS)


@dataclass(frozen=True, eq=False)
class ExtragradientResult:
    """End points of extra-gradient ascent.

    Attributes:
        policies: shaped like the starts. They are candidates only; whether they are equilibria is
            for `dnl.verify` to decide.
        config: the settings.
    """

    policies: Tensor
    config: ExtragradientConfig

    def __repr__(self) -> str:
        return f"ExtragradientResult(policies: {tuple(self.policies.shape)}, {self.config})"


@differentiable()
def extragradient(
    utility: Utility, starts: Array, config: ExtragradientConfig | None = None
) -> ExtragradientResult:
    """Extra-gradient from many starts at once (paper, section 4.1).

    Args:
        utility: differentiable, `(..., N, S, M) -> (..., N)` for the leading axes of `starts`;
            each profile's utilities depend on that profile alone. Called exactly twice per
            iteration. If it has a method `own_gradient`, that is called instead; it saves a
            backward pass for each sender.
        starts: `(B, N, S, M)`; more leading axes are allowed, e.g. `(G, B, N, S, M)` with a
            utility that stacks games. Numpy's arrays and lists are taken as float64.
        config: default: the paper's.

    Returns:
        End points in the dtype and on the device of `starts`. They are the same under
        `torch.no_grad`, `torch.inference_mode` and `torch.autocast`.

    Raises:
        ValueError: if the starts hold rows that are no distributions, or the utility is not
            differentiable or returns another shape.
    """
    config = config_of(config, ExtragradientConfig)
    checks.function("utility", utility)
    given = checks.as_tensor("starts", starts)
    if given.ndim < 4:
        raise ValueError(f"starts must have shape (B, N, S, M), got {tuple(given.shape)}")
    checks.distributions("starts", given)
    policies = given.detach().clamp(0, 1)  # rounding may have left an entry below 0
    adam = _AdamMoments(policies) if config.step == "adam" else None

    def direction(at: Tensor) -> Tensor:
        gradient = own_gradient(utility, at)
        if config.projection == "softmax":  # the same gradient with respect to the logits
            gradient = at * (gradient - (at * gradient).sum(-1, keepdim=True))
        else:  # a common shift of a row's entries leaves the simplex, but dominates Adam's steps
            gradient = gradient - gradient.mean(-1, keepdim=True)
        return gradient if adam is None else adam.direction(gradient)

    def moved(position: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
        position = position + config.lr * by
        if config.projection == "softmax":
            return position, position.softmax(-1)
        position = project_to_simplex(position)
        return position, position

    # Logits of zero probabilities are -inf: they stay so and pass no gradient.
    position = policies.log() if config.projection == "softmax" else policies
    for _ in range(config.iterations):
        _, extrapolated = moved(position, direction(policies))
        position, policies = moved(position, direction(extrapolated))
    return ExtragradientResult(policies, config)


class _AdamMoments:
    """Adam's moments (Kingma and Ba, 2014) for ascent, with the usual constants."""

    def __init__(self, like: Tensor) -> None:
        self.first = torch.zeros_like(like)
        self.second = torch.zeros_like(like)
        self.count = 0

    def direction(self, gradient: Tensor) -> Tensor:
        self.count += 1
        self.first.lerp_(gradient, 0.1)
        self.second.lerp_(gradient.square(), 0.001)
        first = self.first / (1 - 0.9**self.count)
        second = self.second / (1 - 0.999**self.count)
        return first / (second.sqrt() + 1e-8)
