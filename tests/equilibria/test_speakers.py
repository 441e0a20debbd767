"""One speaker: what is said, that nobody disturbs it, and what is proposed and certified."""

import dataclasses
import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

import dnl
from dnl.equilibria.one_speaker import one_speaker, spoken, undisturbed
from dnl.equilibria.search import Search, canonical
from dnl.exact.recommendation import Recommendation
from dnl.runtime.budget import Budget
from games import PersuasionGame, synthetic_game
from tests.references import best_response as reference_exact

Sizes = tuple[int, int, int, int]  # N, M, S, A
LARGE = [((2, 4, 10, 10), 2), ((2, 4, 10, 10), 4)]
GAMES = [*LARGE, ((2, 2, 2, 2), 1), ((2, 3, 4, 3), 0), ((3, 3, 4, 4), 1), ((1, 3, 3, 4), 0)]


def contested(sizes: Sizes, seed: int) -> PersuasionGame:
    return synthetic_game(*sizes, seed=seed, law="contested")


def searching(game: PersuasionGame, seed: int = 0, seconds: float = 1e6) -> Search:
    return Search(game, 0.005, Budget.within(seconds), seed)


def proposals(search: Search) -> list[Tensor]:
    return [policies for policies in one_speaker(search) if policies is not None]


@cache
def proposed(sizes: Sizes, seed: int) -> tuple[Tensor, ...]:
    return tuple(proposals(searching(contested(sizes, seed))))


def speakers_of(policies: Tensor) -> list[int]:
    """The senders whose policy depends on the state."""
    return [
        n
        for n, policy in enumerate(policies)
        if not torch.equal(policy, policy[:1].expand_as(policy))
    ]


# ------------------------------------------------------------------------------------ what is said


@pytest.mark.parametrize(("n_plan", "n_signals"), [(1, 1), (1, 4), (2, 2), (2, 5), (3, 4), (4, 4)])
@pytest.mark.parametrize(("n_senders", "speaker"), [(1, 0), (2, 0), (2, 1), (4, 2)])
def test_all_signals_say_what_the_plan_says(
    n_senders: int, speaker: int, n_plan: int, n_signals: int
) -> None:
    game = synthetic_game(n_senders, n_signals, 5, 3, seed=0)
    generator = torch.Generator().manual_seed(n_plan)
    plan = torch.rand(5, n_plan, dtype=torch.float64, generator=generator)
    plan = plan / plan.sum(1, keepdim=True)
    kept = plan.clone()
    policies = spoken(game, speaker, plan)
    assert torch.equal(plan, kept)
    game.check_policies(policies)
    torch.testing.assert_close(policies.sum(-1), torch.ones(n_senders, 5).double())
    for n, policy in enumerate(policies):
        if n != speaker:
            assert torch.equal(policy, torch.full_like(policy, 1 / n_signals))
    likelihood = (plan / plan.norm(dim=0)).T  # (C, S): up to a factor the posterior
    said = (policies[speaker] / policies[speaker].norm(dim=0)).T  # (M, S)
    same = (said[:, None] - likelihood).abs().amax(2) < 1e-12  # (M, C)
    assert same.any(1).all()
    counts = same.sum(0)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    # The receiver's choices, and so all utilities, are those under the plan itself.
    alone = dataclasses.replace(game, n_signals=n_plan)
    direct = torch.full((n_senders, 5, n_plan), 1 / n_plan, dtype=torch.float64)
    direct[speaker] = plan
    torch.testing.assert_close(game.ex_ante_utility(policies), alone.ex_ante_utility(direct))


# --------------------------------------------------------------------------------- nobody disturbs


def left_alone(game: PersuasionGame, plan: Tensor, actions: tuple[int, ...]) -> bool:
    """`undisturbed` by loops: within 1e-6 of the receiver's range, nobody wants another action."""
    prior, v, u = game.prior.tolist(), game.receiver_utility.tolist(), game.sender_utility.tolist()
    flat = [x for row in v for x in row]
    states = range(len(prior))
    for column, action in enumerate(actions):
        mass = [prior[s] * float(plan[s, column]) for s in states]
        if sum(mass) <= 0:
            return False
        value = [sum(mass[s] * v[s][a] for s in states) / sum(mass) for a in range(len(v[0]))]
        for other in range(len(v[0])):
            if value[other] < max(value) - 1e-6 * (max(flat) - min(flat)):
                continue
            for n in range(len(u)):
                gain = sum(mass[s] * (u[n][s][other] - u[n][s][action]) for s in states) / sum(mass)
                if gain > 1e-9 * game.payoff_range[n].item():
                    return False
    return True


def test_undisturbed_by_loops() -> None:
    verdicts = []
    for sizes, seed in [*GAMES[2:], ((2, 3, 4, 4), 0), ((2, 2, 6, 5), 1), ((3, 3, 3, 4), 2)]:
        game = contested(sizes, seed)
        generator = torch.Generator().manual_seed(seed)
        programs = [Recommendation(game, u.numpy(), slack=-1e-7) for u in game.sender_utility]
        for size in (1, 2, 3):
            for actions in itertools.combinations(range(game.n_actions), size):
                plans = [torch.rand(game.n_states, size, dtype=torch.float64, generator=generator)]
                for program in programs:
                    best = program.best(actions)
                    if best is not None:
                        plans.append(torch.from_numpy(best)[:, list(actions)])
                for plan in plans:
                    expected = left_alone(game, plan, actions)
                    assert undisturbed(game, plan, actions) is expected
                    verdicts.append(expected)
    assert min(sum(verdicts), len(verdicts) - sum(verdicts)) >= 20


# At equal odds the receiver, who matches the state, is torn; the other message reveals the state.
# Sender 1's utilities (states by actions), the action recommended at equal odds, the verdict.
TORN = [
    ([[0.0, 0.0], [0.0, 1.0]], 1, True),  # wants action 1, which is recommended
    ([[0.0, 0.0], [0.0, 1.0]], 0, False),  # wants action 1, and can tip the receiver to it
    ([[0.0, 0.0], [0.0, 0.0]], 0, True),  # does not care
    ([[1.0, 0.0], [0.0, 1.0]], 0, True),  # does not care at equal odds
    ([[0.0, 0.0], [0.0, -1.0]], 0, True),  # wants action 0, which is recommended
    ([[0.0, 0.0], [0.0, -1.0]], 1, False),  # wants action 0
]


@pytest.mark.parametrize(("wish", "torn", "expected"), TORN)
def test_undisturbed_by_hand(wish: list[list[float]], torn: int, expected: bool) -> None:
    prior = [1 / 3, 2 / 3] if torn == 0 else [2 / 3, 1 / 3]
    game = PersuasionGame(prior, [[1, 0], [0, 1]], [[[0.0, 0.0]] * 2, wish], n_signals=2)
    mixed = torch.tensor([[1.0, 0.0], [0.5, 0.5]] if torn == 0 else [[0.5, 0.5], [0.0, 1.0]])
    assert undisturbed(game, mixed.double(), (0, 1)) is expected
    empty = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert not undisturbed(game, empty, (0, 1))  # action 1 is never recommended


# ------------------------------------------------------------------------------- what is proposed


def best_obeyed(game: PersuasionGame, sender: int, actions: set[int]) -> float:
    """By scipy: the most that `sender` gets by recommending no other actions than these."""
    prior, v, u = (
        t.numpy() for t in (game.prior, game.receiver_utility, game.sender_utility[sender])
    )
    rows = []
    for a, b in itertools.permutations(range(game.n_actions), 2):
        row = np.zeros_like(v)
        row[:, a] = (v[:, b] - v[:, a]) / np.ptp(v)
        rows.append(row.ravel())
    allowed = np.tile([float(a in actions) for a in range(game.n_actions)], game.n_states)
    found = linprog(
        -u.ravel(),
        A_ub=np.array(rows),
        b_ub=np.zeros(len(rows)),
        A_eq=np.kron(np.eye(game.n_states), np.ones(game.n_actions)),
        b_eq=prior,
        bounds=np.stack([0 * allowed, allowed], 1),
        options=reference_exact.EXACT,
    )
    assert found.status == 0, found.message
    return float(-found.fun)


@pytest.mark.parametrize(("sizes", "seed"), GAMES)
def test_one_speaks_at_its_best_and_the_others_are_silent(sizes: Sizes, seed: int) -> None:
    game, every = contested(sizes, seed), proposed(sizes, seed)
    assert every
    for policies in every:
        game.check_policies(policies)
        (speaker,) = speakers_of(policies)
        silent = torch.cat([policies[:speaker], policies[speaker + 1 :]])
        torch.testing.assert_close(silent, torch.full_like(silent, 1 / game.n_signals))
        assert (policies.sum(1) > 0).all()  # all signals are in use
        # With the same actions the speaker cannot do better; 1e-7 is its margin of obedience.
        happens = game.posteriors(policies)[0] > 1e-9
        actions = set(game.receiver_action(policies)[happens].tolist())
        assert 2 <= len(actions) <= game.n_signals
        got = game.ex_ante_utility(policies)[speaker].item()
        slack = 1e-5 * game.payoff_range[speaker].item()
        assert got == pytest.approx(best_obeyed(game, speaker, actions), rel=0, abs=slack)


@pytest.mark.parametrize(("sizes", "seed"), GAMES)
def test_no_message_is_made_of_rounding(sizes: Sizes, seed: int) -> None:
    """All actions are recommended; what a solver takes for 0 (1e-9) does not recommend."""
    game = contested(sizes, seed)
    for policies in proposed(sizes, seed):
        (speaker,) = speakers_of(policies)
        assert (game.prior @ policies[speaker] > 1e-9).all()


@pytest.mark.parametrize(("sizes", "seed"), GAMES)
def test_the_best_comes_first_and_all_survive(sizes: Sizes, seed: int) -> None:
    game, every = contested(sizes, seed), torch.stack(proposed(sizes, seed))
    assert (game.ex_ante_utility(every).sum(1).diff() <= 1e-9).all()
    assert searching(game).survives(every).all()


@pytest.mark.parametrize(("sizes", "seed"), LARGE)
def test_several_are_certified_above_both_baselines(sizes: Sizes, seed: int) -> None:
    game, every = contested(sizes, seed), proposed(sizes, seed)[:6]
    verdicts = [dnl.verify(game, policies, radius=0.005) for policies in every]
    revealed = dnl.full_revelation(game).utilities.sum().item()
    floor = max(revealed, game.no_information().sum().item())
    welfare = game.ex_ante_utility(torch.stack(every)).sum(1).tolist()
    good = [v.is_equilibrium and w > floor + 1 for v, w in zip(verdicts, welfare, strict=True)]
    assert good[0]
    assert sum(good) >= 4


# ------------------------------------------------------------------------- floors, clock and seeds


@pytest.mark.parametrize(("sizes", "seed"), [((2, 3, 5, 5), 1), ((2, 4, 6, 6), 0)])
def test_the_floor_of_global_equilibria_ends_the_proposals(sizes: Sizes, seed: int) -> None:
    game, every = contested(sizes, seed), proposed(sizes, seed)
    assert len(every) > 3
    floor = game.ex_ante_utility(every[2]).sum().item()
    search = searching(game)
    search.floor = math.inf  # of local equilibria: what is proposed may still be a global one
    search.global_floor = floor
    above = proposals(search)
    expected = [p for p in every if game.ex_ante_utility(p).sum().item() > floor]
    assert [canonical(p) for p in above] == [canonical(p) for p in expected]
    assert 1 <= len(above) <= 2
    rising = searching(game)
    for count, policies in enumerate(p for p in one_speaker(rising) if p is not None):
        assert count == 0  # nothing comes once a better one is known
        rising.global_floor = game.ex_ante_utility(policies).sum().item() + 1


def test_nothing_is_proposed_when_the_time_is_over() -> None:
    assert list(one_speaker(searching(contested((2, 3, 4, 3), 0), seconds=-1.0))) == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sets of actions that are tried, in their order."""
    best, sets = Recommendation.best, []

    def spy(self: Recommendation, actions: tuple[int, ...]) -> object:
        sets.append(actions)
        return best(self, actions)

    monkeypatch.setattr(Recommendation, "best", spy)
    return sets


@pytest.mark.parametrize("sizes", [(1, 2, 3, 4), (2, 3, 4, 5), (3, 5, 3, 3)])
def test_each_sender_tries_each_set_once(sizes: Sizes, asked: list[tuple[int, ...]]) -> None:
    search = searching(contested(sizes, 0))
    proposals(search)
    n_senders, n_signals, _, _ = sizes
    n_actions = search.plain.n_actions
    subsets = itertools.product([False, True], repeat=n_actions)
    chosen = [tuple(a for a in range(n_actions) if subset[a]) for subset in subsets]
    expected = sorted(c for c in chosen if 2 <= len(c) <= n_signals)
    per_sender = len(expected)
    assert len(asked) == n_senders * per_sender
    for n in range(n_senders):
        assert sorted(asked[n * per_sender : (n + 1) * per_sender]) == expected


def test_too_many_sets_are_drawn(
    asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, seed, drawn = (2, 4, 10, 10), 2, 60
    monkeypatch.setattr("dnl.equilibria.one_speaker.MOST_ACTION_SETS", drawn)
    game, found, tried = contested(sizes, seed), [], []
    for stream in (0, 0, 1):
        asked.clear()
        found.append(proposals(searching(game, stream)))
        tried.append(list(asked))
    assert tried[0] == tried[1] != tried[2]
    assert torch.equal(torch.stack(found[0]), torch.stack(found[1]))
    assert len(tried[0]) == 2 * drawn
    assert {len(actions) for actions in tried[0]} == {2, 3, 4}
    for actions in tried[0] + tried[2]:
        assert actions == tuple(sorted(set(actions)))
        assert set(actions) <= set(range(10))
    known = {canonical(policies) for policies in proposed(sizes, seed)}
    assert found[0]
    assert {canonical(policies) for policies in found[0] + found[2]} <= known


# ------------------------------------------------------------------------------- degenerate games

MUTE = [("paper", (2, 3, 3, 1)), ("paper", (2, 1, 3, 3)), ("paper", (3, 3, 1, 3))]


@pytest.mark.parametrize(("law", "sizes"), MUTE)
def test_nothing_can_be_said(law: str, sizes: Sizes) -> None:
    assert proposals(searching(synthetic_game(*sizes, seed=0, law=law))) == []


def test_a_receiver_that_does_not_care_obeys_nothing() -> None:
    game = contested((2, 3, 3, 3), 0)
    careless = dataclasses.replace(game, receiver_utility=0 * game.receiver_utility + 0.7)
    assert proposals(searching(careless)) == []


@pytest.mark.parametrize(("caring", "seed"), [(0, 0), (1, 2), (2, 0)])
def test_where_at_most_one_sender_cares_nobody_disturbs(caring: int, seed: int) -> None:
    game = contested((2, 3, 3, 3), seed)
    u = torch.full_like(game.sender_utility, -0.3)
    if caring < 2:
        u[caring] = game.sender_utility[caring]
    game = dataclasses.replace(game, sender_utility=u)
    every = proposals(searching(game))
    assert every or caring == 2  # any vertex will do for those that do not care
    for policies in every:
        (speaker,) = speakers_of(policies)
        expected = best_obeyed(game, speaker, set(game.receiver_action(policies).tolist()))
        assert game.ex_ante_utility(policies)[speaker].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("sizes", "seed"), [((2, 3, 4, 3), 0), ((3, 3, 4, 4), 1)])
def test_a_state_that_never_happens_changes_nothing(sizes: Sizes, seed: int) -> None:
    game = contested(sizes, seed)
    v, u = (
        torch.cat([t.flip(-2)[..., :1, :], t], -2)
        for t in (game.receiver_utility, game.sender_utility)
    )
    prior = torch.cat([torch.zeros(1).double(), game.prior])
    larger = PersuasionGame(prior, v, u, game.n_signals)
    every = proposals(searching(larger))
    assert torch.isfinite(torch.stack(every)).all()
    torch.testing.assert_close(torch.stack(every)[:, :, 1:], torch.stack(proposed(sizes, seed)))
