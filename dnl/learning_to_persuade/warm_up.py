"""Persuasion of a receiver whose utility is known, by gradients through its reaction.

Section 5.1 and appendix C of "Learning to Persuade": the receiver's response is a softmax of
expected utilities, the sender's table ascends its own utility, and the best of several restarts is
reported. The linear program over recommendations (`dnl.exact.recommendation`) is exact and faster,
but needs as many messages as actions; this method does not.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dnl.layers import quantal_response
from dnl.learning_to_persuade.networks import TableNet, columns_of, expected_utility
from dnl.learning_to_persuade.problem import LearnedPolicy, SenderProblem
from dnl.runtime.settings import config_of
from dnl.training.recipes import cosine
from games import PersuasionGame, checks
from games.persuasion.game import of_one_sender
from games.randomness import seed_of, stream
from games.receivers import RationalReceiver
from games.surroundings import own_surroundings


@dataclass(frozen=True)
class WarmUpConfig:
    """Settings; the defaults come from measurements, `PAPER_WARM_UP` is the paper's way.

    Attributes:
        iterations: steps of Adam.
        restarts: tables learned side by side if there are as many messages as actions; with fewer
            messages, as many more as take the same time.
        lr: first and last learning rate, with a half cosine between them. A much lower last rate
            lets a table settle next to a cliff instead of jumping over it.
        precision: first and last lambda of equation 13, with geometric steps between them, in units
            of one over the range of the receiver's utility. The first is low enough for messages to
            find their actions; the last makes the response hardly softer than the true one.
        lean: how much initial tables favour meaningful messages. Each message of a restart gets an
            action at random and is likelier in states where that action is better for sender and
            receiver. Restarts range from no lean, the paper's random table, to this much per range
            of the utilities. A message that starts far from an action never finds it, because late
            softmaxes are flat away from cliffs.
        tested: number of iterations between look-ups of the true utility.
    """

    iterations: int = 1_000
    restarts: int = 10
    lr: tuple[float, float] = (0.1, 0.001)
    precision: tuple[float, float] = (50.0, 10_000.0)
    lean: float = 4.0
    tested: int = 10

    def __post_init__(self) -> None:
        for name in ("iterations", "restarts", "tested"):
            checks.positive_integer(name, getattr(self, name))
        checks.positive_number("lean", self.lean, allow_zero=True)
        for name in ("lr", "precision"):
            pair = checks.sequence(name, getattr(self, name))
            object.__setattr__(self, name, pair)
            if len(pair) != 2:
                raise ValueError(f"{name} must be the first and the last, got {pair}")
            for value in pair:
                checks.positive_number(name, value)


# Constant lambda and rate, random tables. The paper states only the numbers of restarts and, in its
# figures, of iterations; with these settings it ends where the paper does, at 96 % of the optimum.
PAPER_WARM_UP = WarmUpConfig(
    iterations=500, lr=(0.1, 0.1), precision=(100.0, 100.0), lean=0.0, tested=1
)


@dataclass(frozen=True, eq=False)
class KnownReceiver:
    """A game with a softmax receiver, in single precision, for the sender's gradients.

    Attributes:
        prior: `(S,)`.
        utility: `(S, A)`, the sender's.
        scores: `(S, A)`, the receiver's utility in units of its range.
    """

    prior: Tensor
    utility: Tensor
    scores: Tensor

    @classmethod
    def of(cls, game: PersuasionGame) -> "KnownReceiver":
        """Of a game of one sender."""
        problem = SenderProblem.of(game)
        scores = _in_ranges(game.receiver_utility.double().cpu())
        return cls(problem.prior.float(), problem.utility.float(), scores.float())

    def value(self, policies: Tensor, precision: float) -> Tensor:
        """The sender's utility `(...)` of policies `(..., S, M)` under quantal response."""
        columns = columns_of(policies, self.prior)  # (..., M, S)
        sent = columns.sum(-1, keepdim=True).clamp_min(torch.finfo(columns.dtype).tiny)
        response = quantal_response(columns @ self.scores / sent, 1 / precision)
        return expected_utility(columns, response, self.utility)


@own_surroundings()
def persuade_known(
    game: PersuasionGame,
    config: WarmUpConfig | None = None,
    seed: int | None = None,
    *,
    generator: torch.Generator | None = None,
) -> LearnedPolicy:
    """Find a policy by gradients for the sender of a game whose receiver is known.

    Args:
        game: of one sender.
        config: default: `WarmUpConfig()`.
        seed: of the streams of initial tables; None for 0.
        generator: instead of `seed`.

    Returns:
        The policy of the best restart at its best tested iteration, with its true utility.
        `predicted` is its utility under the softmax receiver of the last iteration; `utilities` are
        the best restart's true utilities at the tested iterations and at the end; `queries` is 0.

    Raises:
        ValueError: for a game of several senders or a bad seed.
    """
    from dnl.training.trainer import minimise  # here, so that importing dnl does not load Lightning

    config = config_of(config, WarmUpConfig)
    receiver = RationalReceiver(of_one_sender(game))
    seed = seed_of(seed, generator)
    problem, known = SenderProblem.of(game), KnownReceiver.of(game)
    table = TableNet(initial_logits(game, config, seed))
    first, last = config.precision
    history: list[Tensor] = []  # of (R,)
    best = Best()

    def look_up() -> None:
        # Rows in single precision sum to 1 only within 1e-7, which the ascent would exploit.
        policies = table.logits.detach().double().softmax(-1).unsqueeze(1)  # (R, 1, S, M)
        values = problem.value(policies, receiver.respond(policies))
        history.append(values)
        best.update(policies, values)

    def loss(module: nn.Module, step: int) -> Tensor:
        if step % config.tested == 0:
            look_up()
        precision = first * (last / first) ** (step / config.iterations)
        return -known.value(module(), precision).sum()

    minimise(table, loss, config.iterations, config.lr[0], cosine(config.lr[1] / config.lr[0]))
    look_up()
    with torch.no_grad():
        predicted = known.value(best.policy[0].float(), last).item()
    return LearnedPolicy(
        method="known receiver",
        policies=best.policy,
        utility=best.value,
        predicted=predicted,
        queries=0,
        utilities=tuple(torch.stack(history)[:, best.index].tolist()),
    )


@own_surroundings()
def initial_logits(game: PersuasionGame, config: WarmUpConfig, seed: int) -> Tensor:
    """Initial tables `(R, S, M)`, random ones first; see `WarmUpConfig.lean`."""
    _, n_signals, n_states, n_actions = game.shape
    count = config.restarts * math.ceil(n_actions / n_signals)
    generator = stream("initialisation", seed, "warm-up", game.shape)
    logits = TableNet.random((count, n_states, n_signals), generator).logits.detach()
    good = _in_ranges(game.receiver_utility) + _in_ranges(game.sender_utility[0])  # (S, A)
    order = torch.rand((count, n_actions), generator=generator).argsort(-1)  # (R, A)
    # Each message has another action, as long as there are enough.
    actions = order[:, torch.arange(n_signals) % n_actions]  # (R, M)
    share = torch.linspace(0, 1, count) if config.lean else torch.zeros(count)
    leaning = good.float().cpu()[:, actions].movedim(0, 1)  # (R, S, M)
    share = share.view(-1, 1, 1)
    return config.lean * share * leaning + (1.1 - share).clamp_max(1) * logits


class Best:
    """The policy of the highest utility so far.

    Attributes:
        value: its utility.
        index: its place in its batch.
        policy: `(1, S, M)`.
    """

    def __init__(self) -> None:
        self.value, self.index = -math.inf, 0
        self.policy = torch.empty(0)

    def update(self, policies: Tensor, values: Tensor) -> None:
        """Compare with policies `(B, 1, S, M)` of utilities `(B,)`."""
        index = int(values.argmax())
        if values[index] > self.value:
            self.value, self.index, self.policy = float(values[index]), index, policies[index]


def _in_ranges(table: Tensor) -> Tensor:
    """A table less its minimum, in units of its range; zeros if it is constant."""
    low, high = table.amin(), table.amax()
    return (table - low) / torch.where(high > low, high - low, 1.0)
