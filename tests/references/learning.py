"""Learning receivers as plain loops, one round at a time; imports nothing under test.

`posterior` is over `S` states after one message, `rewards` are `S` rows of `A` numbers in [0, 1],
and `uniforms` are a round's three numbers each: for the action, for exploring, for the state. All
return what was done in each round.
"""

import math
from collections.abc import Sequence

Row = Sequence[float]


def pick(weights: Row, uniform: float) -> int:
    """The first entry up to which the weights sum to more than their `uniform` share."""
    total, level = sum(weights), 0.0
    for index, weight in enumerate(weights):
        level += weight
        if level > uniform * total:
            return index
    return len(weights) - 1


def tsallis(losses: Row) -> list[float]:
    """Entries `4 / (loss - x)**2` that sum to 1, by bisection on `x`."""
    low, high = min(losses) - 2 * math.sqrt(len(losses)), min(losses) - 2
    for _ in range(200):
        x = (low + high) / 2
        if sum(4 / (loss - x) ** 2 for loss in losses) > 1:
            high = x
        else:
            low = x
    return [4 / (loss - x) ** 2 for loss in losses]


def bandit(posterior: Row, rewards: Sequence[Row], uniforms: Sequence[Row]) -> list[int]:
    """Tsallis-INF with the reduced-variance estimator."""
    losses = [0.0] * len(rewards[0])
    done = []
    for number, (first, _, third) in enumerate(uniforms, 1):
        rate = 4 / math.sqrt(number)
        chances = tsallis([rate * loss for loss in losses])
        action = pick(chances, first)
        loss = 1 - rewards[pick(posterior, third)][action]
        for other, chance in enumerate(chances):
            guess = 0.5 if chance >= rate**2 else 0.0
            losses[other] += guess + (other == action) * (loss - guess) / chance
        done.append(action)
    return done


def q_learning(
    posterior: Row,
    rewards: Sequence[Row],
    uniforms: Sequence[Row],
    patience: float,
    epsilon: float,
) -> list[int]:
    """The value of an action is the mean of its rewards and of `patience` rewards of 1."""
    n_actions = len(rewards[0])
    paid: list[list[float]] = [[] for _ in range(n_actions)]
    done = []
    for first, second, third in uniforms:
        values = [(patience + math.fsum(p)) / (patience + len(p)) for p in paid]
        action = int(first * n_actions) if second < epsilon else values.index(max(values))
        paid[action].append(rewards[pick(posterior, third)][action])
        done.append(action)
    return done


def reinforce(
    posterior: Row, rewards: Sequence[Row], uniforms: Sequence[Row], step: float
) -> list[int]:
    """Logits follow the gradient of the log-probability of what was done, by its surprise."""
    logits, mean = [0.0] * len(rewards[0]), 0.0
    done = []
    for number, (first, _, third) in enumerate(uniforms, 1):
        odds = [math.exp(logit) for logit in logits]
        action = pick(odds, first)
        surprise = rewards[pick(posterior, third)][action] - mean
        mean += surprise / min(number, 100)
        for other, odd in enumerate(odds):
            logits[other] += step * surprise * ((other == action) - odd / sum(odds))
        done.append(action)
    return done
