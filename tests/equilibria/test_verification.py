"""Sampled verification: what it finds is real, what it cannot find it does not claim."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dnl.equilibria.verification import (
    Verdict,
    Verification,
    Verifications,
    verify,
    verify_profile,
)
from dnl.exact.full_revelation import full_revelation
from dnl.runtime.memory import DEVIATION_BYTES
from games import PersuasionGame, didactic_game, prosecutor_game, synthetic_game
from tests.references import simulation as reference

DTYPES = [torch.float64, torch.float32]
RADII = [1e-3, 0.005, 0.1, 0.7, 1.0, None]
HALF = torch.full((3, 2, 2, 2), 0.5, dtype=torch.float64)  # says nothing


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampled(
    game: PersuasionGame, policies: Tensor, radius: float | None = 0.005, **more: Any
) -> Any:
    return verify(game, policies, radius, method="sampled", **more)


def contested(seed: int = 0, count: int = 5) -> tuple[PersuasionGame, Tensor]:
    """A game of two senders with three signals and states, and random profiles."""
    game = synthetic_game(2, 3, 3, 3, seed, law="contested")
    return game, game.sample_policies(count, generator(seed))


def accusing(innocent: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """The prosecutor's policy that accuses all of the guilty and this share of the innocent."""
    return torch.tensor([[[1 - innocent, innocent], [0.0, 1.0]]], dtype=dtype)


def assert_close(got: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def assert_same(got: Verification, expected: Verification, rows: Any = slice(None)) -> None:
    for name in ("gain", "relative_gain", "witness"):
        assert_close(getattr(got, name), getattr(expected, name)[rows])
    assert got.verdict == expected.verdict[rows]


# ------------------------------------------------------------------------- planted and true cases

# The prosecutor earns 0.3 + 0.7 x with x <= 3/7 and all the guilty accused; beyond 3/7 nothing.
# Within radius r of x = 3/7 - gap the best is min(gap, r) more, worth 0.7 times that.
PLANTED = [
    (0.002, 0.005, 0.0014),
    (0.1, 0.005, 0.0035),
    (0.1, 0.05, 0.035),
    (0.2, 0.5, 0.14),
    (3 / 7, 1.0, 0.3),
    (3 / 7, None, 0.3),
    (-0.003, 0.005, 0.6),  # too greedy: less accusation restores the whole 0.6
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("gap", "radius", "best"), PLANTED)
def test_planted_deviations_are_found(
    gap: float, radius: float | None, best: float, dtype: torch.dtype
) -> None:
    result = sampled(prosecutor_game(), accusing(3 / 7 - gap, dtype), radius)
    assert result.verdict == "refuted"
    assert result.is_equilibrium is False
    assert 0.4 * best < result.gain.item() <= best + 1e-6
    assert torch.equal(result.relative_gain, result.gain)  # a payoff range of 1


def test_only_the_sender_with_a_deviation_gains() -> None:
    game = prosecutor_game()
    pay = torch.cat([torch.zeros(1, 2, 2, dtype=torch.float64), 3 * game.sender_utility])
    game = dataclasses.replace(game, sender_utility=pay, sender_names=None)
    profile = torch.cat([HALF[0, :1], accusing(0.3)])
    result = sampled(game, profile)
    assert result.gain[0] == 0
    assert torch.equal(result.witness[0], profile[0])
    assert 3 * 0.0014 < result.gain[1] < 3 * 0.0035 + 1e-12
    assert_close(result.relative_gain[1], result.gain[1] / 3)


def revealing(n_senders: int, n_signals: int, size: int) -> tuple[PersuasionGame, Tensor]:
    """A game that Theorem 4 applies to, and its equilibrium."""
    game = synthetic_game(n_senders, n_signals, size, size, seed=1)
    revelation = full_revelation(game)
    assert revelation.policies is not None
    assert revelation.is_equilibrium
    return game, revelation.policies


Case = tuple[tuple[PersuasionGame, Tensor], list[float | None]]
TRUE: list[Case] = [
    ((prosecutor_game(), accusing(3 / 7)), [0.005, 0.1, None]),  # the textbook's optimum
    # no information with all signals in use: no posterior in reach changes the action
    ((didactic_game(), HALF[0]), [1e-3, 0.005, 0.02]),
    ((prosecutor_game(), HALF[0, :1]), [0.005, 0.02]),
    (revealing(2, 2, 2), RADII),
    (revealing(2, 4, 4), RADII),
    (revealing(3, 2, 4), RADII),
    (revealing(4, 2, 3), RADII),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("game", "profile", "radius"), [(*case, radius) for case, radii in TRUE for radius in radii]
)
def test_equilibria_are_not_refuted_and_not_certified(
    game: PersuasionGame, profile: Tensor, radius: float | None, dtype: torch.dtype
) -> None:
    result = sampled(game, profile.to(dtype), radius)
    assert result.verdict == "not refuted"
    assert result.is_equilibrium is False
    assert (result.relative_gain < 1e-5).all()


def test_a_local_equilibrium_may_fall_to_a_global_search() -> None:
    game = didactic_game()  # sender 1 wants action 1 always and can make it optimal
    assert sampled(game, HALF[0]).verdict == "not refuted"
    assert sampled(game, HALF[0], None).verdict == "refuted"


# Whatever is played, the utility is the same up to rounding.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("level", "radius"), [(0.0, 0.1), (3.7, 1e-3), (-1 / 3, 0.1), (1e6, None)])
def test_rounding_of_a_constant_utility_refutes_nothing(
    level: float, radius: float | None, dtype: torch.dtype
) -> None:
    game, profiles = contested()
    game = dataclasses.replace(game, sender_utility=torch.full_like(game.sender_utility, level))
    result = sampled(game, profiles.to(dtype), radius, deviations=200)
    assert result.relative_gain.eq(0).all()
    assert result.verdict == ("not refuted",) * 5


# A plateau: no action changes within reach, so the utility does not either, at any level.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("radius", [1e-3, 0.005])
@pytest.mark.parametrize("level", [0.0, 1e3])
def test_rounding_on_a_plateau_refutes_nothing(
    level: float, radius: float, dtype: torch.dtype
) -> None:
    game = didactic_game()
    game = dataclasses.replace(game, sender_utility=level + 0.1 * game.sender_utility)
    assert sampled(game, HALF[0].to(dtype), radius).verdict == "not refuted"


# ----------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("radius", RADII)
def test_gains_are_those_of_the_simulator_at_the_witness(
    radius: float | None, tie_break: str
) -> None:
    game, profiles = contested()
    game = dataclasses.replace(game, tie_break=tie_break)
    profiles = torch.cat([profiles, torch.eye(3, dtype=torch.float64).expand(1, 2, 3, 3)])
    result = sampled(game, profiles, radius, deviations=300)
    tables = (game.prior, game.receiver_utility, game.sender_utility)
    for b, profile in enumerate(profiles):
        base = reference.sender_utilities(*tables, profile, tie_break)
        for n in range(2):
            changed = profile.clone()
            changed[n] = result.witness[b, n]
            got = reference.sender_utilities(*tables, changed, tie_break)[n] - base[n]
            assert_close(result.gain[b, n], got, 1e-10)
            assert (changed - profile).abs().max() <= (radius or 1.0) + 1e-12
            assert result.gain[b, n] > 0 or torch.equal(changed, profile)
    assert (result.gain >= 0).all()
    assert (result.gain > 0).any()
    assert (result.witness >= 0).all()
    assert_close(result.witness.sum(-1), torch.ones(6, 2, 3, dtype=torch.float64))
    assert_close(result.relative_gain, result.gain / game.payoff_range)


def test_the_number_of_deviations_is_an_argument() -> None:
    game, profiles = contested()
    results = [sampled(game, profiles, 0.1, deviations=count) for count in (1, 10, 1000)]
    assert [result.deviations for result in results] == [1, 10, 1000]
    gains = [result.gain.sum().item() for result in results]
    assert gains[0] < gains[1] < 0.9 * gains[2]


def test_result_says_what_was_asked() -> None:
    game, profiles = contested()
    result = sampled(game, profiles, 0.01, tolerance=1e-4, seed=7)
    assert (result.game, result.method, result.radius) == (game.identity, "sampled", 0.01)
    assert (result.tolerance, result.deviations, result.seed) == (1e-4, 100 * 3 * 3, 7)
    assert isinstance(result, Verifications)
    assert set(result.verdict) <= {"refuted", "not refuted"}
    assert result.is_equilibrium.tolist() == [False] * 5
    assert verify(game, profiles[0], method="sampled").radius == 0.005
    for verdict, certified in ((Verdict.CERTIFIED, True), (Verdict.UNDECIDED, False)):
        assert dataclasses.replace(result[0], verdict=verdict).is_equilibrium is certified


def test_a_verdict_is_its_text() -> None:
    assert [verdict == str(verdict) for verdict in Verdict] == [True] * 4
    assert f"{Verdict.CERTIFIED}, {(Verdict.REFUTED,)}" == "certified, ('refuted',)"
    game, profiles = contested()
    found = verify(game, profiles, method="sampled")
    assert isinstance(found, Verifications)
    assert found.verdict.count("refuted") + found.verdict.count("not refuted") == 5
    assert [one.verdict for one in (found[b] for b in range(len(found)))] == list(found.verdict)
    assert found[0].verdict is found.verdict[0]
    with pytest.raises(ValueError, match=r"policies must be one profile .* got \(5, 2, 3, 3\)"):
        verify_profile(game, profiles, 0.005)


# Gains up to tolerance x payoff range x min(1, radius / 0.005) do not count.
@pytest.mark.parametrize(
    ("radius", "scale"), [(5e-4, 0.1), (1e-3, 0.2), (0.005, 1.0), (0.1, 1.0), (None, 1.0)]
)
def test_tolerance_is_a_share_of_the_range_and_shrinks_with_the_radius(
    radius: float | None, scale: float
) -> None:
    game, profiles = contested(seed=3, count=1)
    pay = game.sender_utility * torch.tensor([1.0, 5.0]).reshape(2, 1, 1)
    game = dataclasses.replace(game, sender_utility=pay, sender_names=None)
    gain = sampled(game, profiles[0], radius).gain
    critical = (gain / game.payoff_range).max().item() / scale
    assert critical > 1e-4
    for factor, verdict in ((0.0, "refuted"), (0.999, "refuted"), (1.001, "not refuted")):
        result = sampled(game, profiles[0], radius, tolerance=factor * critical)
        assert result.verdict == verdict
        assert torch.equal(result.gain, gain)


# ---------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("radius", [0.1, None])
def test_one_profile_is_a_row_of_the_batch(radius: float | None) -> None:
    game, profiles = contested()
    batch = sampled(game, profiles, radius)
    assert batch.gain.shape == batch.relative_gain.shape == (5, 2)
    assert batch.witness.shape == profiles.shape
    for b, profile in enumerate(profiles):
        single = sampled(game, profile, radius)
        assert isinstance(single, Verification)
        assert_same(single, batch, b)
    assert_close(sampled(game, profiles.flip(0), radius).witness.flip(0), batch.witness)
    assert sampled(game, profiles[:0], radius).verdict == ()


@pytest.mark.parametrize("budget", [1, 2 * 90 * 9, 2**40])
def test_chunk_size_changes_nothing(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    game, profiles = contested()
    expected = sampled(game, profiles, 0.1, deviations=90)
    monkeypatch.setitem(DEVIATION_BYTES, "cpu", 8 * budget)
    assert_same(sampled(game, profiles, 0.1, deviations=90), expected)


def test_seed_decides_the_deviations() -> None:
    game, profiles = contested()
    state = torch.get_rng_state()
    first, again, other = (sampled(game, profiles, 0.1, seed=seed).witness for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    alike = torch.stack([profiles[0, 0], profiles[0, 0]])  # senders draw from streams of their own
    both = dataclasses.replace(game, sender_utility=game.sender_utility[:1].expand(2, -1, -1))
    tried = sampled(both, alike, None).witness
    assert not torch.equal(tried[0], tried[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_is_that_of_the_policies_which_stay_as_they_were(dtype: torch.dtype) -> None:
    game, profiles = contested()
    given = profiles.to(dtype).requires_grad_()
    before = given.detach().clone()
    result = sampled(game, given, 0.1)
    assert {result.gain.dtype, result.relative_gain.dtype, result.witness.dtype} == {dtype}
    assert not result.gain.requires_grad
    assert torch.equal(given, before)
    exact = sampled(game, profiles, 0.1)
    assert_close(result.gain.double(), exact.gain, 1e-3 if dtype == torch.float32 else 1e-12)
    assert result.verdict == exact.verdict


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "exact", "deviations": 5}, "deviations is for method 'sampled', got 5"),
        ({"method": "exact", "tolerance": 0.0}, "tolerance must be"),
        ({"method": "guess"}, "method must be one of 'exact', 'sampled', got 'guess'"),
        ({"method": None}, "method must be one of"),
        *(({"radius": bad}, "radius must be") for bad in (0, -0.1, math.nan, math.inf, "1", True)),
        *(({"tolerance": bad}, "tolerance must be") for bad in (-1e-9, math.nan, None)),
        *(({"time_limit": bad}, "time_limit must be") for bad in (0, -1, math.nan)),
        *(({"seed": bad}, "seed must be an integer") for bad in (-1, 0.5)),
        *(({"deviations": bad}, "deviations must be an integer") for bad in (0, -5, 2.5)),
        ({"policies": HALF[:, :1]}, r"policies must have shape \(B, N, S, M\)"),
        ({"policies": HALF[0, 0]}, r"policies must have shape \(B, N, S, M\)"),
        ({"policies": 2 * HALF}, "policies must hold distributions"),
        ({"policies": HALF[0, 0].tolist()}, r"policies must have shape \(B, N, S, M\)"),
        ({"policies": "half"}, "policies must be .*, got 'half'"),
        ({"radius": 2}, "radius must be at most 1, the largest change of a probability, got 2"),
        ({"seed": 1, "generator": torch.Generator()}, "seed and generator must not both be given"),
        (
            {"game": didactic_game().arguments()},
            r"game must be a PersuasionGame, got a dict: .*; PersuasionGame\(\*\*game\) makes one",
        ),
        ({"game": "game.json"}, r"got a str: 'game.json'; PersuasionGame.load\(path\) reads one"),
        ({"game": None}, "game must be a PersuasionGame, got a NoneType: None"),
        ({"policies": HALF.half()}, "policies must be float32 or float64"),
    ],
)
def test_malformed_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"game": didactic_game(), "policies": HALF, "method": "sampled"}
    with pytest.raises(ValueError, match=message):
        verify(**(good | wrong))


def test_lists_and_arrays_are_policies_too() -> None:
    game = didactic_game()
    expected = verify_profile(game, HALF[0], 0.1)
    for given in (HALF[0].tolist(), HALF[0].numpy(), [row.numpy() for row in HALF[0]]):
        found = verify_profile(game, given, 0.1)
        assert torch.equal(found.gain, expected.gain)
        assert found.gain.dtype == torch.float64
    assert len(verify(game, HALF.tolist(), 0.1).verdict) == len(HALF)


def test_a_generator_stands_for_a_seed() -> None:
    game, profiles = contested()
    one, two = (sampled(game, profiles, 0.1, generator=generator(3)) for _ in range(2))
    other = sampled(game, profiles, 0.1, generator=generator(4))
    assert torch.equal(one.gain, two.gain)
    assert one.seed == two.seed != other.seed
    assert torch.equal(sampled(game, profiles, 0.1, seed=one.seed).witness, one.witness)
    assert sampled(game, profiles, 0.1).seed == 0


def test_exact_is_the_default() -> None:
    assert verify(didactic_game(), HALF).method == "exact"
