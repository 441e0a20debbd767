"""Games whose payoffs tie: expected values are enumerated exactly, or derived beside the case.

They are suprema under the game's own tie rule, so they need not be attained.
"""

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dnl
from games import PersuasionGame, prosecutor_game, synthetic_game
from games.persuasion.gambit import grid_policies
from tests.cases.exact import TIE_BREAKS, contested, profile, tables
from tests.references import best_response as reference_exact
from tests.references import ties as reference

QUICK = ("no-information", "full-revelation", "one-speaker")
PRIOR = [0.7, 0.3]  # innocent, guilty
NEAR = 1e-6  # of the utilities that can happen: optimal persuasion and its bound
REACHED = 1e-5  # the same for best responses and gains, whose searches end this close

both_rules = pytest.mark.parametrize("tie_break", TIE_BREAKS)


def alone(prior: Any, v: Any, per_action: Any, n_signals: int, tie_break: str) -> PersuasionGame:
    """A game of one sender whose utility depends on the action only."""
    return PersuasionGame(prior, v, [[per_action] * len(prior)], n_signals, tie_break)


def policies(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def truth(game: PersuasionGame, profile: Tensor, sender: int, radius: float | None = None) -> float:
    """The exact supremum of the utility of `sender`."""
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    return reference.best_response(*tables, profile, sender, game.tie_break, radius)


def tied_game(
    seed: int, most: int = 3, n_signals: int | None = None
) -> tuple[PersuasionGame, Tensor]:
    """A small random game with utilities in {0, 1, 2}, perhaps impossible states, and a profile."""
    rng = np.random.default_rng(seed)
    n, m, s, a = (int(rng.integers(1, most + 1)) for _ in range(4))
    m = min(m, 2) if n == 3 else m
    m = m if n_signals is None else n_signals
    shares = rng.integers(0, 4, s)
    shares[rng.integers(s)] += 1
    game = PersuasionGame(
        shares / shares.sum(),
        rng.integers(0, 3, (s, a)),
        rng.integers(0, 3, (n, s, a)),
        m,
        TIE_BREAKS[rng.integers(2)],
    )
    steps = int(rng.choice([1, 2, 4]))  # policies whose entries are multiples of 1 / steps
    rows = rng.multinomial(steps, np.ones(m) / m, size=(n, s)) / steps
    return game, policies(rows)


# ------------------------------------------------------------------------ the reference itself


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("radius", [None, 0.25])
def test_no_deviation_beats_the_reference(seed: int, radius: float | None) -> None:
    game, present = tied_game(seed)
    exact = reference.utilities(
        game.prior, game.receiver_utility, game.sender_utility, present, game.tie_break
    )
    np.testing.assert_allclose(
        [float(x) for x in exact], game.ex_ante_utility(present), rtol=0, atol=1e-12
    )
    steps = 12 if game.n_states * (game.n_signals - 1) <= 2 else 4
    grid = grid_policies(
        game.n_states, game.n_signals, min(steps, 3 if game.n_signals == 3 else 12)
    )
    for sender in range(game.n_senders):
        best = truth(game, present, sender, radius)
        own = present[sender].numpy()
        drawn = reference_exact.deviations(np.random.default_rng(seed), own, radius, 300)
        near = (
            grid
            if radius is None
            else grid[((grid - present[sender]).abs() <= radius).flatten(1).all(1)]
        )
        tried = torch.cat([near, torch.from_numpy(drawn)])
        reached = game.deviation_utility(present, sender, tried)
        assert reached.max().item() <= best + 1e-9
        if game.n_states * (game.n_signals - 1) <= 2 and radius is None:
            # Fine grids come near: the supremum lies at ties with small denominators.
            fine = grid_policies(game.n_states, game.n_signals, 240)
            assert game.deviation_utility(present, sender, fine).max().item() >= best - 0.03


@pytest.mark.parametrize("seed", range(40))
def test_columns_one_by_one_and_together_agree(seed: int) -> None:
    game, present = tied_game(seed, n_signals=3)
    game = replace(game, sender_utility=game.sender_utility[:1])
    present = present[:1]
    tables = (game.prior, game.receiver_utility, game.sender_utility, present, 0, game.tie_break)
    one_by_one = reference.best_response(*tables)
    assert one_by_one == pytest.approx(reference.best_response(*tables, together=True), abs=1e-9)
    worth = game.sender_utility[0]
    order = None if game.tie_break == "first" else worth
    planned = reference.planner(game.prior, game.receiver_utility, worth, order)
    assert planned == pytest.approx(one_by_one, abs=1e-9)


@pytest.mark.parametrize("sizes", [(1, 2, 2, 3), (2, 2, 2, 2), (2, 2, 3, 2), (1, 2, 3, 3)])
@pytest.mark.parametrize("kind", ["random", "pure"])
@pytest.mark.parametrize("radius", [None, 0.3])
def test_without_ties_the_reference_is_that_of_closures(
    sizes: tuple[int, int, int, int], kind: str, radius: float | None
) -> None:
    game = contested(sizes, seed=1)
    present = profile(game, kind)
    weights, v, u = tables(game, present, 0)
    closed, _ = reference_exact.enumerated(weights, v, u, present[0].numpy(), radius)
    assert truth(game, present, 0, radius) == pytest.approx(closed, abs=1e-6)


def test_the_reference_by_hand() -> None:
    """Convict only beyond indifference ("first"): 0.3 + 0.7 * 3/7, not attained; M = 1: silence."""
    v, u = [[1, 0], [0, 1]], [[0, 1], [0, 1]]
    assert reference.optimal_persuasion(PRIOR, v, u, 2) == pytest.approx(0.6, abs=1e-12)
    assert reference.optimal_persuasion(PRIOR, v, u, 1) == 0.0
    # At the prior (1/2, 1/2) the judge is indifferent: silence convicts only for the sender.
    half = [0.5, 0.5]
    assert reference.optimal_persuasion(half, v, u, 1) == 0.0
    assert reference.optimal_persuasion(half, v, u, 1, "senders") == 1.0
    assert reference.optimal_persuasion(half, v, u, 2) == 1.0
    # Within 0.1 of 5 % of the innocent accused: 15 % of them.
    near = reference.best_response(PRIOR, v, [u], [[[0.95, 0.05], [0, 1]]], 0, "first", 0.1)
    assert near == pytest.approx(0.3 + 0.7 * 0.15, abs=1e-12)
    floors = [([[1, 0], [1, 0]], 0.6)]  # acquit with probability 0.6
    assert reference.planner(PRIOR, v, u, None, floors) == pytest.approx(0.4, abs=1e-9)
    exact = reference.utilities(PRIOR, v, [u], [[[Fraction(4, 7), Fraction(3, 7)], [0, 1]]])
    assert exact == [0]


# -------------------------------------------------------------------------- optimal persuasion

CONVICT_TWICE = ([[1, 0, 0], [0, 1, 1]], [0, 1, 1], 3)
ACQUIT_TWICE = ([[1, 1, 0], [0, 0, 1]], [0, 0.5, 1], 3)
ONLY_AT_TIES = ([[0, -0.5, -1], [0, 0.5, 1]], [0, 1, 1], 2)  # action 1 is best only at a tie


@dataclass(frozen=True)
class Optimum:
    """A game of one sender and the supremum of its utility."""

    game: PersuasionGame
    value: float


OPTIMA = {
    # 0.3 guilty and 0.7 * 3/7 innocent are convicted.
    "convict twice, first": Optimum(alone(PRIOR, *CONVICT_TWICE, "first"), 0.6),
    "convict twice, senders": Optimum(alone(PRIOR, *CONVICT_TWICE, "senders"), 0.6),
    # The second acquittal, worth 0.5, is taken only if ties go to the sender: 0.6 + 0.4 * 0.5.
    "acquit twice, first": Optimum(alone(PRIOR, *ACQUIT_TWICE, "first"), 0.6),
    "acquit twice, senders": Optimum(alone(PRIOR, *ACQUIT_TWICE, "senders"), 0.8),
    "only at ties, first": Optimum(alone(PRIOR, *ONLY_AT_TIES, "first"), 0.6),
    "only at ties, senders": Optimum(alone(PRIOR, *ONLY_AT_TIES, "senders"), 0.6),
    "three states": Optimum(
        PersuasionGame(
            [0.13, 0.28, 0.59],
            [[2, 2, 0], [-2, -2, 1], [-2, 0, 2]],
            [[[0, -2, -1], [-2, 2, -1], [1, -1, -1]]],
            3,
        ),
        -0.87,
    ),
    # A state that never happens and an action that is never optimal, both worth a million.
    "impossible state": Optimum(
        PersuasionGame([0.5, 0.5, 0], [[1, 0], [0, 1], [0, 0]], [[[0, 1], [0, 1], [0, 1e6]]], 2),
        1.0,
    ),
    "useless action": Optimum(
        alone([0.5, 0.5], [[1, 0, -1], [0, 1, -1]], [0, 1, 1e6], 2, "first"), 1.0
    ),
}
each_optimum = pytest.mark.parametrize("name", OPTIMA)


@each_optimum
def test_the_reference_agrees_with_what_is_known(name: str) -> None:
    game, value = OPTIMA[name].game, OPTIMA[name].value
    found = reference.optimal_persuasion(
        game.prior, game.receiver_utility, game.sender_utility[0], game.n_signals, game.tie_break
    )
    assert found == pytest.approx(value, abs=1e-9)


@each_optimum
def test_optimal_persuasion(name: str) -> None:
    """Here the sender's possible utilities range from 1 to 4."""
    game, value = OPTIMA[name].game, OPTIMA[name].value
    found = dnl.optimal_persuasion(game)
    assert found.utility == pytest.approx(value, abs=NEAR)
    assert found.utility == pytest.approx(game.ex_ante_utility(found.policies).item(), abs=1e-12)
    assert found.upper_bound == pytest.approx(value, abs=NEAR)
    assert found.upper_bound >= value - 1e-9
    assert found.status == "optimal"


@each_optimum
def test_best_responses_reach_the_optimum(name: str) -> None:
    game, value = OPTIMA[name].game, OPTIMA[name].value
    silence = torch.full((1, game.n_states, game.n_signals), 1 / game.n_signals).double()
    found = dnl.best_response(game, silence, 0)
    assert found.upper_bound == pytest.approx(value, abs=REACHED)
    assert found.upper_bound >= value - 1e-9
    assert found.utility == pytest.approx(value, abs=REACHED)


@each_optimum
def test_ceilings_are_those_of_the_rule(name: str) -> None:
    ceiling = dnl.welfare_ceiling(OPTIMA[name].game)
    assert ceiling.any_profile == pytest.approx(OPTIMA[name].value, abs=NEAR)
    assert ceiling.any_profile >= OPTIMA[name].value - 1e-9


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("n_signals", [2, 3])
def test_random_ties(seed: int, n_signals: int) -> None:
    game, _ = tied_game(seed, n_signals=n_signals)
    game = replace(game, sender_utility=game.sender_utility[:1])
    value = reference.optimal_persuasion(
        game.prior, game.receiver_utility, game.sender_utility[0], n_signals, game.tie_break
    )
    found = dnl.optimal_persuasion(game)
    assert found.upper_bound == pytest.approx(value, abs=2 * NEAR)
    assert found.upper_bound >= value - 1e-9
    assert found.utility == pytest.approx(value, abs=2 * REACHED)


@pytest.mark.parametrize("seed", range(40))
def test_random_best_responses(seed: int) -> None:
    game, present = tied_game(seed)
    for sender in range(game.n_senders):
        for radius in (None, 0.25):
            value = truth(game, present, sender, radius)
            found = dnl.best_response(game, present, sender, radius)
            assert found.upper_bound >= value - 1e-9
            assert found.upper_bound == pytest.approx(value, abs=2 * REACHED)
            assert found.utility == pytest.approx(value, abs=2 * REACHED)


# ------------------------------------------------------------------------- refuted, not certified


def test_a_joint_move_within_the_radius_refutes() -> None:
    """Both are silent; the receiver is indifferent everywhere, ties go to the senders' sum.

    Silence: the sum is (-1.5, 0) in expectation, so action 1, worth (2 * 0 - 1) / 2 = -0.5 to
    sender 0. With columns (0.4, 0.6) and (0.6, 0.4) the sums are (-3, 0) in state 0 and (2, 0) in
    state 1: action 0 where 2 q(1) > 3 q(0), as with the first one, worth
    (-0.4 + 2 * 0.6) / 2 = 0.4; and action 1 with the other one, worth -0.4 / 2.
    """
    u = [[[-1, 0], [2, -1]], [[-2, 0], [0, 1]]]
    game = PersuasionGame([0.5, 0.5], [[-2, -2], [2, 2]], u, 2, "senders")
    silence = torch.full((2, 2, 2), 0.5, dtype=torch.float64)
    assert game.ex_ante_utility(silence)[0].item() == pytest.approx(-0.5)
    moved = policies([[[0.4, 0.6], [0.6, 0.4]]])
    assert game.deviation_gain(silence, 0, moved).item() == pytest.approx(0.7)
    assert truth(game, silence, 0, 0.1) == pytest.approx(0.2)
    found = dnl.verify(game, silence, radius=0.1)
    assert found.verdict == "refuted"
    assert found.gain[0].item() == pytest.approx(0.7, abs=3 * REACHED)
    assert found.witness_gain[0].item() == pytest.approx(0.7, abs=3 * REACHED)


def test_silence_is_within_reach() -> None:
    """Silence leads to action 0, which is worth -1/3 + 2/3 * (-1), or to action 3 or 2.

    The receiver gets (0, 0, 2/3, -1/3) from the four actions at the prior: action 2, worth 1/3.
    """
    game = PersuasionGame(
        [1 / 3, 2 / 3],
        [[-2, -2, 2, 1], [1, 1, 0, -1]],
        [[[-1, 0, 1, -2], [-1, 2, 0, 1]]],
        2,
    )
    present = policies([[[0.99, 0.01], [0.74, 0.26]]])
    assert game.no_information().item() == pytest.approx(1 / 3)
    value = truth(game, present, 0)
    assert value >= 1 / 3 - 1e-9
    found = dnl.best_response(game, present, 0)
    assert found.utility >= 1 / 3 - REACHED
    assert found.upper_bound == pytest.approx(value, abs=3 * REACHED)


@both_rules
def test_huge_utilities_that_cannot_happen_hide_no_gain(tie_break: str) -> None:
    """Truth convicts half; pooling convicts everyone (in the limit): a gain of 0.5."""
    impossible = PersuasionGame(
        [0.5, 0.5, 0], [[1, 0], [0, 1], [0, 0]], [[[0, 1], [0, 1], [0, 1e6]]], 2, tie_break
    )
    useless = alone([0.5, 0.5], [[1, 0, -1], [0, 1, -1]], [0, 1, 1e6], 2, tie_break)
    for game, rows in (
        (impossible, [[[1, 0], [0, 1], [0, 1]]]),
        (useless, [[[1, 0], [0, 1]]]),
    ):
        present = policies(rows)
        found = dnl.verify(game, present, radius=None)
        assert found.verdict == "refuted"
        assert found.witness_gain.item() == pytest.approx(0.5, abs=REACHED)
        assert found.gain.item() == pytest.approx(0.5, abs=REACHED)
        response = dnl.best_response(game, present, 0)
        assert response.utility == pytest.approx(1.0, abs=REACHED)
        assert response.upper_bound == pytest.approx(1.0, abs=REACHED)
        near = dnl.verify(game, present, radius=0.005)
        assert near.verdict == "refuted"  # accuse 0.5 % of the innocent
        assert near.gain.item() == pytest.approx(0.0025, abs=REACHED)


@pytest.mark.parametrize("seed", range(12))
def test_a_constant_added_to_utilities_changes_no_verdict(seed: int) -> None:
    game, present = tied_game(seed)
    moved = replace(game, sender_utility=game.sender_utility + 1e12)
    for radius in (None, 0.1):
        assert (
            dnl.verify(moved, present, radius).verdict == dnl.verify(game, present, radius).verdict
        )


@pytest.mark.parametrize("name", ["receiver_utility", "sender_utility"])
@pytest.mark.parametrize("size", [1e308, -1e308])
def test_utilities_beyond_arithmetic_are_refused(name: str, size: float) -> None:
    arguments: dict[str, Any] = {
        "prior": PRIOR,
        "receiver_utility": [[1.0, 0.0], [0.0, 1.0]],
        "sender_utility": [[[0.0, 1.0], [0.0, 1.0]]],
        "n_signals": 2,
    }
    table = np.array(arguments[name])
    table[..., 0, 0] = size
    with pytest.raises(ValueError, match=name):
        PersuasionGame(**(arguments | {name: table}))


@both_rules
def test_single_precision_certifies_nothing_wrong_in_a_tiny_radius(tie_break: str) -> None:
    """An indifferent judge acquits. The least evidence against half of the accused convicts them.

    Two senders of opposed interests, so that both rules acquit at a tie; dyadic numbers, so that
    the tie is exact in single precision, too. A second profile is far from ties: accusing more
    innocent gains a whole 5e-7, of which 2e-9 would not count.
    """
    convict = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    game = PersuasionGame(
        torch.tensor([0.5, 0.5]), torch.eye(2), torch.stack([convict, -convict]), 2, tie_break
    )
    assert game.prior.dtype == torch.float32
    silence = torch.full((2, 2, 2), 0.5)
    assert truth(game, silence, 0, 1e-6) == pytest.approx(0.5, abs=1e-5)
    assert dnl.verify(game, silence, radius=1e-6).verdict == "refuted"
    truthful = silence.clone()
    truthful[0] = torch.tensor([[0.875, 0.125], [0.0, 1.0]])
    assert dnl.verify(game, truthful, radius=1e-6).verdict != "certified"


def test_single_precision_certifies_no_profile_that_its_own_simulator_refutes() -> None:
    """Around the tie of the prosecutor's game a jump of 0.6 is a few rounding errors away."""
    game = prosecutor_game("first").to(dtype=torch.float32)
    jumps = 0
    for step in range(-40, 41, 4):
        accused = torch.tensor(3 / 7 + step * 3e-8, dtype=torch.float32)
        tried = accused + torch.linspace(-1e-6, 1e-6, 21)
        tried = tried[(tried - accused).abs() <= 1e-6]
        rows = torch.stack([1 - tried, tried], -1)
        guilty = torch.tensor([0.0, 1.0]).expand(len(tried), 2)
        deviations = torch.stack([rows, guilty], 1)
        present = torch.tensor([[[1 - accused, accused], [0.0, 1.0]]])
        gain = game.deviation_utility(present, 0, deviations).max() - game.ex_ante_utility(present)
        if gain.item() > 0.1:
            jumps += 1
            assert dnl.verify(game, present, radius=1e-6).verdict != "certified"
    assert jumps > 0


@pytest.mark.parametrize("seed", range(10))
def test_single_precision_agrees_with_the_reference(seed: int) -> None:
    drawn, present = tied_game(seed)
    game = drawn.to(dtype=torch.float32)
    double = game.to(dtype=torch.float64)
    for sender in range(game.n_senders):
        value = truth(double, present, sender, 1e-3)
        found = dnl.best_response(game, present.float(), sender, 1e-3)
        assert found.upper_bound >= value - 1e-6  # what single precision can say
        assert found.upper_bound == pytest.approx(value, abs=1e-5)


# ---------------------------------------------------------------------- everything an equilibrium


def _utilities(seed: int, n: int, s: int, a: int) -> Any:
    return np.random.default_rng(seed).integers(-2, 3, (n, s, a))


def _zero_sum(seed: int, s: int, a: int) -> Any:
    u = _utilities(seed, 1, s, a)
    return np.concatenate([u, -u])


SETTLED = {
    # Always action 0.
    "constant receiver": PersuasionGame([0.3, 0.7], np.zeros((2, 3)), _utilities(0, 2, 2, 3), 2),
    "constant receiver, zero sum, senders": PersuasionGame(
        [0.3, 0.7], np.zeros((2, 3)), _zero_sum(1, 2, 3), 2, "senders"
    ),
    "dominant first action": PersuasionGame(
        [0.5, 0.5], [[-2, -2, -2, -2], [0, -1, 0, -1]], _utilities(2, 2, 2, 4), 2
    ),
    "one state": PersuasionGame([1], [[1, 1, 0]], _utilities(3, 2, 1, 3), 3),
    "one state, senders": PersuasionGame([1], [[1, 1, 0]], _utilities(3, 2, 1, 3), 3, "senders"),
    "one signal": PersuasionGame([0.5, 0.5], [[1, 0], [0, 1]], _utilities(4, 2, 2, 2), 1),
    "one signal, senders": PersuasionGame(
        [0.5, 0.5], [[1, 0], [0, 1]], _utilities(4, 2, 2, 2), 1, "senders"
    ),
}


@pytest.mark.parametrize("name", SETTLED)
@pytest.mark.parametrize("radius", [0.005, None])
def test_where_nothing_can_change_everything_is_an_equilibrium(
    name: str, radius: float | None
) -> None:
    game = SETTLED[name]
    for present in game.sample_policies(3, torch.Generator().manual_seed(0)):
        found = dnl.verify(game, present, radius)
        assert found.verdict == "certified"
        assert found.gain.abs().max().item() <= 1e-6


@pytest.mark.parametrize("name", SETTLED)
def test_where_nothing_can_change_an_equilibrium_is_found(name: str) -> None:
    found = dnl.find_equilibria(SETTLED[name], time_limit=10.0, members=QUICK)
    assert found
    assert found[0].is_global
    assert found[0].welfare == pytest.approx(SETTLED[name].no_information().sum().item(), abs=1e-6)


@both_rules
def test_two_firms_that_reveal_everything(tie_break: str) -> None:
    """States (a, b), quality of firm 0 and 1; the customer buys the better one, from 0 if equal.

    Whatever one firm says, the other one has told the customer the state.
    """
    v = [[0, 0], [0, 1], [1, 0], [1, 1]]
    u = [[[1, 0]] * 4, [[0, 1]] * 4]
    game = PersuasionGame([0.25] * 4, v, u, 4, tie_break)
    revealed = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    assert game.ex_ante_utility(revealed).tolist() == [0.75, 0.25]
    for radius in (0.005, None):
        assert dnl.verify(game, revealed, radius).verdict == "certified"
    assert dnl.find_equilibria(game, time_limit=10.0, members=QUICK)


# --------------------------------------------------------------------------------- the finder


@both_rules
@pytest.mark.parametrize("opponent", [False, True])
def test_equilibria_are_found_where_acquittals_tie(opponent: bool, tie_break: str) -> None:
    """Silence is a local equilibrium: at the prior the judge acquits, and little changes that."""
    v, per_action, n_signals = ACQUIT_TWICE
    senders = [[per_action] * 2, [[1, 0, 0]] * 2][: 1 + opponent]
    game = PersuasionGame(PRIOR, v, senders, n_signals, tie_break)
    silence = torch.full((len(senders), 2, n_signals), 1 / n_signals, dtype=torch.float64)
    assert dnl.verify(game, silence).verdict == "certified"
    assert dnl.find_equilibria(game, time_limit=10.0, members=QUICK)


@pytest.mark.whole_run
@pytest.mark.parametrize("before", [False, True])
def test_doubled_actions_lose_no_equilibrium(before: bool) -> None:
    game = synthetic_game(2, 4, 4, 4, seed=0, law="contested")
    order = [0, 0, 1, 1, 2, 2, 3, 3] if before else [0, 1, 2, 3, 0, 1, 2, 3]
    doubled = replace(
        game,
        receiver_utility=game.receiver_utility[:, order],
        sender_utility=game.sender_utility[:, :, order],
    )
    members = ("full-revelation", "one-speaker")
    single = dnl.find_equilibria(game, time_limit=20.0, members=members)
    double = dnl.find_equilibria(doubled, time_limit=20.0, members=members)
    assert single
    assert double
    slack = 1e-5 * game.payoff_range.sum().item()
    assert double[0].welfare == pytest.approx(single[0].welfare, abs=slack)


# --------------------------------------------------- found by attack: near ties, nothing to flip


@pytest.mark.parametrize("apart", [0.0, 1.5e-12, 1e-11, 3e-10, 9e-10])
def test_actions_that_are_nearly_tied_hide_no_gain(apart: float) -> None:
    """A bound never falls below what the simulator pays, and such profiles are not certified."""
    v = [[1 - apart, 1, 1], [apart, 0, 1]]
    u = [[[1, 0, 0], [0, 0, 0]], [[0, 0, 1], [1, 0, 0]]]
    cases = [(PersuasionGame([0.4, 0.6], v, u, 2, "senders"), 0, [[0.5, 0.5], [0.25, 0.75]])]
    v = [[1, 0, -apart, 1], [0, 0, apart, 0]]
    u = [[[1, 1, 0, 0], [0, 1, 0, 0]], [[1, 0, 1, 1], [0, 1, 1, 1]]]
    cases.append((PersuasionGame([0.25, 0.75], v, u, 2), 1, [[0.0, 1.0], [0.5, 0.5]]))
    for game, sender, first in cases:
        second = [[0.75, 0.25], [0.75, 0.25]] if sender == 0 else [[0.5, 0.5], [0.0, 1.0]]
        profile = torch.tensor([first, second], dtype=torch.float64)
        pure = torch.eye(2, dtype=torch.float64)
        tried = torch.stack([pure[list(row)] for row in itertools.product(range(2), repeat=2)])
        gain = game.deviation_gain(profile, sender, tried).max().item()
        response = dnl.best_response(game, profile, sender)
        present = game.ex_ante_utility(profile)[sender].item()
        assert response.upper_bound >= present + gain - 1e-9
        if gain > 1e-3:
            assert dnl.verify(game, profile, None).verdict != "certified"


@pytest.mark.parametrize("tie_break", ["first", "senders"])
def test_a_bound_holds_where_the_tolerance_makes_a_tie(tie_break: str) -> None:
    v = [[1 - 9e-10, 1, 0], [-9e-10, 0, 1]]  # the simulator takes action 0 for 1, or may
    game = PersuasionGame([0.25, 0.75], v, [[[1, 0, 0], [1, 0, 0]]], 2, tie_break)
    found = dnl.optimal_persuasion(game)
    tried = torch.tensor([[[1, 0], [0.2, 0.8]], [[1, 0], [0.33, 0.67]]]).double().unsqueeze(1)
    assert game.ex_ante_utility(tried).max().item() <= found.upper_bound + 1e-9


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e7])
def test_actions_that_rounding_tells_apart_are_the_same(offset: float) -> None:
    v = [[(offset + 0.1) + 0.2, offset + 0.3, offset], [offset, offset, offset + 0.3]]
    game = PersuasionGame([0.25, 0.75], v, [[[1, 0, 0], [1, 0, 0]]], 2)
    found = dnl.optimal_persuasion(game)
    assert found.utility == pytest.approx(0.5, abs=1e-6)
    assert found.upper_bound == pytest.approx(0.5, abs=1e-6)


def test_a_box_in_which_nothing_can_flip() -> None:
    half = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    half[0, 0] += torch.tensor([2e-8, -2e-8])
    game = PersuasionGame([0.5, 0.5], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]], 2)
    assert dnl.verify(game, half, 1e-9).verdict in ("certified", "refuted")
    game = PersuasionGame([0.5 + 1e-8, 0.5 - 1e-8], [[1, 0], [0, 1]], [[[0, 1], [0, 1]]], 1)
    assert dnl.verify(game, torch.ones(1, 2, 1).double()).verdict == "certified"
    u = [[[-1, 0], [1, 0], [0, 0]], [[0, -1], [0, 0], [1, 1]], [[-1, -1], [0, 0], [0, 1]]]
    game = PersuasionGame([0.4, 0.4, 0.2], [[-1, -1], [0, 1], [1, 0]], u, 2, "senders")
    assert dnl.find_equilibria(game, time_limit=5, members=("no-information", "blocks"))


def test_one_signal_leaves_nothing_to_gain_at_any_radius() -> None:
    u = [[[2, 2, 2], [2, 0, 1], [1, 3, 1]], [[2, 0, 1], [3, 0, 1], [0, 0, 2]]]
    game = PersuasionGame([1 / 3] * 3, [[0, 0, 0], [0, 0, 1], [0, 1, 0]], u, 1, "senders")
    for radius in (1e-6, 0.005, 1.0, None):
        assert dnl.verify(game, torch.ones(2, 3, 1).double(), radius).verdict == "certified"


def test_a_witness_far_inside_its_cell_is_found() -> None:
    u = [[[-1, 0, 0], [0, -1, -1]], [[-1, 0, 1], [-1, 0, 1]]]
    game = PersuasionGame([0.6, 0.4], [[1, 1, 0], [2 / 3, 2 / 3, 0]], u, 2, "senders")
    row = [[1e-6, 1 - 1e-6], [1.0, 0.0]]
    profile = torch.tensor([row, row], dtype=torch.float64)
    response = dnl.best_response(game, profile, 1, 0.005)
    assert response.utility == pytest.approx(0, abs=1e-6)
