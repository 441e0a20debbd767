"""The paper's baselines: senders of one message per state that learn while the receiver learns.

Section 5.2.2 of "Learning to Persuade" plays against ModelR, a variant of Sen, Airiau and Mukherjee
(2003), and against Info-Q and Info-Policy of Bhatt and Buro, "Inference-Based Deterministic
Messaging For Multi-Agent Communication" (2021). In every round a state is drawn, the sender sends
one message and sees the action that follows; the receiver sees the message and its own payoff.
After the last round the sender commits to what it would send from then on, and the receiver
settles on that, as on any policy. The paper says no more; `dnl.learning_to_persuade.senders`
says which choices are ours.

Shapes: `P` plays side by side, `S` states, `M` messages, `A` actions.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from dnl.learning_to_persuade.problem import Interview, LearnedPolicy, SenderProblem
from dnl.learning_to_persuade.senders import InferenceSender, ModelSender, PlayConfig, Sender
from dnl.runtime.memory import DRAW_BYTES
from dnl.runtime.settings import config_of
from games import checks
from games.randomness import seed_of, stream, uniform_blocks
from games.receivers import LearningReceiver, QLearningReceiver, ReinforceReceiver
from games.surroundings import own_surroundings

METHODS: dict[str, tuple[type[Sender], type[LearningReceiver]]] = {
    "model-r": (ModelSender, LearningReceiver),
    "info-q": (InferenceSender, QLearningReceiver),
    "info-policy": (InferenceSender, ReinforceReceiver),
}


@own_surroundings()
def play(
    method: str,
    problems: Sequence[SenderProblem],
    receivers: Sequence[LearningReceiver],
    config: PlayConfig | None = None,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> list[LearnedPolicy]:
    """Play several games of one shape side by side; each result is as if its game were alone.

    Args:
        method: a key of `METHODS`.
        problems: what each sender knows.
        receivers: each sender's receiver, in play and afterwards; all of one class with the same
            settings.
        config: the same for all games (default: `PlayConfig()`).
        seed, generator: one of them, in place of the configuration's seed.

    Returns:
        One result per game. `queries` is 1: rounds of play are not queries. `converged` says
        whether the sender's intended messages are the same at the start and at the end of the last
        tenth of the rounds. `predicted` is ModelR's own expectation, NaN for the other methods.

    Raises:
        ValueError: for an unknown method, receivers of a class that the method does not play
            against, receivers that differ in class or settings, or games of several shapes.
    """
    checks.one_of("method", method, tuple(METHODS))
    make, kind = METHODS[method]
    config = config_of(config, PlayConfig)
    for name, many in (("problems", problems), ("receivers", receivers)):
        if not isinstance(many, Sequence):
            raise ValueError(f"{name} must be a sequence, got {checks.shown(many)}")
    if len(problems) != len(receivers) or not receivers:
        raise ValueError(
            f"receivers must be as many as problems and at least one, got {len(receivers)} "
            f"for {len(problems)}"
        )
    first = receivers[0]
    for receiver in receivers:
        if not isinstance(receiver, kind):
            got = checks.shown(receiver)
            raise ValueError(f"receivers of {method} must be {kind.__name__}s, got {got}")
        _check_alike(first, receiver)
    interviews = [Interview(*pair) for pair in zip(problems, receivers, strict=True)]
    config = replace(config, seed=seed_of(seed, generator, default=config.seed))
    streams = [stream("play", config.seed, method, one.game.identity) for one in receivers]
    sender = make(
        torch.stack([problem.prior for problem in problems]),
        torch.stack([problem.utility for problem in problems]),
        first.game.n_signals,
        config,
        streams,
    )
    converged = _play(sender, receivers, config, streams)
    policies = torch.nn.functional.one_hot(sender.intended(), sender.n_signals).double()
    predicted = sender.predicted(policies).tolist()
    results = []
    for number, interview in enumerate(interviews):
        policy = policies[number : number + 1]  # (1, S, M)
        _, value = interview.ask(policy.unsqueeze(0))
        results.append(
            LearnedPolicy(
                method=method,
                policies=policy,
                utility=value.item(),
                predicted=predicted[number],
                queries=1,
                utilities=tuple(interview.utilities),
                converged=converged[number],
            )
        )
    return results


def _check_alike(first: LearningReceiver, other: LearningReceiver) -> None:
    """Raise unless both receivers have one class, the same settings and games of one shape."""
    if (type(other), other.settings) != (type(first), first.settings):
        got = f"{checks.shown(first)} and {checks.shown(other)}"
        raise ValueError(f"receivers must be alike, got {got}")
    if other.game.shape != first.game.shape:
        shapes = f"{first.game.shape} and {other.game.shape}"
        raise ValueError(f"receivers must have games of one shape, got {shapes}")


def _play(
    sender: Sender,
    receivers: Sequence[LearningReceiver],
    config: PlayConfig,
    streams: Sequence[torch.Generator],
) -> list[bool]:
    """Play all rounds; for each game, whether the intended messages stayed in the last tenth."""
    n_signals = sender.n_signals
    learner = receivers[0].learner(len(receivers) * n_signals)
    rewards = torch.stack([receiver.rewards for receiver in receivers])  # (P, S, A)
    cumulative = sender.prior.cumsum(-1)
    cumulative = cumulative / cumulative[:, -1:]
    late = config.rounds - config.rounds // 10
    before = sender.intended()
    for start, uniforms in uniform_blocks(streams, config.rounds, (5,), DRAW_BYTES):
        # uniforms: (rounds, P, 5)
        states = torch.searchsorted(cumulative, uniforms[..., 0].T.contiguous(), right=True).T
        for number, (numbers, state) in enumerate(zip(uniforms, states, strict=True), start):
            if number == late:
                before = sender.intended()
            messages = sender.send(number, state, numbers[:, 1:3])
            actions = learner.act(sender.plays * n_signals + messages, numbers[:, 3:])
            learner.learn(rewards[sender.plays, state, actions])
            sender.see(state, messages, actions)
    return (before == sender.intended()).all(-1).tolist()


def model_receiver(
    problem: SenderProblem,
    receiver: LearningReceiver,
    config: PlayConfig | None = None,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> LearnedPolicy:
    """ModelR against any learning receiver: see `ModelSender`, and `play` for the rest."""
    return play("model-r", [problem], [receiver], config, seed=seed, generator=generator)[0]


def info_q(
    problem: SenderProblem,
    receiver: QLearningReceiver,
    config: PlayConfig | None = None,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> LearnedPolicy:
    """Info-Q: see `InferenceSender`, and `play` for the rest."""
    return play("info-q", [problem], [receiver], config, seed=seed, generator=generator)[0]


def info_policy(
    problem: SenderProblem,
    receiver: ReinforceReceiver,
    config: PlayConfig | None = None,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> LearnedPolicy:
    """Info-Policy: see `InferenceSender`, and `play` for the rest."""
    return play("info-policy", [problem], [receiver], config, seed=seed, generator=generator)[0]
