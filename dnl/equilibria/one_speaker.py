"""One sender recommends actions, the others say nothing.

For a given set of recommended actions the speaker's best policy solves a linear program, so the
speaker cannot gain without changing the receiver's actions. At the optimum the receiver is often
indifferent between the recommended action and another one. Then *any* sender, even a silent one,
can tip the receiver by a little information. None does if all prefer the recommended action there.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from dnl.equilibria.search import Proposals, Search
from dnl.exact.deviation import MARGINS
from dnl.exact.recommendation import Recommendation
from games import PersuasionGame

MOST_ACTION_SETS = 2_000  # per speaker; where there are more, this many are drawn
SETS_PER_STEP = 25  # before other members have their turn
LEAST_PROBABILITY = 1e-9  # of a recommended action: less is rounding
TIE_DISTANCE = (
    1e-6  # from the best action, in receiver's utility ranges: nearer ones can be tipped to
)


def one_speaker(search: Search) -> Proposals:
    """Profiles with one speaker in which no sender wants to tip a tie, highest worth first."""
    game = search.plain
    found: list[tuple[float, Tensor]] = []
    for sender in range(game.n_senders):
        worth = game.sender_utility[sender].numpy()
        program = Recommendation(game, worth, slack=-MARGINS[0])
        for count, actions in enumerate(_sets(search)):
            if search.budget.over:
                return
            if count % SETS_PER_STEP == 0:
                yield None
            recommended = program.best(actions)
            if recommended is None:
                continue
            plan = torch.from_numpy(recommended)[:, list(actions)]
            plan = plan / plan.sum(1, keepdim=True)
            if undisturbed(game, plan, actions):
                policies = spoken(game, sender, plan)
                found.append((search.worth(policies).item(), policies))
    for value, policies in sorted(found, key=lambda pair: -pair[0]):
        if value <= search.global_floor:  # below the floor it may still be a global equilibrium
            return
        yield policies if search.survives(policies.unsqueeze(0))[0] else None


def fewest(
    program: Recommendation, game: PersuasionGame, n_signals: int
) -> tuple[Tensor, tuple[int, ...]] | None:
    """The best recommendation that uses at most `n_signals` actions.

    While there are more, the action that is recommended least often is dropped.

    Args:
        program: whose best recommendation it is.
        game: its prior and actions.
        n_signals: the number of actions that can be recommended.

    Returns:
        `(S, C)` probabilities of recommending each of C actions, and these actions; None where the
        receiver would obey no such recommendation.
    """
    actions = tuple(range(game.n_actions))
    while (plan := program.best(actions)) is not None:
        mass = game.prior @ torch.from_numpy(plan)
        actions = tuple((mass > LEAST_PROBABILITY).nonzero().flatten().tolist())
        if len(actions) <= n_signals:
            kept = torch.from_numpy(plan)[:, list(actions)].clamp_min(0)
            kept[kept.sum(1) <= 0] = 1.0  # a state of probability 0
            return kept / kept.sum(1, keepdim=True), actions
        least = int(mass[list(actions)].argmin())
        actions = actions[:least] + actions[least + 1 :]
    return None


def undisturbed(game: PersuasionGame, plan: Tensor, actions: tuple[int, ...]) -> bool:
    """Whether no sender prefers an action that is nearly as good for the receiver.

    False, too, where one of `actions` is never recommended.

    Args:
        game: the game.
        plan: `(S, len(actions))` probabilities of recommending each of `actions`.
        actions: of the receiver.
    """
    mass = game.prior[:, None] * plan  # (S, C)
    total = mass.sum(0)
    if (total <= LEAST_PROBABILITY).any():
        return False
    posterior = (mass / total).T  # (C, S)
    value = posterior @ game.receiver_utility  # (C, A)
    spread = (game.receiver_utility.amax() - game.receiver_utility.amin()).item()
    tied = value >= value.amax(1, keepdim=True) - TIE_DISTANCE * spread
    utility = torch.einsum("cs,nsa->nca", posterior, game.sender_utility)
    index = torch.tensor(actions).expand(game.n_senders, -1).unsqueeze(-1)
    present = utility.gather(2, index)  # (N, C, 1)
    slack = 1e-9 * game.payoff_range[:, None, None]
    return not bool(((utility > present + slack) & tied).any())


def spoken(game: PersuasionGame, speaker: int, plan: Tensor) -> Tensor:
    """Profile `(N, S, M)`: the speaker recommends `plan (S, C)`, the others say nothing.

    All signals are used, about as many for each recommendation: on an unused signal a tiny mass
    would induce any posterior.
    """
    n_signals = game.n_signals
    message = torch.arange(n_signals) % plan.shape[1]
    shares = torch.bincount(message)
    shape = (game.n_senders, game.n_states, n_signals)
    policies = torch.full(shape, 1 / n_signals, dtype=torch.float64)
    policies[speaker] = (plan / shares)[:, message]
    return policies


def _sets(search: Search) -> Iterator[tuple[int, ...]]:
    """Sets of at least two actions and at most as many as there are signals, small ones first."""
    game = search.plain
    sizes = range(2, min(game.n_signals, game.n_actions) + 1)
    if sum(comb(game.n_actions, size) for size in sizes) <= MOST_ACTION_SETS:
        for size in sizes:
            yield from combinations(range(game.n_actions), size)
        return
    generator = search.generator("one-speaker")
    for _ in range(MOST_ACTION_SETS):
        size = int(torch.randint(2, sizes.stop, (), generator=generator))
        drawn = torch.randperm(game.n_actions, generator=generator)[:size]
        yield tuple(sorted(drawn.tolist()))
