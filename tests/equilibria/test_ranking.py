"""What equilibria are ranked by: the order of results, the ceilings, and what the search finds."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dnl import Equilibrium, find_equilibria, full_revelation
from dnl.equilibria.member import MEMBERS, default_members
from dnl.equilibria.ranking import ranked, ranking_of
from dnl.equilibria.search import Search
from dnl.equilibria.verification import Verdict
from dnl.runtime.budget import Budget
from games import PersuasionGame, didactic_game, prosecutor_game
from tests.cases.finding import contested, prosecutors, verified

pytestmark = pytest.mark.usefixtures("few_starts")

EARLY = ["no-information", "full-revelation", "agreement", "planner", "one-speaker"]


def equilibrium(game: PersuasionGame, policies: Tensor, verdict: str) -> Equilibrium:
    everywhere = replace(verified(game, policies, None), verdict=Verdict(verdict))
    return Equilibrium(game, policies, verified(game, policies), everywhere, "by hand", "complete")


# -------------------------------------------------------------------------------------- the order


def test_what_is_refuted_never_stands_above_what_is_certified() -> None:
    """In this game silence is worth 19.0 but refuted, and the truth, which is Nash, 10.5."""
    game = contested((2, 2, 3, 2), seed=1)
    members = ["no-information", "full-revelation"]
    truth, silence = find_equilibria(game, members=members, time_limit=10.0)
    assert (truth.nash, truth.source) == ("certified", "full-revelation")
    assert (silence.nash, silence.source) == ("refuted", "no-information")
    assert silence.welfare > truth.welfare + 5
    assert silence.nash_gain > 1e-3


def test_each_part_is_ranked() -> None:
    game = prosecutor_game()
    optimum = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    truth = torch.eye(2, dtype=torch.float64).unsqueeze(0)
    profiles = {0.6: optimum, 0.3: truth, 0.0: torch.full_like(truth, 0.5)}
    verdicts = ("refuted", "certified", "undecided")
    every = [equilibrium(game, p, verdict) for p in profiles.values() for verdict in verdicts]
    order = ranked(game, reversed(every), ranking_of(game))
    expected = list(product(("certified", "undecided", "refuted"), (0.6, 0.3, 0.0)))
    assert [(str(e.nash), round(e.welfare, 9)) for e in order] == expected
    low = ranked(game, every, ranking_of(game, [-1.0]))
    assert [e.welfare for e in low[:3]] == pytest.approx([0.0, 0.3, 0.6])
    # The judge is right with probability 0.7, 1 and 0.7.
    right = ranked(game, every, ranking_of(game, "receiver"))
    assert [e.welfare for e in right[::3]] == pytest.approx([0.3] * 3)


# -------------------------------------------------------------------------------------- its weights


def test_the_worth_of_a_profile_by_hand() -> None:
    """Optimum: 0.6 are convicted and the judge is right with 0.7; the truth: 0.3 and 1."""
    game = replace(prosecutor_game(), sender_names=("prosecutor",))
    optimum = [[4 / 7, 3 / 7], [0.0, 1.0]]
    profiles = torch.tensor([[optimum], [[[1.0, 0.0], [0.0, 1.0]]]], dtype=torch.float64)
    cases: list[tuple[Any, list[float], str]] = [
        ("welfare", [0.6, 0.3], "welfare"),
        ("receiver", [0.7, 1.0], "receiver's utility"),
        (0, [0.6, 0.3], "utility of prosecutor"),
        (np.int64(0), [0.6, 0.3], "utility of prosecutor"),
        ("prosecutor", [0.6, 0.3], "utility of prosecutor"),
        ([2], [1.2, 0.6], "utility with the weights 2"),
        ((1, -1.0), [-0.1, -0.7], "utility with the weights 1, -1"),
        (np.array([0.0, 2.0]), [1.4, 2.0], "utility with the weights 0, 2"),
    ]
    for rank_by, worth, label in cases:
        ranking = ranking_of(game, rank_by)
        assert ranking.of(game, profiles).tolist() == pytest.approx(worth)
        assert ranking.of(game, profiles[0]).item() == pytest.approx(worth[0])
        assert ranking.label == label
        # By the table of state and action: innocent and acquitted, then guilty and convicted.
        table = ranking.table(game)
        assert 0.7 * table[0, 0] + 0.3 * table[1, 1] == pytest.approx(worth[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("wealth", r"rank_by must be 'welfare', .* a sender \(an index in 0..1 or a name\) or w"),
        ("receivr", "got 'receivr': did you mean 'receiver'?"),
        ("wolff", "got 'wolff': did you mean 'wolf'?"),
        (2, "rank_by must be .*, got 2"),
        (-1, "rank_by must be .*, got -1"),
        (True, "rank_by must be .*, got True"),
        (None, "rank_by must be 'welfare', 'receiver', .* or weights, got None"),
        ([1.0], r"rank_by must hold 2 weights \(of the senders\) or 3 .*, got \[1.0\]"),
        ([1.0] * 4, "rank_by must hold 2 weights"),
        ([[1.0, 2.0]], "rank_by must hold 2 weights"),
        ([0.0, 0.0, 0.0], r"rank_by must hold a weight that is not 0, got \[0.0, 0.0, 0.0\]"),
        ([float("nan"), 1.0], "rank_by must be finite"),
        ([float("inf"), 1.0], "rank_by must be finite"),
    ],
    ids=str,
)
def test_what_is_no_ranking_is_refused(wrong: Any, message: str) -> None:
    game = replace(didactic_game(), sender_names=("wolf", "lamb"))
    with pytest.raises(ValueError, match=message):
        find_equilibria(game, rank_by=wrong)


# ------------------------------------------------------------------------------------- its ceilings


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("sizes", [(1, 2, 2, 3), (2, 2, 2, 2), (2, 2, 3, 3), (3, 2, 2, 2)])
def test_no_profile_is_worth_more_than_the_ceiling(
    sizes: tuple[int, int, int, int], tie_break: str
) -> None:
    """Against all pure profiles, and random ones; some weights are negative."""
    generator = torch.Generator().manual_seed(0)
    for seed in range(3):
        game = replace(contested(sizes, seed), tie_break=tie_break)
        n_senders, n_signals, n_states, _ = game.shape
        rows = torch.eye(n_signals, dtype=torch.float64)
        pure = torch.tensor(list(product(range(n_signals), repeat=n_senders * n_states)))
        pure = rows[pure].reshape(-1, n_senders, n_states, n_signals)
        policies = torch.cat([pure, game.sample_policies(500, generator)])
        for _ in range(3):
            weights = torch.randn(n_senders + 1, generator=generator, dtype=torch.float64)
            ranking = ranking_of(game, weights)
            ceiling = ranking.ceiling(game)
            slack = 1e-9 * ranking.spread(game)
            senders, receiver = weights[:-1], weights[-1]
            worth = game.ex_ante_utility(policies) @ senders
            worth = worth + receiver * game.receiver_ex_ante_utility(policies)
            assert worth.max() <= ceiling.any_profile + slack
            assert ceiling.global_equilibrium <= ceiling.any_profile


def test_the_ceiling_is_reached_where_one_sender_can_say_all() -> None:
    """Two senders, two actions: what a planner recommends, one of them can say."""
    game = contested((2, 2, 2, 2), seed=1)
    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    first, second = torch.meshgrid(grid, grid, indexing="ij")
    policy = torch.stack([torch.stack([p, 1 - p], -1) for p in (first, second)], -2).reshape(
        -1, 2, 2
    )
    silent = torch.full_like(policy, 0.5)
    policies = torch.stack([policy, silent], 1)
    for weights in ([1.0, 1.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.5, 0.5]):
        ranking = ranking_of(game, weights)
        best = ranking.of(game, policies).max().item()
        # The grid misses the exact probability of a lie by 1/400 at most.
        assert best >= ranking.ceiling(game).any_profile - 0.01 * ranking.spread(game)


def test_nash_equilibria_of_one_sender_are_its_optima() -> None:
    """The prosecutor gets 0.6 in every Nash equilibrium, so the judge is right with 0.7 only."""
    for tie_break in ("first", "senders"):
        game = prosecutor_game(tie_break)
        ceiling = ranking_of(game, "receiver").ceiling(game)
        assert ceiling.any_profile == pytest.approx(1.0)
        assert ceiling.global_equilibrium == pytest.approx(0.7, abs=1e-4)
        (found,) = find_equilibria(game, scope="global", rank_by="receiver", time_limit=10.0)
        assert found.status == "complete"
        assert found.utilities.item() == pytest.approx(0.6, abs=1e-4)


# ------------------------------------------------------------------------------ what is found first


def test_two_prosecutors_ranked_by_players() -> None:
    """Two cases, 0.3 guilty each. The senders' best convicts 2 * 0.3 in each, for both senders;
    the receiver's best Nash equilibrium that is known reveals more and convicts less.
    """
    game = prosecutors((0.3, 0.3), (1.0, 1.0))
    members = ["no-information", "agreement", "planner"]
    best = find_equilibria(game, rank_by=[1.0, 1.0, 0.1], members=members, time_limit=10.0)[0]
    assert best.welfare == pytest.approx(2.4, abs=1e-4)
    seen = find_equilibria(game, rank_by="receiver", members=members, time_limit=10.0)
    nash = [e for e in seen if e.is_global]
    informed = [float(game.receiver_ex_ante_utility(e.policies)) for e in nash]
    assert informed == sorted(informed, reverse=True)
    assert informed[0] > 1.4 + 0.1  # what the judge gets where the senders get most


def test_the_receiver_likes_full_revelation_best() -> None:
    for seed in (1, 2, 3):
        game = contested((2, 2, 2, 2), seed)
        assert full_revelation(game).is_equilibrium
        found = find_equilibria(game, scope="global", rank_by="receiver", time_limit=10.0)
        informed = game.prior @ game.receiver_utility.amax(1)
        assert game.receiver_ex_ante_utility(found[0].policies).item() == pytest.approx(
            informed.item()
        )
        assert found.status == "complete"  # the ceiling is met: no need to search on


def test_the_ranking_steers_what_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner for the receiver reveals the state; one for the senders need not."""
    monkeypatch.setattr(Search, "survives", lambda search, p: torch.ones(len(p), dtype=torch.bool))
    game = didactic_game()
    best = {}
    for rank_by in ("welfare", "receiver"):
        search = Search(game, 0.005, Budget.within(10.0), rank_by=rank_by)
        proposed = [p for p in MEMBERS["planner"].propose(search) if p is not None]
        best[rank_by] = max(float(game.receiver_ex_ante_utility(p)) for p in proposed)
    assert best["receiver"] == pytest.approx(1.0)
    assert best["welfare"] < 0.7


# -------------------------------------------------------------------------------------- the scope


@pytest.mark.parametrize(
    ("game", "welfare"),
    [
        (contested((2, 2, 2, 2), 1), None),
        (contested((3, 2, 2, 2), 2), None),
        (prosecutors((0.3, 0.3), (1.0, 1.0)), 2.4),
        (didactic_game(), 2.0),
    ],
)
def test_the_global_scope_finds_the_same_best_nash_equilibrium(
    game: PersuasionGame, welfare: float | None
) -> None:
    local = find_equilibria(game, time_limit=10.0)
    nash = find_equilibria(game, scope="global", time_limit=10.0)
    assert {e.nash for e in nash} == {"certified"}
    assert all(e.verification.is_equilibrium and e.verification.radius == 0.005 for e in nash)
    best = max(e.welfare for e in local if e.is_global)
    assert nash[0].welfare == pytest.approx(best, abs=1e-5 * game.payoff_range.sum().item())
    assert welfare is None or nash[0].welfare == pytest.approx(welfare, abs=1e-4)
    assert nash.status == "complete"


def test_the_global_scope_proves_nothing_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    radii: list[float | None] = []
    verdict = Search.verdict

    def spy(search: Search, policies: Tensor, radius: float | None, share: float) -> Verdict:
        radii.append(radius)
        return verdict(search, policies, radius, share)

    monkeypatch.setattr(Search, "verdict", spy)
    game = contested((2, 2, 3, 2), seed=1)
    found = find_equilibria(game, scope="global", members=EARLY, time_limit=10.0)
    assert set(radii) == {None}
    assert {e.nash for e in found} == {"certified"}


def test_proposals_of_the_global_scope_withstand_any_single_move() -> None:
    """Telling few of the innocent apart is no local deviation from silence, but a global one."""
    game = prosecutor_game()
    silent = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    local, everywhere = (
        Search(game, 0.005, Budget.within(10.0), scope=scope) for scope in ("local", "global")
    )
    assert local.survives(silent).tolist() == [True]
    assert everywhere.survives(silent).tolist() == [False]


def test_at_a_small_radius_a_nash_equilibrium_is_certified_there_too() -> None:
    """Certificates within 0.0005 allow a tenth of the gain that those for any deviation do."""
    game = contested((2, 2, 2, 2), seed=1)
    found = find_equilibria(game, 0.0005, scope="global", members=EARLY, time_limit=10.0)
    assert {e.nash for e in found} == {"certified"}
    for e in found:
        assert e.verification.is_equilibrium
        assert (e.verification.gain <= 1e-6 * game.payoff_range).all()


def test_a_search_that_finds_nothing_says_how_it_ended() -> None:
    game = contested((2, 2, 3, 2), seed=1)  # silence is not Nash
    found = find_equilibria(game, scope="global", members=["no-information"], time_limit=10.0)
    assert (len(found), found.status) == (0, "complete")


@pytest.mark.parametrize("name", ["no-information", "blocks", "local-responses", "all-blocks"])
def test_members_for_local_equilibria_look_for_nash_ones_too(name: str) -> None:
    assert not MEMBERS[name].may_be_global
    found = find_equilibria(
        contested((2, 2, 2, 2), seed=1), scope="global", members=[name], time_limit=5.0
    )
    assert {(e.source, str(e.nash)) for e in found} <= {(name, "certified")}
    assert found or name == "no-information"  # silence is not Nash


def test_by_default_walks_to_local_equilibria_take_no_time_from_nash_ones() -> None:
    left_out = set(default_members()) - set(default_members("global"))
    assert left_out == {"local-responses", "extragradient"}


def test_with_one_signal_the_only_profile_is_the_ceiling() -> None:
    game = PersuasionGame([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]], [[[1.0, 0.0], [0.0, 1.0]]], 1)

    for rank_by, worth in (("receiver", 0.5), ("welfare", 0.5), ([2.0, -1.0], 0.5)):
        ceiling = ranking_of(game, rank_by).ceiling(game)
        assert ceiling.any_profile == ceiling.global_equilibrium == worth


def test_senders_with_nothing_at_stake_leave_a_finite_ceiling() -> None:
    prior = [0.33096163369786674, 0.6690383663021332]
    receiver = [[0.9775936678384799, -1.5000953023874255], [1.2891568252339825, 0.9690698774076132]]
    first = [[-1.7318214269559995, 0.9733732799231566], [-1.066065327384091, -0.36338398620186124]]
    second = [[-1.093071819678893, -0.7549426899276753], [0.8101241590132168, -0.07379235845821487]]
    game = PersuasionGame(prior, receiver, [first, second], 2)

    ceiling = ranking_of(game).ceiling(game)

    assert ceiling.global_equilibrium == pytest.approx(game.no_information().sum().item())


def test_a_ranking_needs_a_game() -> None:
    with pytest.raises(ValueError, match="game must be a PersuasionGame, got an int: 3"):
        ranking_of(3)  # type: ignore[arg-type]
