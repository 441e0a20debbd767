"""Division of labour: every sender speaks about one question, or says nothing.

The questions are partitions of the states that matter to somebody: which of two actions is better
for the receiver, whether an action is optimal, which action a sender would like best. For each
question there are a few policies: the answer itself, and what one sender (or a planner) would
recommend if it were alone and knew only the answer, by small linear programs. The senders then
play best responses in the finite game of choosing among these policies.
"""

from collections import Counter
from itertools import combinations

import torch
from torch import Tensor

from dnl.equilibria.one_speaker import fewest, spoken
from dnl.equilibria.search import Proposals, Search, canonical
from dnl.exact.deviation import MARGINS
from dnl.exact.recommendation import Recommendation
from games import PersuasionGame

MOST_QUESTIONS = 16  # the most frequent ones
FIRST_CHOICES = 6  # starting points: silence, then random choices
CHOICES_PER_SENDER = 10  # from one starting point
UTILITY_DIGITS = 9  # to which two utilities, as fractions of their range, are equal


def division(search: Search) -> Proposals:
    """Profiles in which no sender prefers another of these policies, for itself or for all."""
    game = search.plain
    if game.n_signals == 1:
        return
    silence = torch.full((game.n_states, game.n_signals), 1 / game.n_signals, dtype=torch.float64)
    library = [silence]
    for labels in questions(game)[:MOST_QUESTIONS]:
        if search.budget.over:
            return
        yield None
        library += speeches(game, labels)
    known = {canonical(policy.unsqueeze(0)): policy for policy in library}
    every = torch.stack(list(known.values()))  # (L, S, M)
    generator = search.generator("division")
    seen: set[bytes] = set()
    for start in range(FIRST_CHOICES):
        drawn = torch.randint(len(every), (game.n_senders,), generator=generator)
        if start == 0:
            drawn = torch.zeros_like(drawn)  # silence
        for shared in (False, True):
            choice = drawn.clone()
            quiet = 0
            for step in range(CHOICES_PER_SENDER * game.n_senders):
                n = step % game.n_senders
                best = _best_choice(search, every, choice, n, shared)
                quiet = quiet + 1 if best == choice[n] else 0
                choice[n] = best
                if search.budget.over:
                    return
                if quiet == game.n_senders:
                    break
                yield None
            policies = every[choice]
            key = canonical(policies)
            if key not in seen:
                seen.add(key)
                yield policies if search.survives(policies.unsqueeze(0))[0] else None


def _best_choice(search: Search, library: Tensor, choice: Tensor, sender: int, shared: bool) -> int:
    """The policy that `sender` likes best while the others keep theirs; its own wins ties.

    Args:
        search: what to search.
        library: `(L, S, M)`.
        choice: `(N,)` indices.
        sender: who chooses.
        shared: whether it ranks by the profile's worth first and its own utility second, or the
            reverse.
    """
    game = search.game
    tried = library[choice].repeat(len(library), 1, 1, 1)  # (L, N, S, M)
    tried[:, sender] = library
    utilities, worth = search.utilities_and_worth(tried)
    slacks = (1e-7 * game.payoff_range[sender].item(), 1e-7 * search.ranking.spread(game))
    criteria = [(utilities[:, sender], slacks[0]), (worth, slacks[1])]
    best = torch.ones(len(library), dtype=torch.bool)
    for value, slack in reversed(criteria) if shared else criteria:
        best &= value >= value[best].max() - slack
    return int(choice[sender]) if best[choice[sender]] else int(best.nonzero()[0])


def questions(game: PersuasionGame) -> list[Tensor]:
    """Partitions of the states that matter to somebody, labels `(S,)`, the most frequent first.

    None has more than M answers, where a distinction by sign or by one action does not need more.
    """
    happens = game.prior > 0
    v = game.receiver_utility[happens]
    counts: Counter[tuple[int, ...]] = Counter()

    def ask(values: Tensor) -> None:
        labels = torch.unique(values, return_inverse=True)[1].tolist()
        names: dict[int, int] = {}
        named = tuple(names.setdefault(label, len(names)) for label in labels)
        if len(names) > 1:
            counts[named] += 1

    spread = v.amax() - v.amin()
    for a, b in combinations(range(game.n_actions), 2):
        ahead = ((v[:, a] - v[:, b]) / torch.where(spread > 0, spread, 1.0)).round(
            decimals=UTILITY_DIGITS
        )
        ask(ahead if len(ahead.unique()) <= game.n_signals else ahead.sign())
    best = v.argmax(1)
    for a in best.unique():
        ask(best == a)
    wishes = [best, *(u[happens].argmax(1) for u in game.sender_utility)]
    for wish in wishes:
        if len(wish.unique()) <= game.n_signals:
            ask(wish)
    found = []
    for named, _ in counts.most_common():
        labels = torch.zeros(game.n_states, dtype=torch.int64)
        labels[happens] = torch.tensor(named)
        found.append(labels)
    return found


def speeches(game: PersuasionGame, labels: Tensor) -> list[Tensor]:
    """Policies `(S, M)` of a sender who knows only the answer to one question.

    The answer itself, where there are enough signals, and what each sender and a planner would
    recommend to a receiver who hears nobody else.
    """
    answers = torch.nn.functional.one_hot(labels).double()  # (S, L)
    prior = game.prior @ answers
    pooled = (game.prior.unsqueeze(1) * answers / prior).T  # (L, S)
    u = pooled @ game.sender_utility  # (N, L, A)
    asked = PersuasionGame(prior, pooled @ game.receiver_utility, u, game.n_signals)
    plans = [torch.eye(len(prior), dtype=torch.float64)] if len(prior) <= game.n_signals else []
    for worth in (*u, u.sum(0)):
        program = Recommendation(asked, worth.numpy(), slack=-MARGINS[0])
        found = fewest(program, asked, game.n_signals)
        if found is not None:
            plans.append(found[0])
    return [spoken(game, 0, answers @ plan)[0] for plan in plans if plan.shape[1] > 1]
