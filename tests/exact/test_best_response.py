"""Exact best responses against independent exact answers.

In the reference answers the sender chooses among the receiver's optimal actions. The bound may
exceed them by the tie tolerance; it is never below them.
"""

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dnl import best_response, verify
from dnl.exact.best_response import BestResponse
from games import PersuasionGame, prosecutor_game, synthetic_game
from tests.cases.exact import KINDS, TIE_BREAKS, Sizes, contested, profile, tables
from tests.references import best_response as reference
from tests.references import ties as reference_ties


def supremum(game: PersuasionGame, policies: Tensor, sender: int, name: str) -> float:
    weights, v, u = tables(game, policies, sender)
    if name == "two states":
        return reference.two_states(weights, v, u)
    if name == "three states":
        return reference.three_states(weights, v, u)
    if name == "persuasion":
        return reference.persuasion(game.prior.numpy(), v, u)
    return reference.enumerated(weights, v, u, policies[sender].numpy())[0]


def assert_bound(
    game: PersuasionGame, response: BestResponse, sender: int, expected: float, reached: bool = True
) -> None:
    """The bound equals the expected supremum, and the policy comes close to it."""
    span = game.payoff_range[sender].item()
    assert response.status == "optimal"
    assert response.upper_bound >= expected - 1e-9 * span
    assert response.upper_bound <= expected + 1e-6 * span
    assert response.utility <= response.upper_bound
    if reached:
        assert response.utility >= expected - 1e-4 * span


def assert_consistent(
    game: PersuasionGame, policies: Tensor, sender: int, response: BestResponse
) -> None:
    """The policy lies in the box and has the stated utility in the simulator."""
    changed = policies.clone()
    changed[sender] = response.policy
    utility = game.ex_ante_utility(changed)[sender].item()
    assert response.utility == pytest.approx(utility, rel=1e-12, abs=1e-12)
    assert response.utility >= game.ex_ante_utility(policies)[sender].item() - 1e-12
    assert (response.policy >= 0).all()
    torch.testing.assert_close(response.policy.sum(-1), torch.ones(game.n_states).double())
    if response.radius is not None:
        distance = (response.policy - policies[sender]).abs().max().item()
        assert distance <= response.radius + 1e-12
    assert (response.sender, response.dual is None) == (sender, response.radius is not None)


# ------------------------------------------------------------------------ the references agree

COMMON: list[tuple[Sizes, list[str]]] = [
    ((1, 2, 2, 2), ["two states", "persuasion", "enumerated"]),
    ((1, 2, 2, 4), ["two states", "persuasion", "enumerated"]),
    ((2, 2, 2, 3), ["two states", "enumerated"]),
    ((3, 2, 2, 2), ["two states", "enumerated"]),
    ((1, 3, 3, 3), ["three states", "persuasion", "enumerated"]),
    ((1, 4, 3, 4), ["three states", "persuasion"]),
    ((1, 2, 3, 2), ["persuasion", "enumerated"]),
    ((2, 3, 3, 2), ["three states", "enumerated"]),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sizes", "names"), COMMON)
def test_references_agree(sizes: Sizes, names: list[str], kind: str) -> None:
    game = contested(sizes, seed=1)
    policies = profile(game, kind)
    values = [supremum(game, policies, 0, name) for name in names]
    assert max(values) - min(values) <= 1e-9 * game.payoff_range[0].item()


@pytest.mark.parametrize("radius", [0.05, None])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 3), (2, 2, 3, 2), (3, 2, 2, 2)])
def test_references_meet_the_simulator(sizes: Sizes, radius: float | None) -> None:
    for tie_break in TIE_BREAKS:
        game = contested(sizes, seed=2, tie_break=tie_break)
        policies = profile(game, "random")
        weights, v, u = tables(game, policies, 1)
        own, span = policies[1].numpy(), game.payoff_range[1].item()
        best, where = reference.enumerated(weights, v, u, own, radius)
        assert reference.policy_value(where[None], weights, v, u)[0] == pytest.approx(best)
        tried = reference.deviations(np.random.default_rng(0), own, radius, 3000)
        got = game.deviation_utility(policies, 1, torch.from_numpy(tried))
        assert got.max().item() <= best + 1e-9 * span
        assert got.max().item() >= best - 0.1 * span
        closure = reference.policy_value(tried, weights, v, u)
        assert (closure >= got.numpy() - 1e-9 * span).all()
        assert np.median(np.abs(closure - got.numpy())) <= 1e-12 * span  # ties are rare


@pytest.mark.parametrize("radius", [0.01, 0.3, None])
def test_reference_deviations_are_distributions_within_the_box(radius: float | None) -> None:
    game = contested((1, 4, 3, 2), seed=0)
    for kind in KINDS:
        own = profile(game, kind)[0].numpy()
        tried = reference.deviations(np.random.default_rng(0), own, radius, 3000)
        assert tried.min() >= 0
        assert np.abs(tried.sum(-1) - 1).max() < 1e-12
        assert np.abs(tried - own).max() <= (radius or 1.0) + 1e-12
        assert np.abs(tried - own).max() >= 0.99 * min(radius or 1.0, 0.9)


# ---------------------------------------------------------------------- global best responses

GLOBAL: list[tuple[str, Sizes]] = [
    ("two states", (1, 2, 2, 2)),
    ("two states", (2, 2, 2, 2)),
    ("two states", (2, 3, 2, 4)),
    ("two states", (3, 2, 2, 3)),
    ("two states", (3, 3, 2, 2)),
    ("persuasion", (1, 3, 3, 3)),
    ("persuasion", (1, 2, 5, 2)),
    ("persuasion", (1, 4, 4, 6)),
    ("three states", (2, 3, 3, 2)),
    ("three states", (2, 4, 3, 3)),
    ("three states", (3, 3, 3, 3)),
    ("enumerated", (1, 2, 3, 3)),
    ("enumerated", (2, 2, 3, 2)),
    ("enumerated", (2, 2, 3, 3)),
    ("enumerated", (2, 2, 4, 2)),
    ("enumerated", (2, 3, 4, 2)),
    ("enumerated", (3, 2, 3, 2)),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "sizes"), GLOBAL)
def test_global_best_response(name: str, sizes: Sizes, kind: str) -> None:
    seed = (GLOBAL.index((name, sizes)) + KINDS.index(kind)) % 2
    sender = seed % sizes[0]
    game = contested(sizes, seed, TIE_BREAKS[seed])
    policies = profile(game, kind, seed)
    response = best_response(game, policies, sender)
    assert_bound(game, response, sender, supremum(game, policies, sender, name))
    assert_consistent(game, policies, sender, response)


def test_the_prosecutor_accuses_three_sevenths_of_the_innocent() -> None:
    game = prosecutor_game()  # Kamenica and Gentzkow (2011): 0.3 + 0.7 x 3/7
    response = best_response(game, torch.full((1, 2, 2), 0.5).double(), 0)
    assert response.upper_bound == pytest.approx(0.6, abs=1e-6)
    assert response.utility == pytest.approx(0.6, abs=1e-4)
    accusing = response.policy[1].argmax()  # of the guilty, all are accused
    assert response.policy[:, accusing].tolist() == pytest.approx([3 / 7, 1.0], abs=1e-4)


@pytest.mark.parametrize(
    "sizes", [(1, 3, 3, 3), (2, 2, 2, 3), (2, 3, 3, 3), (3, 3, 3, 2), (2, 4, 4, 4)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_dual_is_a_certificate(sizes: Sizes, kind: str) -> None:
    game = contested(sizes, seed=3)
    policies = profile(game, kind)
    rng = np.random.default_rng(0)
    n_states = sizes[2]
    for sender in range(min(2, sizes[0])):
        weights, v, u = tables(game, policies, sender)
        span = game.payoff_range[sender].item()
        response = best_response(game, policies, sender)
        assert response.dual is not None
        assert response.dual.shape == (n_states,)
        assert response.dual.sum().item() == pytest.approx(response.upper_bound, abs=1e-9 * span)
        columns = rng.dirichlet(np.ones(n_states), 3000)
        spiky = rng.dirichlet(np.full(n_states, 0.05), 3000)
        used = response.policy.numpy().T  # where the bound is tight, and around
        near = np.repeat(used, 300, 0)
        near *= 1 + 10 ** rng.uniform(-9, -1, (len(near), 1)) * rng.standard_normal(near.shape)
        columns = np.vstack([columns, spiky, used, np.clip(near, 0, None), np.eye(n_states)])
        lines = reference.indifference(weights, v)  # and where two of the receiver's actions tie
        d, e = lines[rng.integers(len(lines), size=(2, 3000))]
        along = rng.dirichlet(np.ones(n_states), 3000)
        score_d, score_e = (d * along).sum(1), (d * e.clip(0)).sum(1)
        crossing = score_e[:, None] * along - score_d[:, None] * e.clip(0)
        crossing *= np.sign(crossing.sum(1, keepdims=True))
        columns = np.vstack([columns, crossing[(crossing >= 0).all(1)]])
        columns = columns / np.maximum(columns.sum(1, keepdims=True), 1e-300)
        slack = columns @ response.dual.numpy() - reference.column_value(columns, weights, v, u)
        assert slack.min() >= -1e-9 * span
        assert slack.min() <= 1e-4 * span  # touches


# ----------------------------------------------------------------------- local best responses

LOCAL: list[Sizes] = [
    (1, 2, 2, 2),
    (1, 3, 3, 3),
    (2, 2, 2, 2),
    (2, 3, 2, 2),
    (2, 2, 3, 2),
    (2, 2, 3, 3),
    (3, 2, 2, 2),
]
RADII = [0.005, 0.05, 0.3]


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", LOCAL)
def test_local_best_response(sizes: Sizes, kind: str, radius: float) -> None:
    seed = (LOCAL.index(sizes) + KINDS.index(kind) + RADII.index(radius)) % 2
    sender = seed % sizes[0]
    game = contested(sizes, seed, TIE_BREAKS[seed])
    policies = profile(game, kind, seed)
    own = policies[sender].numpy()
    expected, _ = reference.enumerated(*tables(game, policies, sender), own, radius)
    response = best_response(game, policies, sender, radius)
    assert_bound(game, response, sender, expected)
    assert_consistent(game, policies, sender, response)


def cliff(game: PersuasionGame, seed: int, border: bool = False) -> Tensor:
    """A profile at which the receiver's action at some joint signal is about to change.

    Found by bisection between two profiles: a tie of the two actions up to rounding, or (`border`)
    the border of the tie tolerance, where the last digit decides.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        start, end = game.sample_policies(2, generator)
        left, right = game.receiver_action(start), game.receiver_action(end)
        changed = (left != right).nonzero().flatten().tolist()
        if changed:
            break
    k = changed[0]
    pair = game.receiver_utility[:, [int(left[k]), int(right[k])]]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        point = start + middle * (end - start)
        scores = game.posteriors(point)[1][k] @ pair
        same = torch.equal(game.receiver_action(point), left)
        if same if border else scores[0] > scores[1]:
            low = middle
        else:
            high = middle
    return start + (low if seed % 2 else high) * (end - start)


@pytest.mark.parametrize("radius", [1e-3, 0.05, None])
@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 2, 2, 3), (2, 2, 3, 2), (2, 3, 2, 2)])
def test_best_response_at_a_cliff(sizes: Sizes, radius: float | None) -> None:
    for seed in range(3):
        game = contested(sizes, seed, TIE_BREAKS[seed % 2])
        policies = cliff(game, seed)
        sender = sizes[0] - 1
        own = policies[sender].numpy()
        expected, _ = reference.enumerated(*tables(game, policies, sender), own, radius)
        response = best_response(game, policies, sender, radius)
        assert_bound(game, response, sender, expected)
        assert_consistent(game, policies, sender, response)


@pytest.mark.parametrize("radius", [1e-3, 0.05, None])
@pytest.mark.parametrize(
    ("sizes", "seed"), [((2, 2, 2, 2), 5), ((2, 2, 2, 3), 3), ((2, 2, 3, 2), 9), ((2, 3, 2, 2), 1)]
)
def test_the_border_of_the_tie_tolerance(sizes: Sizes, seed: int, radius: float | None) -> None:
    # Rounding decides the action at the profile itself: routes that round otherwise must not mix.
    game = contested(sizes, seed, TIE_BREAKS[seed % 2])
    policies = cliff(game, seed, border=True)
    expected, _ = reference.enumerated(*tables(game, policies, 1), policies[1].numpy(), radius)
    response = best_response(game, policies, 1, radius)
    assert_bound(game, response, 1, expected)
    assert_consistent(game, policies, 1, response)


@pytest.mark.parametrize("radius", [0.005, 0.1, None])
@pytest.mark.parametrize("sizes", [(2, 4, 4, 4), (3, 3, 4, 3), (2, 2, 5, 4)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_deviation_beats_the_bound(sizes: Sizes, kind: str, radius: float | None) -> None:
    game = contested(sizes, seed=4)
    policies = profile(game, kind)
    response = best_response(game, policies, 0, radius, time_limit=1.0)
    assert_consistent(game, policies, 0, response)
    own, span = policies[0].numpy(), game.payoff_range[0].item()
    tried = reference.deviations(np.random.default_rng(0), own, radius, 3000)
    found = response.policy.numpy()
    reach = None if radius is None else 1e-6  # from the witness: the hardest place to be right
    near = np.clip(reference.deviations(np.random.default_rng(1), found, reach, 600), 0, 1)
    share = 10.0 ** -np.random.default_rng(2).uniform(1, 8, (len(near), 1, 1))
    near = found + share * (near - found) if radius is None else near
    if radius is not None:
        near = near[(np.abs(near - own) <= radius).all((1, 2))]
    got = game.deviation_utility(policies, 0, torch.from_numpy(np.concatenate([tried, near])))
    assert got.max().item() <= response.upper_bound + 1e-9 * span


# --------------------------------------------------------------------------------- odd games


@pytest.mark.parametrize("radius", [0.05, None])
def test_a_constant_utility_is_its_own_best(radius: float | None) -> None:
    game = contested((2, 2, 3, 2), seed=0)
    pay = torch.stack([torch.full((3, 2), -2.5).double(), game.sender_utility[1]])
    game = dataclasses.replace(game, sender_utility=pay)
    policies = profile(game, "random")
    response = best_response(game, policies, 0, radius)
    assert response.utility == pytest.approx(-2.5, abs=1e-12)
    assert response.upper_bound == pytest.approx(-2.5, abs=1e-12)
    assert response.status == "optimal"
    assert_consistent(game, policies, 0, response)
    result = verify(game, policies, radius)
    assert result.relative_gain[0] == 0
    assert torch.isfinite(result.relative_gain).all()


@pytest.mark.parametrize("radius", [0.05, None])
@pytest.mark.parametrize("sizes", [(1, 3, 3, 3), (2, 2, 3, 2), (2, 3, 3, 2)])
def test_states_of_probability_zero(sizes: Sizes, radius: float | None) -> None:
    game = contested(sizes, seed=0)
    prior = game.prior.clone()
    prior[1] = 0.0
    game = dataclasses.replace(game, prior=prior / prior.sum())
    policies = profile(game, "random")
    expected, _ = reference.enumerated(*tables(game, policies, 0), policies[0].numpy(), radius)
    response = best_response(game, policies, 0, radius)
    assert_bound(game, response, 0, expected)
    assert_consistent(game, policies, 0, response)
    certain = dataclasses.replace(game, prior=torch.eye(3)[0].double())
    response = best_response(certain, policies, 0, radius)
    utility = certain.no_information()[0].item()
    assert response.utility == pytest.approx(utility, abs=1e-9)
    assert response.upper_bound == pytest.approx(utility, abs=1e-6 * certain.payoff_range[0].item())


@pytest.mark.parametrize("radius", [0.05, None])
@pytest.mark.parametrize("equal", ["two actions", "all actions"])
def test_a_receiver_that_does_not_care(equal: str, radius: float | None) -> None:
    game = contested((2, 2, 2, 3), seed=0)
    v = game.receiver_utility.clone()
    v[:, 1] = v[:, 0]
    if equal == "all actions":
        v = torch.zeros_like(v)
    for tie_break in TIE_BREAKS:
        played = dataclasses.replace(game, receiver_utility=v, tie_break=tie_break)
        policies = profile(played, "random")
        tried = reference.deviations(np.random.default_rng(0), policies[0].numpy(), radius, 2000)
        expected = reference_ties.best_response(
            played.prior, v, played.sender_utility, policies, 0, tie_break, radius
        )
        response = best_response(played, policies, 0, radius)
        span = played.payoff_range[0].item()
        got = played.deviation_utility(policies, 0, torch.from_numpy(tried)).max().item()
        rounding = 1e-9 * span + 1e-12
        assert got <= response.upper_bound + rounding
        assert response.upper_bound == pytest.approx(expected, abs=2e-6 * span + rounding)
        assert response.utility == pytest.approx(expected, abs=2e-6 * span + rounding)
        assert_consistent(played, policies, 0, response)


@pytest.mark.parametrize(("m", "s", "a"), [(1, 3, 3), (3, 1, 3), (3, 3, 1), (2, 1, 1)])
def test_sizes_of_one_leave_nothing_to_gain(m: int, s: int, a: int) -> None:
    game = synthetic_game(2, m, s, a, seed=0)
    policies = profile(game, "random")
    for radius in (0.05, None):
        response = best_response(game, policies, 0, radius)
        utility = game.ex_ante_utility(policies)[0].item()
        span = game.payoff_range[0].item()
        assert response.utility == pytest.approx(utility, abs=1e-9)
        assert response.upper_bound == pytest.approx(utility, abs=1e-6 * max(span, 1e-3))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("radius", [0.05, None])
def test_units_of_utility_do_not_matter(scale: float, radius: float | None) -> None:
    game = contested((2, 2, 3, 3), seed=1)
    policies = profile(game, "random")
    expected, _ = reference.enumerated(*tables(game, policies, 0), policies[0].numpy(), radius)
    scaled = dataclasses.replace(
        game,
        receiver_utility=scale * game.receiver_utility + 3 * scale,
        sender_utility=scale * game.sender_utility - 7 * scale,
    )
    response = best_response(scaled, policies, 0, radius)
    assert_bound(scaled, response, 0, scale * (expected - 7))


@pytest.mark.parametrize("radius", [0.05, None])
def test_float32_policies(radius: float | None) -> None:
    game = contested((2, 2, 3, 2), seed=0)
    policies = profile(game, "random")
    response = best_response(game, policies.float(), 0, radius)
    expected = best_response(game, policies, 0, radius)
    span = game.payoff_range[0].item()
    assert response.policy.dtype == torch.float32
    assert response.upper_bound == pytest.approx(expected.upper_bound, abs=1e-5 * span)
    assert response.utility == pytest.approx(expected.utility, abs=1e-3 * span)


# ------------------------------------------------------------------------------ limits, errors


@pytest.mark.whole_run
@pytest.mark.parametrize("radius", [0.05, 0.3, None])
@pytest.mark.parametrize("sizes", [(2, 2, 3, 2), (2, 3, 3, 2), (2, 2, 3, 3), (3, 2, 3, 2)])
def test_bounds_hold_when_the_time_is_over(sizes: Sizes, radius: float | None) -> None:
    game = contested(sizes, seed=2)
    for kind in KINDS:
        policies = profile(game, kind)
        span = game.payoff_range[0].item()
        response = best_response(game, policies, 0, radius, time_limit=1e-3)
        expected, _ = reference.enumerated(*tables(game, policies, 0), policies[0].numpy(), radius)
        assert response.status in ("optimal", "time limit")
        assert response.upper_bound >= expected - 1e-9 * span
        assert response.upper_bound <= game.sender_utility[0].max().item() + span
        assert_consistent(game, policies, 0, response)
        if response.status == "optimal":
            assert response.upper_bound <= expected + 1e-6 * span


def test_the_time_limit_is_kept() -> None:
    game = contested((2, 6, 6, 6), seed=0)
    for radius in (0.5, None):
        response = best_response(game, profile(game, "random"), 0, radius, time_limit=0.5)
        assert 0 < response.seconds < 3
        assert_consistent(game, profile(game, "random"), 0, response)


HALF = torch.full((2, 3, 2), 0.5).double()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({"sender": bad}, "sender must be an index in 0..1") for bad in (-1, 2, 0.0, True, None)),
        *(({"radius": bad}, "radius must be") for bad in (0, -0.1, math.nan, math.inf, "1")),
        *(({"time_limit": bad}, "time_limit must be") for bad in (0, -1, math.nan, None)),
        *(({"tolerance": bad}, "tolerance must be") for bad in (-1e-6, math.nan, "1")),
        ({"policies": HALF[:1]}, r"policies must have shape"),
        ({"policies": HALF[:, :2]}, r"policies must have shape"),
        ({"policies": HALF.unsqueeze(0)}, r"policies must"),
        ({"policies": 2 * HALF}, "policies must hold distributions"),
        ({"policies": math.nan * HALF}, "policies must hold distributions"),
        ({"policies": HALF[0].tolist()}, r"policies must have shape"),
        ({"policies": "half"}, "policies must be .*, got 'half'"),
        ({"radius": 2}, "radius must be at most 1, the largest change of a probability, got 2"),
        ({"sender": "wolf"}, "sender must be an index in 0..1, got 'wolf'"),
    ],
)
def test_malformed_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"policies": HALF, "sender": 0}
    with pytest.raises(ValueError, match=message):
        best_response(contested((2, 2, 3, 2), seed=0), **(good | wrong))


def test_arrays_and_names_are_arguments_too() -> None:
    drawn = contested((2, 2, 3, 2), seed=0)
    game = dataclasses.replace(drawn, sender_names=("lamb", "wolf"))
    expected = best_response(drawn, HALF, 1)
    given: tuple[tuple[Any, Any], ...] = ((HALF.numpy(), 1), (HALF.tolist(), "wolf"))
    for policies, sender in (*given, (HALF, np.int64(1))):
        found = best_response(game, policies, sender)
        assert (found.utility, found.sender) == (expected.utility, 1)
        assert torch.equal(found.policy, expected.policy)
    with pytest.raises(ValueError, match=r"sender must be an index in 0\.\.1 or one of .*'fox'"):
        best_response(game, HALF, "fox")


def test_a_missing_solver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    game = contested((2, 2, 3, 2), seed=0)
    policies = profile(game, "random")
    monkeypatch.setitem(sys.modules, "highspy", None)
    for radius in (0.3, None):
        with pytest.raises(ImportError, match="highspy"):
            best_response(game, policies, 0, radius)
    assert verify(game, policies, method="sampled").verdict in ("refuted", "not refuted")


def test_ctrl_c_while_the_solver_loads_is_no_missing_solver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As compiled modules do.
    (tmp_path / "highspy.py").write_text(
        "try:\n    raise KeyboardInterrupt\n"
        "except KeyboardInterrupt as error:\n    raise ImportError('failed') from error\n"
    )
    game = contested((2, 2, 3, 2), seed=0)
    policies = profile(game, "random")
    monkeypatch.delitem(sys.modules, "highspy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        best_response(game, policies, 0, 0.3)


def test_same_arguments_same_answer_and_nothing_is_edited() -> None:
    game = contested((2, 3, 3, 3), seed=0)
    policies = profile(game, "near-pure")
    before, state = policies.clone(), torch.get_rng_state()
    for radius in (0.1, None):
        first, again = (best_response(game, policies, 1, radius) for _ in range(2))
        assert torch.equal(first.policy, again.policy)
        assert (first.utility, first.upper_bound) == (again.utility, again.upper_bound)
    assert torch.equal(policies, before)
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------- ties that go the game's own way


@pytest.mark.parametrize("radius", [0.01, 0.1])
@pytest.mark.parametrize(("tie_break", "favours"), [("first", 0), ("first", 1), ("senders", 1)])
def test_where_ties_cannot_all_be_broken_the_best_that_can_is_found(
    tie_break: str, favours: int, radius: float
) -> None:
    """A silent sender at a posterior where the receiver is indifferent between two actions.

    If the tie rule takes the other action, the sender must make the receiver prefer its own. It can
    do so with one of its two signals, of weight at most 1/2 + radius. Indifference at both signals
    is not a limit of such policies, so it does not count.
    """
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    v = torch.eye(2, dtype=torch.float64)
    mine = torch.nn.functional.one_hot(torch.tensor(favours), 2).double().expand(2, 2)
    # The second sender wants the opposite, and more: under "senders" ties go its way.
    u = torch.stack([mine, 3 * (1 - mine)])
    game = PersuasionGame(half, v, u, n_signals=2, tie_break=tie_break)
    granted = tie_break == "first" and favours == 0
    policies = torch.full((2, 2, 2), 0.5, dtype=torch.float64)
    response = best_response(game, policies, 0, radius)
    expected = 1.0 if granted else 0.5 + radius
    assert response.upper_bound == pytest.approx(expected, abs=2e-6)
    assert response.utility == pytest.approx(expected, abs=1e-6)
    assert response.status == "optimal"
    assert response.is_attained == granted
    result = verify(game, policies, radius)
    assert result.verdict == "refuted"
