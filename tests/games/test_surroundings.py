"""What a process has set for all of torch moves no result of a game."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor

from games import (
    FollowerGame,
    PersuasionGame,
    random_contract_game,
    random_pricing_game,
    random_security_game,
    surroundings,
    synthetic_game,
)
from games.followers.contracts import ContractGame
from games.followers.pricing import PricingGame
from games.followers.security import SecurityGame
from games.randomness import stream
from games.surroundings import contract, full_precision, own_surroundings
from tests.cases.surroundings import SURROUNDINGS, Surroundings, autocast

SINGLE = torch.float32


everywhere = pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS)


def persuasion(tie_break: str = "first") -> PersuasionGame:
    drawn = synthetic_game(3, 2, 3, 4, seed=0).to(dtype=SINGLE)
    return PersuasionGame(
        drawn.prior, drawn.receiver_utility, drawn.sender_utility, drawn.n_signals, tie_break
    )


def contracts() -> FollowerGame:
    game = random_contract_game(3, 4, seed=0)
    tables = (game.outcome_probabilities, game.costs, game.rewards)
    probabilities, costs, rewards = (table.float() for table in tables)
    return ContractGame(probabilities, costs, rewards, game.max_wage)


def security() -> FollowerGame:
    game = random_security_game(4, 2, seed=0)
    defender = game.defender_covered.float(), game.defender_uncovered.float()
    attacker = game.attacker_covered.float(), game.attacker_uncovered.float()
    return SecurityGame(*defender, *attacker, 2)


def pricing() -> FollowerGame:
    game = random_pricing_game(2, 5, seed=0)
    values, weights, costs = (table.float() for table in (game.values, game.weights, game.costs))
    return PricingGame(values, weights, costs, game.max_price)


def profiles(game: FollowerGame) -> Tensor:
    return game.sample_policies(40, stream("data", "surroundings")).float()


def all_that_persuasion_says(game: PersuasionGame) -> list[Tensor]:
    policies = profiles(game)
    deviations = game.sample_policies(6, stream("verifier", 0))[:, 0].float()
    near = torch.lerp(policies[:1, 0], deviations, 0.01)
    estimate = game.estimate_ex_ante_utility(policies, 50, stream("verifier", 1))
    return [
        policies,
        game.payoff_range,
        game.no_information(),
        game.ex_ante_utility(policies),
        game.receiver_ex_ante_utility(policies),
        *game.posteriors(policies),
        game.deviation_utility(policies[0], 0, near),
        game.deviation_gain(policies[0], 0, near),
        estimate.utility,
        estimate.half_width,
    ]


def assert_same(results: list[Tensor], expected: list[Tensor]) -> None:
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == right.dtype
        assert torch.equal(result, right)


@everywhere
@pytest.mark.parametrize("tie_break", ["first", "senders"])
def test_persuasion_games_are_unmoved(around: Surroundings, tie_break: str) -> None:
    expected = all_that_persuasion_says(persuasion(tie_break))
    game = persuasion(tie_break)  # it remembers nothing of the first
    with around():
        results = all_that_persuasion_says(game)
    assert_same(results, expected)


@pytest.mark.parametrize("tie_break", ["first", "senders"])
def test_receivers_are_unmoved_by_autocast(tie_break: str) -> None:
    game = persuasion(tie_break)
    expected = game.receiver_action(profiles(game))
    with autocast():
        assert torch.equal(game.receiver_action(profiles(game)), expected)


@everywhere
@pytest.mark.parametrize("make", [contracts, security, pricing])
def test_other_games_are_unmoved(around: Surroundings, make: Callable[[], Any]) -> None:
    def all_that_it_says(game: Any) -> list[Tensor]:
        policies = profiles(game)
        action = game.follower_action(policies)
        return [game.payoff_range, policies, game.ex_ante_utility(policies), action]

    expected = all_that_it_says(make())
    game = make()
    with around():
        results = all_that_it_says(game)
    assert_same(results, expected)


# ---------------------------------------------------------------------------- gradients


def utilities(game: Any, policies: Tensor) -> Tensor:
    total: Tensor = game.ex_ante_utility(policies).sum()
    return total


def receiver(game: Any, policies: Tensor) -> Tensor:
    total: Tensor = game.receiver_ex_ante_utility(policies).sum()
    return total


def gains(game: Any, policies: Tensor) -> Tensor:
    near = torch.lerp(policies[1:, 0], policies[:-1, 0].detach(), 0.9)
    total: Tensor = game.deviation_gain(policies[0], 0, near).square().sum()
    return total


@pytest.mark.parametrize("inside", ["both", "backward", "forward"])
@pytest.mark.parametrize(
    ("make", "loss"),
    [
        *((persuasion, loss) for loss in (utilities, receiver, gains)),
        *((make, utilities) for make in (contracts, security, pricing)),
    ],
    ids=lambda value: value.__name__,
)
def test_gradients_are_unmoved_by_autocast(
    make: Callable[[], Any], loss: Callable[[Any, Tensor], Tensor], inside: str
) -> None:
    game = make()

    def gradient(forward: bool, backward: bool) -> Tensor:
        policies = profiles(game).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=forward):
            value = loss(game, policies)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=backward):
            (found,) = torch.autograd.grad(value, policies)
        assert found.dtype == SINGLE
        assert found.any()
        return found

    expected = gradient(False, False)
    assert torch.equal(gradient(inside != "backward", inside != "forward"), expected)


def test_gradients_in_single_precision_are_those_in_double() -> None:
    game = persuasion()
    for loss in (utilities, receiver, gains):
        found: list[Tensor] = []
        for dtype in (torch.float32, torch.float64):
            policies = profiles(game).to(dtype).requires_grad_()
            found += torch.autograd.grad(loss(game, policies), policies)
        torch.testing.assert_close(found[0].double(), found[1], rtol=1e-4, atol=1e-5)


def test_contractions_can_be_differentiated_twice_and_mapped() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, c = (torch.rand(size, generator=generator) for size in ((4, 3, 2), (4, 3), (4, 2)))
    equation = "bij,bi,bj->b"

    def mine(*operands: Tensor) -> Tensor:
        return contract(equation, *operands).square().sum()

    def torchs(*operands: Tensor) -> Tensor:
        return torch.einsum(equation, *operands).square().sum()

    for place in range(3):
        found, expected = (
            torch.autograd.functional.hessian(function, (a, b, c))[place]
            for function in (mine, torchs)
        )
        torch.testing.assert_close(found, expected)
    mapped = torch.func.vmap(torch.func.grad(lambda x: contract("ij,i,j->", x, b[0], c[0])))(a)
    torch.testing.assert_close(mapped, torch.outer(b[0], c[0]).expand(4, -1, -1))


def test_backward_passes_keep_their_digits_where_products_may_be_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    einsum = torch.einsum

    def watched(*args: Any) -> Tensor:
        seen.append(torch.backends.cuda.matmul.fp32_precision)
        seen.append(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]
        return einsum(*args)

    game, before = persuasion(), torch.get_float32_matmul_precision()
    policies = profiles(game).requires_grad_()
    try:
        torch.set_float32_matmul_precision("medium")
        value = utilities(game, policies)
        monkeypatch.setattr(torch, "einsum", watched)
        value.backward()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen
    assert not {"tf32", "bf16"} & set(seen)


@pytest.mark.parametrize("first", [utilities, receiver], ids=["utilities", "receiver"])
def test_what_is_made_and_first_used_in_inference_mode_has_gradients_later(
    first: Callable[[Any, Tensor], Tensor],
) -> None:
    outside = persuasion()
    with torch.inference_mode():
        game = persuasion()
        utilities(game, profiles(game))
        first(outside, profiles(outside))
    found: list[Tensor] = []
    for one in (game, outside, persuasion()):
        policies = profiles(persuasion()).requires_grad_()
        found += torch.autograd.grad(utilities(one, policies), policies)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[2])


# ---------------------------------------------------------------------------- the settings


def settings() -> list[object]:
    return [
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_float32_matmul_precision(),
    ]


@everywhere
def test_settings_are_put_back_and_new_tensors_can_have_gradients(around: Surroundings) -> None:
    usual = settings()

    @own_surroundings()
    def in_own_surroundings() -> None:
        assert settings() == usual
        x = torch.rand(3, requires_grad=True)
        (x @ x).backward()
        raise KeyError

    with around():
        before = settings()
        with pytest.raises(KeyError):
            in_own_surroundings()
        assert settings() == before
    assert settings() == usual


def test_threads_that_overlap_share_a_setting() -> None:
    # The one that comes first leaves first, while the other still needs the setting.
    first_is_in, first_is_out, second_is_in = Barrier(2), Barrier(2), Barrier(2)
    seen: list[str] = []

    def first() -> None:
        with full_precision():
            first_is_in.wait(60)
            second_is_in.wait(60)
        first_is_out.wait(60)

    def second() -> None:
        first_is_in.wait(60)
        with full_precision():
            second_is_in.wait(60)
            first_is_out.wait(60)
            seen.append(torch.backends.cuda.matmul.fp32_precision)

    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(first), pool.submit(second)]:
                done.result()
        assert seen == ["ieee"]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_autocast_is_put_aside_on_every_device_that_has_it() -> None:
    with pytest.MonkeyPatch.context() as patch:
        on = {"cuda": True, "cpu": False}
        patch.setattr(torch, "is_autocast_enabled", lambda device: on.get(device, False))
        patch.setattr(torch, "set_autocast_enabled", on.__setitem__)
        with surroundings.without_autocast():
            assert on == {"cuda": False, "cpu": False}
        assert on == {"cuda": True, "cpu": False}
