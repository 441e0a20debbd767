"""Welfare ceilings: against two other computations, attacks on the bounds, hand-solved cases."""

import dataclasses
import itertools
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import dnl
from dnl.exact.recommendation import Recommendation
from dnl.exact.welfare_ceiling import own_ceilings
from dnl.runtime.budget import Budget
from games import PersuasionGame, prosecutor_game, synthetic_game
from games.randomness import near_pure
from tests.references import best_response as reference_exact
from tests.references import simulation as reference
from tests.references import ties as reference_ties
from tests.references.best_response import Array

Sizes = tuple[int, int, int, int]  # N, M, S, A
SIZES: list[Sizes] = [
    (1, 2, 2, 2),
    (1, 3, 4, 3),
    (2, 2, 2, 2),
    (2, 3, 3, 3),
    (2, 2, 5, 4),
    (2, 4, 3, 4),
    (3, 2, 2, 2),
    (3, 2, 4, 3),
]
DRAWN = [(law, sizes) for law in ("contested", "paper") for sizes in SIZES]
DRAWN += [("paper", sizes) for sizes in [(2, 1, 3, 3), (2, 3, 1, 4), (3, 2, 4, 1), (1, 1, 1, 1)]]
SCALES = [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e3), (1e-3, -1e3)]
KINDS = ["zero probability", "constant", "one constant", "opposed", "careless", "doubled", "ties"]


def drawn(law: str, sizes: Sizes, seed: int = 0, tie_break: str = "first") -> PersuasionGame:
    game = synthetic_game(*sizes, seed=seed, law=law)
    return dataclasses.replace(game, tie_break=tie_break)


def special(kind: str, tie_break: str = "first") -> PersuasionGame:
    """A contested game of three states and actions, made degenerate."""
    game = drawn("contested", (2, 3, 3, 3), 1, tie_break)
    prior, v, u = (t.clone() for t in (game.prior, game.receiver_utility, game.sender_utility))
    if kind == "zero probability":
        prior = torch.tensor([0.0, 0.35, 0.65]).double()
    elif kind == "constant":
        u = torch.full_like(u, -7.3)
    elif kind == "one constant":
        u[0] = 0.1
    elif kind == "opposed":
        u[1] = -u[0]
    elif kind == "careless":
        v = torch.full_like(v, 0.7)
    elif kind == "doubled":  # the receiver cannot tell the last two actions apart, the senders can
        v[:, 2] = v[:, 1]
    else:  # small whole numbers: ties everywhere
        prior, v = torch.full((3,), 1 / 3).double(), (v / 6).round()
    return PersuasionGame(prior, v, u, game.n_signals, tie_break)


def aligned(sizes: Sizes, seed: int) -> PersuasionGame:
    """The last sender wants what the receiver wants: full revelation, which costs the others."""
    game = drawn("contested", sizes, seed)
    u = game.sender_utility.clone()
    u[-1] = game.receiver_utility
    return dataclasses.replace(game, sender_utility=u)


def scaled(game: PersuasionGame, scale: float, offset: float) -> PersuasionGame:
    return dataclasses.replace(game, sender_utility=scale * game.sender_utility + offset)


def welfare_range(game: PersuasionGame) -> float:
    welfare = game.sender_utility.double().sum(0)
    return (welfare.max() - welfare.min()).item()


def rounding(game: PersuasionGame) -> float:
    return 1e-12 * game.sender_utility.double().abs().sum(0).max().item()


def tables(game: PersuasionGame) -> tuple[Array, Array, Array]:
    return game.prior.numpy(), game.receiver_utility.numpy(), game.sender_utility.numpy()


def planner(game: PersuasionGame, tolerance: float | None = None) -> float:
    """The best plan, by exact enumeration under the receiver's tie rule.

    With a tolerance: nobody gets less than under full revelation by more than that of its range.
    """
    prior, v, u = tables(game)
    floors = []
    if tolerance is not None:
        revealed = reference.full_revelation(
            game.prior, game.receiver_utility, game.sender_utility, game.tie_break
        )
        for table, value, span in zip(u, revealed.tolist(), game.payoff_range, strict=True):
            if span > 0:  # else nothing can happen to this sender
                floors.append((table, value - tolerance * span.item()))
    order = None if game.tie_break == "first" else u.sum(0)
    return reference_ties.planner(prior, v, u.sum(0), order, floors)


def cases() -> list[PersuasionGame]:
    every = [drawn(law, sizes, seed) for law, sizes in DRAWN for seed in (0, 1)]
    every += [special(kind, tie) for kind in KINDS for tie in ("first", "senders")]
    every += [aligned(sizes, seed) for sizes in SIZES if sizes[0] > 1 for seed in (0, 1)]
    return every + [scaled(aligned((2, 3, 3, 3), 0), *scale) for scale in SCALES]


CASES = cases()


# ------------------------------------------------------------------------------ other computations


def reveals_alone(game: PersuasionGame) -> bool:
    best = game.receiver_utility[game.prior > 0].argmax(1)
    return len(set(best.tolist())) <= game.n_signals


@pytest.mark.parametrize("game", CASES)
def test_both_are_the_planners_programs(game: PersuasionGame) -> None:
    ceiling, span, slack = dnl.welfare_ceiling(game), welfare_range(game), rounding(game)
    best = planner(game)
    assert best - 1e-9 * span - slack <= ceiling.any_profile <= best + 1e-6 * span + slack
    if not reveals_alone(game):
        assert ceiling.global_equilibrium == ceiling.any_profile
        return
    # The tolerance of certificates must be granted, twice as much is too much.
    least, most = planner(game, 1e-5) - 1e-9 * span, planner(game, 2e-5) + 1e-6 * span
    assert least - slack <= ceiling.global_equilibrium <= most + slack
    assert ceiling.global_equilibrium <= ceiling.any_profile


def test_participation_costs_something_in_some_of_the_cases() -> None:
    ceilings = [dnl.welfare_ceiling(game) for game in CASES]
    gaps = [ceiling.any_profile - ceiling.global_equilibrium for ceiling in ceilings]
    costly = [gap > 1e-3 * welfare_range(g) > 0 for gap, g in zip(gaps, CASES, strict=True)]
    assert 5 <= sum(costly) <= len(CASES) - 5
    assert sum(not reveals_alone(game) for game in CASES) >= 5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 2, 2, 4), (3, 2, 3, 2), (2, 3, 3, 4)])
@pytest.mark.parametrize("law", ["contested", "paper"])
def test_any_profile_is_the_concave_envelope_at_the_prior(
    law: str, sizes: Sizes, seed: int
) -> None:
    """By all vertices of the action regions: two states need no linear program."""
    game = drawn(law, sizes, seed)
    prior, v, u = tables(game)
    envelope = reference_exact.two_states if len(prior) == 2 else reference_exact.three_states
    expected = envelope(prior[None], v, u.sum(0))
    slack = 1e-6 * welfare_range(game)
    assert dnl.welfare_ceiling(game).any_profile == pytest.approx(expected, rel=0, abs=slack)


# ------------------------------------------------------------------------------------------ attacks


def attacks(game: PersuasionGame) -> Tensor:
    """Profiles `(B, N, S, M)`: random, near-pure, pure, silent, revealing, the planner's."""
    generator = torch.Generator().manual_seed(0)
    shape = (game.n_senders, game.n_states, game.n_signals)
    loose = game.sample_policies(500, generator).double()
    sharp = loose**20 / (loose**20).sum(-1, keepdim=True)
    labels = torch.randint(game.n_signals, (500, *shape[:2]), generator=generator)
    parts = [loose, sharp, *(near_pure(labels, loose, noise) for noise in (0.0, 1e-3, 1e-9))]
    silent = torch.full(shape, 1 / game.n_signals, dtype=torch.float64)
    parts.append(silent[None])
    revealed = dnl.full_revelation(game).policies
    if revealed is not None:
        parts.append(revealed.double()[None])
    if game.n_signals >= game.n_actions:
        worth = game.sender_utility.double().sum(0).numpy()
        for slack in (-1e-7, 0.0, 0.9e-9):  # the last one within the simulator's ties
            plan = Recommendation(game, worth, slack).best(tuple(range(game.n_actions)))
            if plan is not None:
                profile = silent.clone()
                profile[0] = 0.0
                profile[0, :, : game.n_actions] = torch.from_numpy(plan / plan.sum(1)[:, None])
                parts.append(profile[None])
    return torch.cat(parts)


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("game", CASES)
def test_no_profile_gets_more(game: PersuasionGame, tie_break: str) -> None:
    game = dataclasses.replace(game, tie_break=tie_break)
    bound = dnl.welfare_ceiling(game).any_profile
    assert game.ex_ante_utility(attacks(game)).sum(1).max().item() <= bound + rounding(game)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(1, 3, 3, 3), (2, 3, 5, 3), (3, 4, 3, 4)])
def test_a_profile_gets_as_much(sizes: Sizes, seed: int) -> None:
    """With a signal for each action the attacks come close, so the bound is not loose."""
    game = drawn("contested", sizes, seed)
    best = game.ex_ante_utility(attacks(game)).sum(1).max().item()
    assert best >= dnl.welfare_ceiling(game).any_profile - 1e-5 * welfare_range(game)


TINY: list[tuple[Sizes, int]] = [((2, 2, 2, 2), seed) for seed in (1, 3, 4, 7)]


@pytest.mark.parametrize("make", [lambda *of: drawn("contested", *of), aligned])
@pytest.mark.parametrize(("sizes", "seed"), TINY)
def test_no_certified_global_equilibrium_gets_more(
    sizes: Sizes,
    seed: int,
    make: Callable[[Sizes, int], PersuasionGame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From all pure profiles, full revelation among them, and the finder's results."""
    monkeypatch.setattr("dnl.equilibria.response_walks.MOST_WALKS", 2)
    game, (n_senders, n_signals, n_states, _) = make(sizes, seed), sizes
    maps = list(itertools.product(range(n_signals), repeat=n_states))
    labels = torch.tensor(list(itertools.product(maps, repeat=n_senders)))
    profiles = list(torch.nn.functional.one_hot(labels, n_signals).double())
    members = ["full-revelation", "one-speaker", "responses"]
    found = dnl.find_equilibria(game, members=members)
    assert found
    profiles += [e.policies for e in found]
    ceiling = dnl.welfare_ceiling(game).global_equilibrium + rounding(game)
    welfare = game.ex_ante_utility(torch.stack(profiles)).sum(1).tolist()
    above = [p for p, reached in zip(profiles, welfare, strict=True) if reached > ceiling]
    assert not any(dnl.verify(game, p, radius=None).is_equilibrium for p in above)


# ------------------------------------------------------------------------------------------ by hand


def tug(n_signals: int) -> PersuasionGame:
    """The receiver matches the state, and so does sender 1, for 1; sender 0 gets 3 at action 0.

    Without news the receiver takes action 0, worth 3 + 0.6. But sender 1 can reveal the state and
    get 1: sender 0 then gets 3 times 0.6, together 2.8.
    """
    u = [[[3.0, 0.0], [3.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]
    return PersuasionGame([0.6, 0.4], [[1, 0], [0, 1]], u, n_signals)


def test_participation_costs_welfare() -> None:
    ceiling = dnl.welfare_ceiling(tug(2))
    assert ceiling.any_profile == pytest.approx(3.6, abs=1e-7)
    # Sender 1 may fall short by 1.01e-5 of its range 1; that much of action 0 in state 1 is worth
    # 3 - 1 to all.
    assert ceiling.global_equilibrium == pytest.approx(2.8 + 2 * 1.01e-5, abs=1e-7)


def test_who_cannot_reveal_cannot_insist() -> None:
    game = tug(1)
    ceiling = dnl.welfare_ceiling(game)
    silent = torch.ones(2, 2, 1, dtype=torch.float64)
    assert dnl.verify(game, silent, radius=None).is_equilibrium  # the only profile there is
    assert ceiling.any_profile == ceiling.global_equilibrium == pytest.approx(3.6, abs=1e-7)


def test_what_certificates_overlook_is_granted() -> None:
    """Sender 1 slips in state 1, at a cost of 0.8e-5 to it: certified, and worth more than 2.8."""
    game, slip = tug(2), 2e-5
    rows = [[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [slip, 1 - slip]]]
    profile = torch.tensor(rows, dtype=torch.float64)
    assert dnl.verify(game, profile, radius=None).is_equilibrium
    welfare = game.ex_ante_utility(profile).sum().item()
    assert 2.8 + 1.5e-5 < welfare <= dnl.welfare_ceiling(game).global_equilibrium


# ------------------------------------------------------------------------------ float32, no answer


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 3, 4, 3), (3, 2, 3, 2)])
def test_float32_games_are_bounded_like_the_same_in_float64(sizes: Sizes) -> None:
    game = drawn("contested", sizes).to(dtype=torch.float32)
    ceiling, twin = dnl.welfare_ceiling(game), dnl.welfare_ceiling(game.to(dtype=torch.float64))
    slack = 1e-6 * welfare_range(game)
    assert ceiling.any_profile == pytest.approx(twin.any_profile, rel=0, abs=slack)
    assert ceiling.global_equilibrium == pytest.approx(twin.global_equilibrium, rel=0, abs=slack)
    got = game.ex_ante_utility(attacks(game).float()).sum(1).max().item()
    assert got <= ceiling.any_profile + slack


def nearly_tied() -> PersuasionGame:
    """A float32 receiver is torn between actions 0 and 1 and takes 0; a float64 one is not."""
    v = torch.tensor([[1.0, 1 + 2.4e-7, 0.0]] * 2)
    u = torch.tensor([[[1.0, 0.0, 0.0]] * 2])
    return PersuasionGame(torch.tensor([0.5, 0.5]), v, u, n_signals=2)


def test_no_certified_profile_of_a_float32_game_gets_more_than_its_ceiling() -> None:
    game = nearly_tied()
    silent = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    assert dnl.verify(game, silent, radius=None).is_equilibrium
    welfare = game.ex_ante_utility(silent).sum().item()
    assert welfare <= dnl.welfare_ceiling(game).global_equilibrium + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_a_float32_game_far_from_0_is_bounded(seed: int) -> None:
    """All want full revelation, so that it is the best of all profiles and of all equilibria."""
    game = drawn("contested", (2, 2, 2, 2), seed)
    wanted = game.receiver_utility.expand(2, -1, -1)
    game = scaled(dataclasses.replace(game, sender_utility=wanted), 0.01, 1e3)
    game = game.to(dtype=torch.float32)
    revealed = dnl.full_revelation(game).policies
    assert revealed is not None
    assert dnl.verify(game, revealed, radius=None).is_equilibrium
    welfare = game.to(dtype=torch.float64).ex_ante_utility(revealed.double()).sum().item()
    ceiling = dnl.welfare_ceiling(game)
    assert welfare <= ceiling.any_profile + rounding(game)
    assert welfare <= ceiling.global_equilibrium + rounding(game)


@pytest.mark.parametrize("worth", [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
def test_what_nobody_can_grant_is_minus_infinity(worth: list[list[float]]) -> None:
    program = Recommendation(tug(2), np.array(worth), least=((np.ones((2, 2)), 1.5),))
    assert program.bound() == -np.inf


def test_without_the_solver_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(ImportError, match="highspy"):
        dnl.welfare_ceiling(tug(2))


# --------------------------------------------------------------------- each sender's own, the clock


@pytest.mark.parametrize("game", CASES)
def test_own_ceilings_are_those_of_a_planner_who_is_the_sender(game: PersuasionGame) -> None:
    own = own_ceilings(game)
    assert own.shape == (game.n_senders,)
    for n, bound in enumerate(own.tolist()):
        prior, v, u = tables(game)
        if game.n_signals == 1:
            assert bound == pytest.approx(game.no_information()[n].item())
            continue
        order = None if game.tie_break == "first" else u.sum(0)
        best = reference_ties.planner(prior, v, u[n], order)
        span, slack = float(np.ptp(u[n])), rounding(game)
        assert best - 1e-9 * span - slack <= bound <= best + 1e-6 * span + slack


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("game", CASES)
def test_no_sender_gets_more_than_its_own_ceiling(game: PersuasionGame, tie_break: str) -> None:
    game = dataclasses.replace(game, tie_break=tie_break)
    slack = 1e-12 * game.sender_utility.abs().amax((1, 2))
    got = game.ex_ante_utility(attacks(game)).amax(0)
    assert (got <= own_ceilings(game) + slack).all()


@pytest.mark.parametrize("game", CASES[::5])
def test_without_time_the_bounds_are_loose_and_valid(game: PersuasionGame) -> None:
    over = Budget(deadline=0.0)
    tight, loose = dnl.welfare_ceiling(game), dnl.welfare_ceiling(game, over)
    informed = (game.prior @ game.sender_utility.double().sum(0).amax(1)).item()
    slack = 1e-6 * welfare_range(game) + rounding(game)
    assert tight.any_profile <= loose.any_profile + slack
    assert tight.global_equilibrium <= loose.global_equilibrium + slack
    assert loose.any_profile == pytest.approx(informed)
    assert (own_ceilings(game) <= own_ceilings(game, over) + slack).all()


def test_the_prosecutors_own_ceiling_is_the_textbooks() -> None:
    game = prosecutor_game()
    assert own_ceilings(game).tolist() == pytest.approx([0.6], abs=1e-7)
