"""Estimates of ex-ante utilities, with intervals, where joint signals are too many to enumerate.

A joint signal is drawn as the game draws it: a state from the prior, then every sender's signal
given that state. So it comes with its own probability, and the mean of `E[u_n | m]` over the draws
is unbiased. That expectation over states and the receiver's action are exact at every joint signal
drawn; only which ones are drawn is random. A draw costs `N * (S + M) + S * (N + A)` operations
where enumeration costs `M**N * S * A`.

Shapes: `B` profiles, `N` senders, `S` states, `M` signals, `A` actions, `D` draws.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from games.persuasion.simulation import Receiver, Scratch, memory_budget, slices
from games.surroundings import full_precision


@dataclass(frozen=True, eq=False)
class UtilityEstimate:
    """Senders' ex-ante utilities, estimated from drawn joint signals.

    Attributes:
        utility: `(B, N)`, or `(N,)` for one profile: unbiased, within the sender's payoffs.
        half_width: of that shape, in units of utility, at most the sender's payoff range. Each
            interval `utility ± half_width` by itself, of one sender at one profile, contains the
            ex-ante utility with at least the probability `confidence`, whatever the number of
            draws. For k of them to hold together, ask for a confidence of `1 - (1 - c) / k`.
        draws: joint signals drawn per profile.
        confidence: what the intervals were asked for.
    """

    utility: Tensor
    half_width: Tensor
    draws: int
    confidence: float


@torch.no_grad()
@full_precision()
def estimate(
    prior: Tensor,
    sender_utility: Tensor,
    receiver: Receiver,
    extremes: tuple[Tensor, Tensor],
    policies: Tensor,
    draws: int,
    confidence: float,
    generator: torch.Generator | None,
) -> UtilityEstimate:
    """The estimate for one game. `PersuasionGame.estimate_ex_ante_utility` checks the arguments.

    Half widths are those of the empirical Bernstein inequality (Maurer and Pontil 2009, "Empirical
    Bernstein bounds and sample variance penalization", theorem 4), for both sides: a deviation
    upwards, one downwards and a sample variance that is too small have a third of `1 - confidence`
    each.

    Args:
        prior: `(S,)`.
        sender_utility: `(N, S, A)`.
        receiver: of this one game.
        extremes: `(N,)` each, the least and the most that a sender can get.
        policies: `(B, N, S, M)`; rows are taken as distributions up to their sum.
        draws: at least 2.
        confidence: above 0 and below 1.
        generator: of the CPU; None for the global one. Draw by draw, `1 + N` uniform numbers.
    """
    low, high = (bound.to(policies.device, torch.float64) for bound in extremes)
    # Around the middle of the payoffs, so that squares lose no digits to a common shift.
    middle = (low + high) / 2
    total, squares = _sums(prior, sender_utility, receiver, middle, policies, draws, generator)
    mean = total / draws
    variance = ((squares - draws * mean.square()) / (draws - 1)).clamp_min(0)
    log = math.log(3 / (1 - confidence))
    half_width = (2 * variance * log / draws).sqrt() + (high - low) * 7 * log / (3 * (draws - 1))
    return UtilityEstimate(
        utility=(middle + mean).to(policies),
        half_width=half_width.minimum(high - low).to(policies),
        draws=draws,
        confidence=confidence,
    )


def _sums(
    prior: Tensor,
    sender_utility: Tensor,
    receiver: Receiver,
    middle: Tensor,
    policies: Tensor,
    draws: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Sums over the draws of `E[u_n | m] - middle` and of its square, `(B, N)` float64 each."""
    n_profiles, n_senders, n_states, n_signals = policies.shape
    policies = policies.clamp_min(0)  # rounding of policies may go below 0
    table = sender_utility.permute(2, 1, 0)  # (A, S, N)
    held = max(n_states * n_senders, n_signals, table.shape[0] + 1)
    at_once = max(1, memory_budget(policies) // held)
    scratch = Scratch(policies)
    total = policies.new_zeros(n_profiles, n_senders, dtype=torch.float64)
    squares = torch.zeros_like(total)
    for drawn in slices(draws, at_once):
        size = (len(range(draws)[drawn]), 1 + n_senders)
        # All profiles share these numbers, so an estimate does not depend on the other profiles.
        uniform = torch.rand(size, dtype=torch.float64, device="cpu", generator=generator)
        uniform = uniform.to(policies.device)
        for profiles in slices(n_profiles, max(1, at_once // len(uniform))):
            posterior = drawn_posteriors(prior, policies[profiles], uniform)  # (b, D, S)
            certain = torch.ones_like(posterior[:, :1])  # the other half of the joint signal
            action = receiver.react(certain[None], posterior[None], scratch)[0, :, 0]  # (b, D)
            value = (posterior.unsqueeze(-1) * table[action]).sum(2).double() - middle  # (b, D, N)
            total[profiles] += value.sum(1)
            squares[profiles] += value.square().sum(1)
    return total, squares


def drawn_posteriors(prior: Tensor, policies: Tensor, uniform: Tensor) -> Tensor:
    """Posteriors `(B, D, S)` at joint signals drawn by inverse transform.

    Bayes' rule sender by sender, normalised each time: no product of many probabilities underflows.

    Args:
        prior: `(S,)`.
        policies: `(B, N, S, M)`, no entry below 0.
        uniform: `(D, 1 + N)`, for the state and for each sender's signal.
    """
    profile = torch.arange(len(policies), device=policies.device).unsqueeze(1)  # (B, 1)
    state = _drawn(prior, uniform[:, 0])  # (D,)
    posterior = prior.expand(len(policies), len(uniform), -1)
    for n, policy in enumerate(policies.unbind(1)):  # (B, S, M)
        signal = _drawn(policy[:, state], uniform[:, 1 + n])  # (B, D)
        posterior = posterior * policy.mT[profile, signal]  # (B, D, S)
        posterior = posterior / posterior.sum(-1, keepdim=True)
    return posterior


def _drawn(weights: Tensor, uniform: Tensor) -> Tensor:
    """The entry of `weights (..., K)` that a number in [0, 1) falls on; never one of weight 0."""
    cumulative = weights.double().cumsum(-1)
    # A number below 1 times the sum is below the sum in floating point too.
    return (cumulative <= (uniform * cumulative[..., -1]).unsqueeze(-1)).sum(-1)
