"""The simulator against plain loops, hand-derived cases, invariances."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from games import PersuasionGame, prosecutor_game, stack
from games.chunk_sizes import SCORE_BYTES
from games.persuasion import simulation
from tests.references import simulation as reference

Sizes = tuple[int, int, int, int]  # (N, M, S, A)

SIZES: list[Sizes] = [
    (1, 2, 2, 2),
    (2, 2, 2, 2),
    (2, 3, 4, 5),
    (3, 2, 3, 4),
    (4, 3, 2, 3),
    (5, 2, 2, 2),
    (2, 1, 3, 2),
    (3, 2, 1, 4),
    (2, 4, 3, 1),
    (1, 1, 1, 1),
]
DTYPES = [torch.float64, torch.float32]
ACCURACY = {torch.float64: 1e-12, torch.float32: 1e-5}  # share of the largest |utility|
WORTH = ["utility", "gain"]
METHODS = ["ex_ante_utility", "receiver_ex_ante_utility", "receiver_action", "posteriors"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_case(
    sizes: Sizes, tie_break: str = "first", count: int = 4, seed: int = 0
) -> tuple[PersuasionGame, Tensor]:
    """A game with normal utilities, and random profiles `(B, N, S, M)`: nothing is tied."""
    n, m, s, a = sizes
    g = generator(seed)
    v = 10 * torch.randn(s, a, dtype=torch.float64, generator=g)
    u = 10 * torch.randn(n, s, a, dtype=torch.float64, generator=g)
    prior = torch.rand(s, dtype=torch.float64, generator=g) + 0.05
    game = PersuasionGame(prior / prior.sum(), v, u, m, tie_break)
    return game, game.sample_policies(count, g)


def coarse_case(
    sizes: Sizes, tie_break: str = "first", count: int = 4, seed: int = 0
) -> tuple[PersuasionGame, Tensor]:
    """A game and profiles of few distinct dyadic numbers: exact ties and impossible signals."""
    n, m, s, a = sizes
    g = generator(seed)

    def shares(*size: int, of: int) -> Tensor:
        draws = torch.randint(size[-1], (*size[:-1], of), generator=g)
        return torch.nn.functional.one_hot(draws, size[-1]).sum(-2).double() / of

    v = torch.randint(2, (s, a), generator=g)
    u = torch.randint(-2, 3, (n, s, a), generator=g)
    return PersuasionGame(shares(s, of=8), v, u, m, tie_break), shares(count, n, s, m, of=4)


def tables(game: PersuasionGame) -> tuple[Tensor, Tensor, Tensor]:
    return game.prior, game.receiver_utility, game.sender_utility


def assert_close(got: Tensor, expected: Tensor, scale: float, dtype: torch.dtype) -> None:
    torch.testing.assert_close(
        got.detach(), expected.to(dtype), rtol=0, atol=ACCURACY[dtype] * max(scale, 1.0)
    )


# ---------------------------------------------------------------------------- against plain loops


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", SIZES)
def test_actions_and_utilities_equal_plain_loops(
    sizes: Sizes, case: Any, tie_break: str, dtype: torch.dtype
) -> None:
    game, policies = case(sizes, tie_break)
    game, policies = game.to(dtype=dtype), policies.to(dtype)
    if case is random_case:  # every action is clear, so float32 rounding decides nothing
        margins = [reference.margin(game.prior, game.receiver_utility, pi) for pi in policies]
        policies = policies[torch.tensor(margins) > 1e-4]
        assert len(policies) > 0
    rule = (tie_break, reference.TOLERANCE[dtype])
    actions, utilities = game.receiver_action(policies), game.ex_ante_utility(policies)
    receiver = game.receiver_ex_ante_utility(policies)
    assert actions.dtype == torch.int64
    for b, pi in enumerate(policies):
        args = (*tables(game), pi, *rule)
        assert actions[b].tolist() == reference.receiver_actions(*args)
        scale = game.sender_utility.abs().max().item()
        assert_close(utilities[b], reference.sender_utilities(*args), scale, dtype)
        expected = torch.tensor(reference.receiver_utility(*args), dtype=torch.float64)
        assert_close(receiver[b], expected, game.receiver_utility.abs().max().item(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", SIZES)
def test_posteriors_equal_plain_loops(sizes: Sizes, case: Any, dtype: torch.dtype) -> None:
    game, policies = case(sizes)
    game, policies = game.to(dtype=dtype), policies.to(dtype)
    probabilities, posteriors = game.posteriors(policies)
    for b, pi in enumerate(policies):
        expected = reference.posteriors(game.prior, pi)
        assert_close(probabilities[b], expected[0], 1.0, dtype)
        assert_close(posteriors[b], expected[1], 1.0, dtype)


@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("case", [random_case, coarse_case])
def test_truth_and_silence_are_full_revelation_and_no_information(
    case: Any, tie_break: str
) -> None:
    game, _ = case((2, 3, 3, 4), tie_break)
    truth = torch.eye(3, dtype=torch.float64).expand(2, -1, -1)
    silence = truth[:, :1].expand(-1, 3, -1)
    expected = reference.full_revelation(*tables(game), tie_break)
    assert_close(game.ex_ante_utility(truth), expected, 10.0, torch.float64)
    expected = reference.no_information(*tables(game), tie_break)
    assert_close(game.no_information(), expected, 10.0, torch.float64)
    assert_close(game.ex_ante_utility(silence), expected, 10.0, torch.float64)


def test_zero_probability_signals_have_action_minus_one_and_add_nothing() -> None:
    game, _ = random_case((2, 3, 4, 3))
    silent = torch.zeros(2, 4, 3, dtype=torch.float64)
    silent[0, :, 2] = silent[1, :, 1] = 1  # always the joint signal (2, 1), number 7 of 9
    assert game.receiver_action(silent).tolist()[:7] == [-1] * 7
    assert game.receiver_action(silent)[8] == -1
    probabilities, posteriors = game.posteriors(silent)
    assert_close(probabilities, torch.eye(9, dtype=torch.float64)[7], 1.0, torch.float64)
    assert_close(posteriors[7], game.prior, 1.0, torch.float64)
    assert posteriors[:7].eq(0).all()
    assert posteriors[8].eq(0).all()
    assert_close(game.ex_ante_utility(silent), game.no_information(), 10.0, torch.float64)


# ------------------------------------------------------------------------------- derived by hand

# Prior (1/2, 1/2), the receiver gets 1 for action = state, sender 0 gets 2 for action 1, sender 1
# gets 1 for action 0. Sender 0 says (1/2, 1/2) in state 0 and signal 1 in state 1; sender 1 says
# signal 0 in state 0 and (x, 1 - x) in state 1. Unnormalised posteriors (state 0, state 1):
#   (0, 0): (1/4, 0)    -> action 0        (0, 1): (0, 0)          -> impossible
#   (1, 0): (1/4, x/2)  -> 0 if x < 1/2    (1, 1): (0, (1 - x)/2)  -> action 1
# x = 1/4: action 1 has probability 3/8, so utilities 2 * 3/8 and 5/8; mistakes x/2: right 7/8.
# x = 1/2, "first": (1, 0) is a tie, action 0; action 1 has probability 1/4; mistakes 1/4.
# x = 1/2, "senders": action 1 pays the senders 2 rather than 1; its probability is 3/4;
# mistakes 1/4.
# x = 3/4, either rule: (1, 0) gives action 1, which has probability 3/4; mistakes 1/4.
HAND = [
    (0.25, "first", [0, -1, 0, 1], [0.75, 0.625], 0.875),
    (0.25, "senders", [0, -1, 0, 1], [0.75, 0.625], 0.875),
    (0.5, "first", [0, -1, 0, 1], [0.5, 0.75], 0.75),
    (0.5, "senders", [0, -1, 1, 1], [1.5, 0.25], 0.75),
    (0.75, "first", [0, -1, 1, 1], [1.5, 0.25], 0.75),
    (0.75, "senders", [0, -1, 1, 1], [1.5, 0.25], 0.75),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("x", "tie_break", "actions", "utilities", "receiver"), HAND)
def test_two_senders_derived_by_hand(
    x: float,
    tie_break: str,
    actions: list[int],
    utilities: list[float],
    receiver: float,
    dtype: torch.dtype,
) -> None:
    u = [[[0.0, 2.0], [0.0, 2.0]], [[1.0, 0.0], [1.0, 0.0]]]
    game = PersuasionGame([0.5, 0.5], np.eye(2), u, n_signals=2, tie_break=tie_break)
    policies = torch.tensor([[[0.5, 0.5], [0, 1]], [[1, 0], [x, 1 - x]]], dtype=dtype)
    assert game.receiver_action(policies).tolist() == actions
    assert game.ex_ante_utility(policies).tolist() == pytest.approx(utilities, abs=1e-6)
    assert game.receiver_ex_ante_utility(policies).item() == pytest.approx(receiver, abs=1e-6)
    loops = reference.sender_utilities(*tables(game), policies, tie_break)
    assert loops.tolist() == pytest.approx(utilities, abs=1e-12)


@pytest.mark.parametrize(("tie_break", "utility"), [("senders", 0.6), ("first", 0.0)])
def test_prosecutor(tie_break: str, utility: float) -> None:
    game = prosecutor_game(tie_break)
    # Kamenica and Gentzkow: accuse the guilty (0.3) and 3/7 of the innocent (0.7), so that the
    # judge is indifferent after an accusation, which has probability 0.3 + 0.7 * 3/7 = 0.6.
    optimal = torch.tensor([[[4 / 7, 3 / 7], [0.0, 1.0]]], dtype=torch.float64)
    assert game.ex_ante_utility(optimal).item() == pytest.approx(utility, abs=1e-12)
    assert game.receiver_ex_ante_utility(optimal).item() == pytest.approx(0.7, abs=1e-12)
    assert game.no_information().tolist() == [0.0]


# The first state is told apart from the second; range 1 (times `unit`), in the first state action 0
# is short of the best by `gap` ranges. A tie lets action 0 win under either rule (the senders like
# it best). Neither an impossible state nor an action that is never optimal widens the range.
@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("unit", [1.0, 1e6, 1e-6])
@pytest.mark.parametrize(
    ("dtype", "gap", "action"),
    [
        (torch.float64, 5e-10, 0),
        (torch.float64, 2e-9, 1),
        (torch.float32, 5e-7, 0),
        (torch.float32, 2e-6, 1),
    ],
)
def test_tie_tolerance_is_relative(
    dtype: torch.dtype, gap: float, action: int, unit: float, tie_break: str
) -> None:
    rows = [[1 - gap, 1, 0, -1e9], [0, 0, 1, -1e9], [1e9, 0, 0, 0]]
    v = unit * torch.tensor(rows, dtype=torch.float64).to(dtype)
    u = [[[3.0, 2.0, 1.0, 0.0]] * 3]
    game = PersuasionGame([0.5, 0.5, 0], v, u, n_signals=3, tie_break=tie_break)
    # Also at a rare signal.
    policies = torch.tensor([[[1 - 2**-10, 2**-10, 0], [0, 0, 1], [1, 0, 0]]], dtype=dtype)
    assert game.receiver_action(policies).tolist() == [action, action, 2]


# One state, so scores are the utilities. Among tied actions the senders' sum decides under
# "senders", and where that is tied too (or rounding apart: 0.1 + 0.2 > 0.3) the lowest index; so
# also where the receiver is indifferent to everything.
@pytest.mark.parametrize(
    ("v", "u", "tie_break", "action"),
    [
        ([1.0, 1.0, 0.0], [[0.0, 5.0, 9.0], [0.0, -4.0, 9.0]], "first", 0),
        ([1.0, 1.0, 0.0], [[0.0, 5.0, 9.0], [0.0, -4.0, 9.0]], "senders", 1),
        ([1.0, 1.0, 0.0], [[0.0, 5.0, 9.0], [0.0, -6.0, 9.0]], "senders", 0),
        ([0.0, 1.0, 1.0], [[9.0, 0.3, 0.1], [9.0, 0.0, 0.2]], "senders", 1),
        ([0.0, 0.0, 0.0], [[0.0, 1.0, 2.0], [0.0, 1.0, -2.0]], "first", 0),
        ([0.0, 0.0, 0.0], [[0.0, 1.0, 2.0], [0.0, 1.0, -2.0]], "senders", 1),
        ([7.0, 7.0, 7.0], [[0.0, 0.0, 1e-3], [0.0, 0.0, 0.0]], "senders", 2),
        ([7.0, 7.0, 7.0], [[0.0, 0.3, 0.1], [0.0, 0.0, 0.2]], "senders", 1),
    ],
)
def test_ties(v: list[float], u: list[list[float]], tie_break: str, action: int) -> None:
    game = PersuasionGame([1.0], [v], [[row] for row in u], n_signals=1, tie_break=tie_break)
    policies = torch.ones(2, 1, 1, dtype=torch.float64)
    assert game.receiver_action(policies).tolist() == [action]
    assert game.no_information().tolist() == [row[action] for row in u]


# ---------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", [(2, 3, 4, 5), (3, 2, 3, 4), (4, 3, 2, 3)])
def test_relabelled_signals_and_permuted_senders(sizes: Sizes, case: Any) -> None:
    game, policies = case(sizes, "senders")
    n, m = sizes[:2]
    utilities, actions = game.ex_ante_utility(policies), game.receiver_action(policies)
    grid = actions.reshape(-1, *[m] * n)
    relabelled = policies.clone()
    relabelled[:, 1] = relabelled[:, 1].roll(1, -1)
    assert_close(game.ex_ante_utility(relabelled), utilities, 10.0, torch.float64)
    assert torch.equal(game.receiver_action(relabelled), grid.roll(1, 2).flatten(1))
    order = [*range(1, n), 0]
    permuted = dataclasses.replace(game, sender_utility=game.sender_utility[order])
    got = permuted.ex_ante_utility(policies[:, order])
    assert_close(got, utilities[:, order], 10.0, torch.float64)
    got = permuted.receiver_action(policies[:, order])
    assert torch.equal(got, grid.permute(0, *(1 + k for k in order)).flatten(1))


@pytest.mark.parametrize("reach", [0.001, 0.05, 0.25, 1.0])
@pytest.mark.parametrize("tie_break", ["first", "senders"])
@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_deviation_is_worth_what_the_changed_profile_is(
    sizes: Sizes, case: Any, tie_break: str, reach: float
) -> None:
    game, policies = case(sizes, tie_break, count=3)
    own = game.ex_ante_utility(policies)
    for sender in range(game.n_senders):
        other = case(sizes, count=15, seed=1)[1][:, sender].reshape(3, 5, *policies.shape[2:])
        tried = (1 - reach) * policies[:, sender].unsqueeze(1) + reach * other
        changed = policies.unsqueeze(1).repeat(1, 5, 1, 1, 1)
        changed[:, :, sender] = tried
        expected = game.ex_ante_utility(changed.flatten(0, 1))[:, sender].reshape(3, 5)
        scale = game.sender_utility.abs().max().item()
        gains = expected - own[:, sender].unsqueeze(1)
        assert_close(game.deviation_utility(policies, sender, tried), expected, scale, DTYPES[0])
        assert_close(game.deviation_gain(policies, sender, tried), gains, scale, DTYPES[0])
        single = game.deviation_gain(policies[2], sender, tried[2])
        assert_close(single, gains[2], scale, DTYPES[0])


@pytest.mark.parametrize("case", [random_case, coarse_case])
@pytest.mark.parametrize("sizes", SIZES)
def test_decided_means_that_no_column_of_the_box_is_followed_by_another_action(
    sizes: Sizes, case: Any
) -> None:
    game, policies = case(sizes, "senders", count=3)
    prior = game.prior.unsqueeze(0)
    right = simulation.others_weights(prior, policies[None, :, 1:])[0]  # (B, R, S)
    low, high = (policies[:, 0] - 0.1).clamp_min(0), (policies[:, 0] + 0.1).clamp_max(1)
    receiver = game.stacked().receiver(policies)
    each = receiver.of(torch.zeros(3, dtype=torch.int64))
    action, decided = each.decided(low, high, right)  # (B, M, R)
    for corner in (torch.rand(low.shape, generator=generator(i)).round() for i in range(60)):
        column = (low + corner * (high - low)).mT.unsqueeze(0)  # (1, B, M, S)
        seen = receiver.react(column, right.unsqueeze(0), simulation.Scratch(right))[0]
        assert ((seen == action) | (seen < 0) | ~decided).all()


def test_what_is_decided_in_a_game_does_not_depend_on_other_games() -> None:
    game, policies = random_case((2, 3, 3, 3), count=4)
    scales = torch.tensor([1e9, 1.0, 1e-9, 1.0], dtype=torch.float64)[:, None, None]
    prior, v, u = (table.expand(4, *table.shape) for table in tables(game))
    v = torch.stack([v[0], v[1], v[2].flip(-1), v[3].flip(-1)]) * scales
    right = simulation.others_weights(prior, policies[:, None, 1:])[:, 0]  # (B, R, S)
    low, high = (policies[:, 0] - 0.02).clamp_min(0), (policies[:, 0] + 0.02).clamp_max(1)
    order = torch.tensor([1, 0, 3, 2, 1, 3])
    units = torch.rand(4, 1, dtype=torch.float64, generator=generator(1)) * scales[:, :, 0]
    stack = simulation.Receiver(v, u, "first", units).of(order)
    boxes = (low[order], high[order], right[order])
    for k, g in enumerate(order.tolist()):
        alone = simulation.Receiver(v[g : g + 1], u[g : g + 1], "first", units[g : g + 1])
        for got, expected in zip(
            stack.decided(*boxes), alone.decided(*(t[k : k + 1] for t in boxes)), strict=True
        ):
            assert torch.equal(got[k], expected[0])


def test_most_joint_signals_are_decided_nearby_and_few_far_away() -> None:
    game, policies = random_case((2, 4, 4, 4), count=50)
    prior = game.prior.unsqueeze(0)
    receiver = game.stacked().receiver(policies).of(torch.zeros(50, dtype=torch.int64))
    right = simulation.others_weights(prior, policies[None, :, 1:])[0]
    low, high = policies[:, 0] - 0.001, policies[:, 0] + 0.001
    assert receiver.decided(low, high, right)[1].double().mean() > 0.95
    anything = torch.zeros_like(low), torch.ones_like(low)
    assert receiver.decided(*anything, right)[1].double().mean() < 0.1


def all_results(game: PersuasionGame, policies: Tensor, tried: Tensor) -> list[Tensor]:
    results = [getattr(game, name)(policies) for name in METHODS[:3]]
    deviations = [getattr(game, f"deviation_{what}")(policies, 0, tried) for what in WORTH]
    return [*results, *game.posteriors(policies), *deviations]


@pytest.mark.parametrize("budget", [1, 7, 60, 1000])
@pytest.mark.parametrize("sizes", [(1, 3, 2, 2), (3, 2, 3, 4), (4, 3, 2, 3)])
def test_chunk_size_changes_nothing(
    sizes: Sizes, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    game, policies = coarse_case(sizes, "senders", count=5)
    other, _ = coarse_case(sizes, "senders", seed=1)
    tried = policies[:, :1].repeat(1, 6, 1, 1).roll(1, -1)
    pair = stack([game, other]), policies.expand(2, -1, -1, -1, -1)
    results = [*all_results(game, policies, tried), pair[0].ex_ante_utility(pair[1])]
    monkeypatch.setitem(SCORE_BYTES, "cpu", 8 * budget)
    again = [*all_results(game, policies, tried), pair[0].ex_ante_utility(pair[1])]
    for got, expected in zip(again, results, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)  # integers: equal


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_float32_products_keep_their_digits(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game, policies = random_case((3, 2, 3, 4))
    seen: list[str] = []

    def watched(*args: Any) -> Any:
        seen.append(torch.backends.cuda.matmul.fp32_precision)
        seen.append(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]
        return expected(*args)

    expected = simulation._expected
    monkeypatch.setattr(simulation, "_expected", watched)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        game.ex_ante_utility(policies.float())
        game.receiver_action(policies.float())
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen
    assert not {"tf32", "bf16"} & set(seen)


@pytest.mark.parametrize("case", [random_case, coarse_case])
def test_stack_equals_each_game_alone(case: Any) -> None:
    pairs = [case((3, 2, 3, 4), "senders", seed=seed) for seed in range(3)]
    games = stack([game for game, _ in pairs])
    policies = torch.stack([policies for _, policies in pairs])  # (G, B, N, S, M)
    utilities, outcomes = games.ex_ante_utility(policies), games.outcome_distribution(policies)
    assert len(games) == 3
    for g, (game, own) in enumerate(pairs):
        assert_close(utilities[g], game.ex_ante_utility(own), 10.0, torch.float64)
        # state and action: their distribution has the prior as marginal
        assert_close(outcomes[g].sum(-1), game.prior.expand(4, -1), 1.0, torch.float64)


@pytest.mark.parametrize(
    ("batch", "n_deviations"), [(0, 3), (2, 0), (0, 0)], ids=["B=0", "D=0", "both"]
)
@pytest.mark.parametrize("case", [random_case, coarse_case])
def test_empty_batches(case: Any, batch: int, n_deviations: int) -> None:
    game, policies = case((3, 2, 4, 5), count=batch)
    tried = policies.new_full((batch, n_deviations, 4, 2), 0.5)
    shapes = [tuple(result.shape) for result in all_results(game, policies, tried)]
    k = 2**3
    assert shapes == [
        (batch, 3), (batch,), (batch, k), (batch, k), (batch, k, 4),
        (batch, n_deviations), (batch, n_deviations),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_profile_needs_no_batch_axis_and_dtype_is_that_of_policies(dtype: torch.dtype) -> None:
    game, policies = random_case((3, 2, 4, 5))
    policies = policies.to(dtype)
    tried = policies[:, 1:]
    singles = all_results(game, policies[1], tried[1])
    batched = all_results(game, policies, tried)
    for i, (single, batch) in enumerate(zip(singles, batched, strict=True)):
        assert single.dtype == (torch.int64 if i == 2 else dtype)
        # Gains nearby are summed in an order of their company's, so up to rounding.
        accuracy = dtype if i == len(singles) - 1 else torch.float64
        assert_close(single.to(accuracy), batch[1].to(accuracy), 10.0, accuracy)


def test_gradients_survive_later_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    game, policies = coarse_case((3, 2, 3, 4), "senders", count=6)
    policies.requires_grad_()
    (expected,) = torch.autograd.grad(game.ex_ante_utility(policies).sum(), policies)
    monkeypatch.setitem(SCORE_BYTES, "cpu", 8 * 60)
    utilities = game.ex_ante_utility(policies)
    game.ex_ante_utility(policies.detach().roll(1, 0))
    (gradient,) = torch.autograd.grad(utilities.sum(), policies)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("tie_break", ["first", "senders"])
def test_gradient_at_impossible_signals_and_ties_is_that_of_one_action(tie_break: str) -> None:
    game, coarse = coarse_case((3, 2, 3, 4), tie_break, count=6)
    pure = torch.nn.functional.one_hot(coarse.argmax(-1), 2).double()
    clear = random_case((3, 2, 3, 4), tie_break)[0]  # ties nowhere but at impossible signals
    for own, profiles in ((game, coarse), (clear, pure)):
        policies = profiles.requires_grad_()
        action = own.receiver_action(policies).clamp(min=0)  # (B, K): the lowest if impossible
        joint = simulation.joint_weights(policies) * own.prior  # (B, K, S)
        by_hand = torch.einsum("bks,nsbk->bn", joint, own.sender_utility[:, :, action])
        (expected,) = torch.autograd.grad(by_hand.sum(), policies)
        for batch in (policies, *policies.split(1)):  # whatever the company
            (gradient,) = torch.autograd.grad(own.ex_ante_utility(batch).sum(), policies)
            seen = gradient.flatten(1).any(1)
            torch.testing.assert_close(gradient[seen], expected[seen], rtol=0, atol=1e-12)
            assert seen.sum() == len(batch)


@pytest.mark.parametrize("sizes", [(1, 2, 3, 3), (2, 3, 4, 5), (3, 2, 3, 4)])
def test_gradient_equals_finite_differences_inside_a_region(sizes: Sizes) -> None:
    game, policies = random_case(sizes, count=3)
    toward = game.sample_policies(3, generator(7)) - policies  # rows sum to 0
    step = 1e-5
    high, low = policies + step * toward, policies - step * toward
    assert torch.equal(game.receiver_action(high), game.receiver_action(low))
    differences = (game.ex_ante_utility(high) - game.ex_ante_utility(low)) / (2 * step)  # (B, N)
    policies.requires_grad_()
    for sender in range(game.n_senders):
        utility = game.ex_ante_utility(policies)[:, sender]
        (gradient,) = torch.autograd.grad(utility.sum(), policies)
        slope = (gradient * toward).sum((1, 2, 3))
        torch.testing.assert_close(slope, differences[:, sender], rtol=0, atol=1e-7)
        own = policies[:, sender : sender + 1].detach().requires_grad_()
        deviation = game.deviation_utility(policies.detach(), sender, own).sum()
        (partial,) = torch.autograd.grad(deviation, own)
        torch.testing.assert_close(partial[:, 0], gradient[:, sender], rtol=0, atol=1e-12)
