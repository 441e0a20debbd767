"""What runs on a GPU, on a device that is not there: in the right place, the same numbers."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import dnl
from dnl.benchmark.evaluation import Stages, baselines, evaluate
from dnl.equilibria import sampled_deviations
from dnl.runtime import devices
from dnl.surrogates.registry import SURROGATES
from dnl.training import quiet_lightning
from dnl.training import trainer as training
from experiments.shared import speed_of_simulation, speed_of_training
from games import (
    REGISTRY,
    FollowerGame,
    PersuasionGame,
    random_contract_game,
    random_pricing_game,
    random_security_game,
    stack,
    synthetic_game,
)
from games.randomness import stream
from tests.cases.elsewhere import DEVICE, elsewhere

CPU = torch.device("cpu")
GAMES = {
    "2 first": synthetic_game(2, 3, 3, 3, 0, "contested"),
    "3 first": synthetic_game(3, 2, 4, 2, 1, "contested"),
    "4 senders": replace(synthetic_game(4, 2, 3, 3, 0, "contested"), tie_break="senders"),
    "ties": REGISTRY["prosecutor"].make(0),
}


class _There(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        assert device == DEVICE


class _Trainer(pl.Trainer):
    def __init__(self, accelerator: str, devices: Any, **options: Any) -> None:
        super().__init__(**(options | {"strategy": SingleDeviceStrategy(DEVICE, _There())}))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The library takes the device for a GPU of this machine, and Lightning trains there."""
    pick = devices.pick_device

    def pick_any(name: str = "auto") -> torch.device:
        return DEVICE if name == "elsewhere" else pick(name)

    for module in list(sys.modules.values()):
        if getattr(module, "pick_device", None) is pick:
            monkeypatch.setattr(module, "pick_device", pick_any)
    original = quiet_lightning.isolated_trainer

    def trainer(device: torch.device, dtype: torch.dtype, **options: Any) -> pl.Trainer:
        with monkeypatch.context() as patch:
            if device == DEVICE:
                patch.setattr(pl, "Trainer", _Trainer)
            return original(device, dtype, **options)

    monkeypatch.setattr("dnl.training.trainer.isolated_trainer", trainer)
    with elsewhere() as device:
        yield device


# -------------------------------------------------------------------------------- the device itself


def test_it_refuses_what_a_gpu_refuses() -> None:
    here = torch.arange(6.0).view(2, 3)
    with elsewhere() as device:
        sent = here.to(device)
        assert sent.device == device
        assert (sent * 2 + torch.tensor(1.0)).tolist() == (here * 2 + 1).tolist()
        assert sent[torch.tensor([1])].tolist() == here[[1]].tolist()
        assert sent[:, [2, 0]].cpu().equal(here[:, [2, 0]])
        refused: list[Callable[[], object]] = [
            lambda: sent + here,
            lambda: here.mT @ sent,
            lambda: torch.cat([here, sent]),
            lambda: sent.gather(1, torch.tensor([[0], [1]])),
            lambda: sent.add_(here),
            lambda: torch.where(here > 1, sent, 0.0),
            lambda: torch.arange(3)[sent[0].long()],
            lambda: sent.long().index_put((torch.tensor([0]),), torch.arange(3)),
            lambda: torch.stack([sent[0, 0], torch.tensor(1.0)]),
            lambda: torch.zeros(()).add_(sent[0, 0]),
        ]
        for operation in refused:
            with pytest.raises(RuntimeError, match=r"tensors of shapes .* are here, others elsewh"):
                operation()
        with pytest.raises(RuntimeError, match="a generator here draws for a tensor elsewhere"):
            torch.rand(3, device=device, generator=torch.Generator())
        with pytest.raises(RuntimeError, match="numpy"):
            sent.numpy()
        assert sent.tolist() == here.tolist()  # nothing was added


# --------------------------------------------------------------------------------------- what runs


def assert_same(found: Any, expected: Any) -> None:
    """Equal to the last bit, and elsewhere as far as they are tensors."""
    pairs = list(zip(tree_leaves(found), tree_leaves(expected), strict=True))
    assert pairs
    for one, other in pairs:
        if isinstance(other, Tensor):
            assert one.device == DEVICE
            torch.testing.assert_close(one.detach().cpu(), other.detach(), rtol=0, atol=0)
        else:
            assert one == other


def gradient(game: PersuasionGame, policies: Tensor) -> Tensor:
    at = policies.detach().requires_grad_()
    (found,) = torch.autograd.grad(game.ex_ante_utility(at).sum(), [at])
    return found


def sampled(game: PersuasionGame, policies: Tensor) -> Any:
    found = dnl.verify(game, policies, method="sampled", deviations=40)
    return found.gain, found.relative_gain, found.witness, found.verdict


def exact(game: PersuasionGame, policies: Tensor) -> Any:
    found = dnl.verify(game, policies[:2])
    return found.gain, found.witness, found.verdict


def verdicts(game: PersuasionGame, policies: Tensor) -> Any:
    together = policies.unsqueeze(0).expand(2, -1, -1, -1, -1)
    return sampled_deviations.unrefuted(stack([game, game]), together, 0.02, 0, 30)


def estimate(game: PersuasionGame, policies: Tensor) -> Any:
    found = game.estimate_ex_ante_utility(policies[0], 100, stream("draws", 0))
    return found.utility, found.half_width


def ascent(game: PersuasionGame, policies: Tensor) -> Any:
    return dnl.extragradient(
        game.ex_ante_utility, policies, dnl.ExtragradientConfig(iterations=3)
    ).policies


USES: dict[str, Callable[[PersuasionGame, Tensor], Any]] = {
    "utility": lambda game, policies: game.ex_ante_utility(policies),
    "single precision": lambda game, policies: game.ex_ante_utility(policies.float()),
    "receiver's utility": lambda game, policies: game.receiver_ex_ante_utility(policies),
    "action": lambda game, policies: game.receiver_action(policies),
    "posteriors": lambda game, policies: game.posteriors(policies),
    "best response": lambda game, p: dnl.best_response(game, p[0], 0, radius=0.01).policy,
    **{use.__name__: use for use in (gradient, sampled, exact, verdicts, estimate, ascent)},
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", GAMES)
def test_games_follow_their_policies(name: str, use: str) -> None:
    game = GAMES[name]
    policies = game.sample_policies(5, torch.Generator().manual_seed(0))
    expected = USES[use](game, policies)
    with elsewhere() as device:
        assert_same(USES[use](game, policies.to(device)), expected)


@pytest.mark.whole_run
@pytest.mark.parametrize("surrogate", sorted({*SURROGATES} - {"follower-dnl"}))
def test_rows_are_the_same(surrogate: str, there: torch.device) -> None:
    games = [synthetic_game(3, 2, 2, 2, seed, "contested") for seed in range(2)]

    def rows(device: str) -> list[dict[str, Any]]:
        stages = Stages(
            fit=dnl.FitConfig(samples=150, test_samples=50, epochs=2, device=device),
            solver=dnl.ExtragradientConfig(iterations=3),
            starts=4,
            deviations=3,
            finish=int(surrogate == "relu"),
        )
        found = evaluate(baselines(games, stages), surrogate, stages)
        return [
            {name: value for name, value in row.items() if not name.endswith("seconds")}
            for row in found
        ]

    trained = rows("elsewhere")
    assert all(row["mse"] > 0 for row in trained)
    assert repr(trained) == repr(rows("cpu"))


FOLLOWERS: dict[str, FollowerGame] = {
    "contract": random_contract_game(4, 3, seed=1),
    "security": random_security_game(5, 3, seed=1),
    "pricing": random_pricing_game(2, 5, seed=1),
}


@pytest.mark.parametrize("name", FOLLOWERS)
def test_other_games_follow_their_policies_and_are_fitted(name: str, there: torch.device) -> None:
    game = FOLLOWERS[name]
    policies = game.sample_policies(20, torch.Generator().manual_seed(1))
    assert_same(game.ex_ante_utility(policies.to(there)), game.ex_ante_utility(policies))
    config = dnl.FitConfig(samples=150, test_samples=50, epochs=2)
    mse = [
        dnl.fit(game, "follower-dnl", replace(config, device=device)).mse
        for device in ("elsewhere", "cpu")
    ]
    assert torch.equal(*mse)


def test_any_loss_is_minimised_there(there: torch.device) -> None:
    moved, expected = (nn.Linear(2, 1) for _ in range(2))
    expected.load_state_dict(moved.state_dict())
    points = {device: torch.tensor([1.0, 2.0]).to(device) for device in (there, CPU)}

    def loss(module: nn.Module, step: int) -> Tensor:
        assert isinstance(module, nn.Linear)
        return module(points[module.weight.device]).square().sum()

    training.minimise(moved, loss, 40, 0.1, device=there)
    training.minimise(expected, loss, 40, 0.1)
    assert torch.equal(moved.weight, expected.weight)
    assert type(moved.weight.data) is Tensor


@pytest.mark.whole_run
def test_speed_is_measured_there(there: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    for table, value in (
        (speed_of_training.PRODUCT, 8),
        (speed_of_simulation.CHUNKS, (2, 100)),
        (speed_of_simulation.PRODUCT, 8),
    ):
        monkeypatch.setitem(table, DEVICE.type, value)
    rows = speed_of_training.dnl_training((2, 2, 2, 2), (4, 8), 2, there)
    rows += speed_of_simulation.simulation_rate((2, 2, 2, 2), 8, 1, there)
    rows += speed_of_simulation.sampled_verification((2, 2, 2, 2), 2, 3, there)
    assert len(rows) == 4
    assert all(isinstance(row["ratio"], float) and row["ratio"] > 0 for row in rows)
