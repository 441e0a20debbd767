"""The simulation in machine code against plain loops and against the tensors of `simulation`."""

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.shared.plain import plain_utility
from games import PersuasionGame, stack, synthetic_game
from games.chunk_sizes import SCORE_BYTES
from games.persuasion import compiled
from tests.games.persuasion.test_persuasion import (
    DTYPES,
    Sizes,
    assert_close,
    coarse_case,
    generator,
    random_case,
    tables,
)
from tests.references import simulation as reference

# Fewer signals than a vector has lanes, more, and a multiple; likewise states.
SIZES: list[Sizes] = [
    (1, 3, 2, 2),
    (2, 4, 3, 1),
    (2, 9, 1, 4),
    (3, 3, 9, 3),
    (4, 3, 2, 3),
    (5, 2, 17, 2),
]


@pytest.fixture
def machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every simulation is worth a build; skips where none can be had."""
    if compiled.build(torch.float64, 2, 2, 1) is None:
        pytest.skip("no C++ compiler, or what it builds cannot be loaded")
    monkeypatch.setattr(compiled, "MIN_MULTIPLICATIONS", 0)


def in_tensors(game: PersuasionGame, policies: Tensor) -> Tensor:
    """What the tensors give, whatever a build is worth: gradients are theirs alone."""
    return game.ex_ante_utility(policies.detach().requires_grad_()).detach()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.usefixtures("machine_code")
def test_machine_code_equals_plain_loops_and_tensors(
    sizes: Sizes, tie_break: str, dtype: torch.dtype
) -> None:
    for case in (random_case, coarse_case):  # coarse: ties, and joint signals of probability 0
        game, policies = case(sizes, tie_break, count=7)
        criteria = 2 if tie_break == "senders" else 1
        game, policies = game.to(dtype=dtype), policies.to(dtype)
        if case is random_case:  # every action is clear, so float32 rounding decides nothing
            margins = [reference.margin(game.prior, game.receiver_utility, pi) for pi in policies]
            policies = policies[torch.tensor(margins) > 1e-4]
            assert len(policies) > 0
        assert compiled.kernel(policies.unsqueeze(0), game.n_actions, criteria) is not None
        utilities, receiver = (
            game.ex_ante_utility(policies),
            game.receiver_ex_ante_utility(policies),
        )
        scale = game.sender_utility.abs().max().item()
        assert_close(utilities, in_tensors(game, policies).double(), scale, dtype)
        rule = (tie_break, reference.TOLERANCE[dtype])
        for b, pi in enumerate(policies):
            args = (*tables(game), pi, *rule)
            assert_close(utilities[b], reference.sender_utilities(*args), scale, dtype)
            expected = torch.tensor(reference.receiver_utility(*args), dtype=torch.float64)
            assert_close(receiver[b], expected, game.receiver_utility.abs().max().item(), dtype)


# In the first state, which is told apart from the second, action 0 is short of the best by `gap`
# ranges, and the senders like it best. In the second action 2 is the best.
@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize(
    ("dtype", "gap", "action"),
    [
        (torch.float64, 5e-10, 0),
        (torch.float64, 2e-9, 1),
        (torch.float32, 5e-7, 0),
        (torch.float32, 2e-6, 1),
    ],
)
@pytest.mark.usefixtures("machine_code")
def test_tie_tolerance_is_relative(
    dtype: torch.dtype, gap: float, action: int, tie_break: str
) -> None:
    for unit in (1.0, 1e6, 1e-6):
        v = unit * torch.tensor([[1 - gap, 1, 0], [0, 0, 1]], dtype=torch.float64).to(dtype)
        u = [[[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]]
        game = PersuasionGame([0.5, 0.5], v, u, n_signals=3, tie_break=tie_break)
        # Also at a rare signal.
        policies = torch.tensor([[[1 - 2**-10, 2**-10, 0], [0, 0, 1]]], dtype=dtype)
        assert game.ex_ante_utility(policies).tolist() == [(3.0 - action) / 2]


@pytest.mark.parametrize(
    ("v", "u", "tie_break", "action"),
    [
        ([1.0, 1.0, 0.0], [[0.0, 5.0, 9.0], [0.0, -4.0, 9.0]], "first", 0),
        ([1.0, 1.0, 0.0], [[0.0, 5.0, 9.0], [0.0, -4.0, 9.0]], "senders", 1),
        ([1.0, 1.0, 0.0], [[0.0, 5.0, 9.0], [0.0, -6.0, 9.0]], "senders", 0),
        ([0.0, 1.0, 1.0], [[9.0, 0.3, 0.1], [9.0, 0.0, 0.2]], "senders", 1),
        ([7.0, 7.0, 7.0], [[0.0, 0.0, 1e-3], [0.0, 0.0, 0.0]], "senders", 2),
        ([7.0, 7.0, 7.0], [[0.0, 0.3, 0.1], [0.0, 0.0, 0.2]], "first", 0),
    ],
)
@pytest.mark.usefixtures("machine_code")
def test_ties(v: list[float], u: list[list[float]], tie_break: str, action: int) -> None:
    game = PersuasionGame([1.0], [v], [[row] for row in u], n_signals=1, tie_break=tie_break)
    policies = torch.ones(2, 1, 1, dtype=torch.float64)
    assert game.ex_ante_utility(policies).tolist() == [row[action] for row in u]


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.usefixtures("machine_code")
def test_stacks_threads_and_chunks_change_nothing(
    tie_break: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [coarse_case((3, 3, 9, 3), tie_break, count=5, seed=seed) for seed in range(3)]
    games = stack([game for game, _ in pairs])
    policies = torch.stack([policies for _, policies in pairs])  # (G, B, N, S, M)
    expected = torch.stack([in_tensors(game, own) for game, own in pairs])
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7, 32):
            torch.set_num_threads(count)
            assert_close(games.ex_ante_utility(policies), expected, 10.0, torch.float64)
    finally:
        torch.set_num_threads(threads)
    for budget in (1, 7, 60, 1000):
        monkeypatch.setitem(SCORE_BYTES, "cpu", 8 * budget)
        assert_close(games.ex_ante_utility(policies), expected, 10.0, torch.float64)


@pytest.mark.usefixtures("machine_code")
def test_the_benchmark_s_largest_size() -> None:
    game = synthetic_game(4, 10, 10, 10, seed=0, law="contested")
    for tie_break in ("first", "senders"):
        game = dataclasses.replace(game, tie_break=tie_break)
        policies = game.sample_policies(9, generator(0))
        expected = plain_utility(game, policies, chunk=4)
        assert_close(game.ex_ante_utility(policies), expected, 10.0, torch.float64)
        assert_close(in_tensors(game, policies), expected, 10.0, torch.float64)


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.usefixtures("machine_code")
def test_probabilities_may_be_below_zero_by_rounding(tie_break: str) -> None:
    game, _ = random_case((2, 2, 3, 4), tie_break)
    policies = torch.full((1, 2, 3, 2), 0.5, dtype=torch.float64)
    policies[:, 0] = torch.tensor([1 + 1e-7, -1e-7])
    assert min(sum(q) for q in reference.joint_weights(game.prior, policies[0])) < 0
    expected = reference.sender_utilities(*tables(game), policies[0], tie_break)
    got = game.ex_ante_utility(policies)
    torch.testing.assert_close(got[0], expected, rtol=0, atol=1e-5)
    assert_close(got, in_tensors(game, policies), 10.0, torch.float64)


def profiles(count: int, **kind: Any) -> Tensor:
    """`count` profiles of N = 4, (10, 10, 10) that take no memory: `(1, count, 4, 10, 10)`."""
    return torch.zeros((), **({"dtype": torch.float64} | kind)).expand(1, count, 4, 10, 10)


@pytest.fixture
def nothing_built() -> Iterator[None]:
    """No build is remembered, before or after."""
    compiled.build.cache_clear()
    yield
    compiled.build.cache_clear()


@pytest.mark.usefixtures("nothing_built")
def test_only_what_is_worth_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    worth = compiled.MIN_MULTIPLICATIONS // (10**4 * 10 * 10) + 1
    asked = []
    monkeypatch.setattr(compiled, "build", lambda *sizes: asked.append(sizes))
    for policies in (
        profiles(worth - 1),
        profiles(worth, requires_grad=True),
        profiles(worth, device="meta"),
    ):
        assert compiled.kernel(policies, 10, 1) is None
    compiled.kernel(profiles(worth), 1000, 1)  # tables too large
    assert asked == []
    compiled.kernel(profiles(worth), 10, 1)
    compiled.kernel(profiles(worth, dtype=torch.float32), 10, 2)
    with torch.no_grad():
        compiled.kernel(profiles(worth, requires_grad=True), 10, 1)
    assert asked == [
        (torch.float64, 10, 10, 1),
        (torch.float32, 10, 10, 2),
        (torch.float64, 10, 10, 1),
    ]


@pytest.mark.parametrize("trouble", ["no compiler", "fails", "absent", "builds nothing loadable"])
@pytest.mark.usefixtures("nothing_built")
def test_without_a_compiler_the_tensors_serve(
    trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(compiled, "MIN_MULTIPLICATIONS", 0)
    game, policies = random_case((3, 2, 3, 4))
    if trouble == "no compiler":
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setattr(shutil, "which", lambda _: None)
    else:
        name = {"fails": "false", "absent": str(tmp_path / "c++")}.get(trouble, "true")
        monkeypatch.setenv("CXX", name)
    assert compiled.kernel(policies.unsqueeze(0), 4, 1) is None
    expected = plain_utility(game, policies, chunk=4)
    assert_close(game.ex_ante_utility(policies), expected, 10.0, torch.float64)
