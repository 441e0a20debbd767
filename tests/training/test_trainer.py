"""The trainer: equal to a plain loop, and safe against interruption."""

import dataclasses
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dnl.surrogates.fitting import fit, fit_many
from dnl.surrogates.registry import PAPER_SURROGATES, make_surrogate
from dnl.training import trainer
from dnl.training.trainer import CHUNK, minimise
from games import PersuasionGame
from games.randomness import stream
from tests.cases.fits import (
    GAMES,
    STEPS,
    TINY,
    Point,
    assert_equal,
    assert_logged,
    moving,
    plain_adam,
    raising_after,
)

NAMES = sorted(PAPER_SURROGATES)
# ---------------------------------------------------------------------------- what is computed


def plain_loop(
    game: PersuasionGame, surrogate: str, sender: int, seed: int
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """One network trained as the documentation says; its parameters, and its loss per epoch."""
    data = game.sample_policies(TINY.samples, stream("data", seed, game.identity, "train"))
    utility = game.ex_ante_utility(data)[:, sender]
    targets = (utility - utility.mean()) / utility.std()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("initialisation", seed, game.identity, sender).initial_seed())
        network = make_surrogate(surrogate, game.shape, TINY.architecture).double()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=False)
    losses = []
    for epoch in range(TINY.epochs):
        order = torch.randperm(
            TINY.samples, generator=stream("order", seed, game.identity, epoch)
        ).tolist()
        total = 0.0
        while order:
            batch, order = order[: TINY.batch_size], order[TINY.batch_size :]
            errors = torch.stack([network(data[i].flatten())[0] - targets[i] for i in batch])
            optimizer.zero_grad()
            errors.square().mean().backward()
            optimizer.step()
            total += errors.detach().square().sum().item()
        losses.append(total / TINY.samples)
    return {name: p.detach() for name, p in network.named_parameters()}, losses


@pytest.fixture(params=[2, CHUNK], ids=["several chunks", "one chunk"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch's three batches are one of Lightning's steps, or a whole and a partial one."""
    monkeypatch.setattr("dnl.training.trainer.CHUNK", request.param)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("surrogate", NAMES)
def test_training_equals_a_plain_loop(surrogate: str, tmp_path: Path) -> None:
    fitted = fit_many(GAMES, surrogate, TINY, seed=3, directory=tmp_path)
    logged = pd.read_csv(tmp_path / "metrics.csv")
    for g, game in enumerate(GAMES):
        parameters = dict(fitted[g].networks.named_parameters())
        for sender in range(2):
            expected, losses = plain_loop(game, surrogate, sender, seed=3)
            for name, value in expected.items():
                got = parameters[f"stacked.{name.replace('.', '/')}"][sender].detach()
                torch.testing.assert_close(got, value, rtol=1e-9, atol=1e-12)
            column = logged[f"game{g}_sender{sender}"].tolist()
            assert column == pytest.approx(losses, rel=1e-6)  # logged in single precision


@pytest.mark.parametrize(
    "change", [{"lr": 0.02}, {"batch_size": 33}, {"epochs": 5}, {"samples": 69}], ids=str
)
def test_every_setting_matters(change: dict[str, float]) -> None:
    changed = dataclasses.replace(TINY, **change)  # type: ignore[arg-type]
    assert (fit(GAMES[0], "relu", changed).mse != fit(GAMES[0], "relu", TINY).mse).all()


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    large, exact = (dataclasses.replace(TINY, batch_size=size) for size in (1000, 70))
    assert_equal(fit(GAMES[0], "relu", large), fit(GAMES[0], "relu", exact))


def test_global_randomness_is_neither_used_nor_touched() -> None:
    fits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        fits.append(fit(GAMES[0], "delu", TINY))
        assert torch.equal(torch.get_rng_state(), before)
    assert_equal(*fits)
    assert not torch.equal(fits[0].mse, fit(GAMES[0], "delu", TINY, seed=1).mse)


# ---------------------------------------------------------------------------- reports and silence


def test_every_epoch_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    fit_many(GAMES, "relu", TINY, on_epoch=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("in_folder", [True, False])
def test_nothing_is_printed_unless_asked(
    in_folder: bool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Warnings are errors in these tests, so that none is given either.
    caplog.set_level(logging.INFO, "lightning.pytorch")
    fit(GAMES[0], "dnl", TINY, directory=tmp_path if in_folder else None)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    fit(GAMES[0], "dnl", TINY, progress=True)
    out, err = capfd.readouterr()
    assert "Epoch 3" in out + err


def test_nothing_is_written_without_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(GAMES[0], "relu", TINY)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------- folder, interruption


def signalled_after(epoch: int) -> Callable[[int, int], None]:
    def on_epoch(done: int, total: int) -> None:
        if done == epoch:
            signal.raise_signal(signal.SIGINT)

    return on_epoch


def test_a_folder_holds_metrics_and_a_checkpoint(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    first = fit_many(GAMES, "relu", TINY, directory=directory)
    assert (directory / "last.ckpt").stat().st_size > 0
    assert_logged(directory)
    for one, other in zip(first, fit_many(GAMES, "relu", TINY), strict=True):
        assert_equal(one, other)


def test_a_finished_fit_is_not_repeated_and_keeps_its_metrics(tmp_path: Path) -> None:
    first = fit_many(GAMES, "relu", TINY, directory=tmp_path)
    seen: list[int] = []
    again = fit_many(
        GAMES, "relu", TINY, directory=str(tmp_path), on_epoch=lambda done, _: seen.append(done)
    )
    assert seen == []
    for one, other in zip(first, again, strict=True):
        assert_equal(one, other)
    assert_logged(tmp_path)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("surrogate", NAMES)
@pytest.mark.parametrize(
    "interruption",
    [raising_after(2, KeyboardInterrupt()), signalled_after(2)],
    ids=["exception", "signal"],
)
def test_an_interrupted_fit_goes_on_where_it_was(
    interruption: Callable[[int, int], None],
    surrogate: str,
    tmp_path: Path,
    handler: Callable[..., None],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit_many(GAMES, surrogate, TINY, directory=tmp_path, on_epoch=interruption)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "last.ckpt").exists()
    seen: list[int] = []
    resumed = fit_many(
        GAMES, surrogate, TINY, directory=tmp_path, on_epoch=lambda done, _: seen.append(done)
    )
    for one, other in zip(resumed, fit_many(GAMES, surrogate, TINY), strict=True):
        assert_equal(one, other)
    assert seen == [3, 4]
    assert_logged(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise OSError("disk full")

    def report(done: int, total: int) -> None:
        if done == 2:
            monkeypatch.setattr(os, call, fails)

    with pytest.raises(OSError, match="disk full"):
        fit_many(GAMES, "relu", TINY, directory=tmp_path, on_epoch=report)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.json", "last.ckpt", "metrics.csv"]
    seen: list[int] = []
    resumed = fit_many(
        GAMES, "relu", TINY, directory=tmp_path, on_epoch=lambda done, _: seen.append(done)
    )
    for one, other in zip(resumed, fit_many(GAMES, "relu", TINY), strict=True):
        assert_equal(one, other)
    assert seen == [3, 4]
    assert_logged(tmp_path)


def test_interruption_without_a_folder(handler: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit_many(GAMES, "relu", TINY, on_epoch=signalled_after(1))
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(KeyboardInterrupt):  # a second one is not swallowed either
        fit_many(GAMES, "relu", TINY, on_epoch=signalled_after(1))


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3)], ids=repr)
def test_other_exits_pass_as_they_are(error: BaseException, handler: Callable[..., None]) -> None:
    # A KeyboardInterrupt in its place would end the tests.
    with pytest.raises((type(error), KeyboardInterrupt)) as caught:
        fit_many(GAMES, "relu", TINY, on_epoch=raising_after(1, error))
    assert caught.value is error
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("change", ["games", "order", "surrogate", "seed", "config"])
def test_a_folder_of_another_fit_is_refused(change: str, tmp_path: Path) -> None:
    directory = tmp_path / "taken"
    fit_many(GAMES, "relu", TINY, directory=directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    other = {
        "games": (GAMES[:1], "relu", TINY, 0),
        "order": (GAMES[::-1], "relu", TINY, 0),
        "surrogate": (GAMES, "delu", TINY, 0),
        "seed": (GAMES, "relu", TINY, 1),
        "config": (GAMES, "relu", dataclasses.replace(TINY, lr=0.02), 0),
    }[change]
    with pytest.raises(ValueError, match=r"directory holds another fit, got '.*taken'"):
        fit_many(*other, directory=directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_the_device_does_not_make_another_fit(tmp_path: Path) -> None:
    fit(GAMES[0], "relu", dataclasses.replace(TINY, device="cpu"), directory=tmp_path)
    fit(GAMES[0], "relu", dataclasses.replace(TINY, device="auto"), directory=tmp_path)
    with pytest.raises(ValueError, match="directory holds another fit"):
        fit(GAMES[0], "relu", dataclasses.replace(TINY, dtype="float32"), directory=tmp_path)


def test_a_record_that_names_a_retired_option_is_of_the_same_fit(tmp_path: Path) -> None:
    first = fit(GAMES[0], "relu", TINY, directory=tmp_path)
    record = json.loads((tmp_path / "fit.json").read_text())
    record["config"]["architecture"]["upper"] = []
    (tmp_path / "fit.json").write_text(json.dumps(record))
    assert torch.equal(fit(GAMES[0], "relu", TINY, directory=tmp_path).mse, first.mse)
    (tmp_path / "fit.json").write_text("{")
    with pytest.raises(ValueError, match="directory holds another fit"):
        fit(GAMES[0], "relu", TINY, directory=tmp_path)


# ---------------------------------------------------------------------------- any loss


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_minimise_is_adam(dtype: torch.dtype) -> None:
    point, expected = Point(dtype), Point(dtype)
    minimise(point, moving, STEPS, lr=0.1, rate=lambda progress: 1 - progress)
    plain_adam(expected, moving, STEPS, lambda progress: 1 - progress, fused=False)
    assert point.at.dtype == dtype
    torch.testing.assert_close(point.at, expected.at)
    assert point.fixed.tolist() == [1, 1]


def test_forgotten_traces_move_no_weight_and_leave_no_subnormal_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def waning(module: nn.Module, step: int) -> Tensor:
        assert isinstance(module, Point)
        used = torch.tensor([1.0, float(step < 10)])  # from then on one gradient stays zero
        return (used * (module.at - torch.sin(torch.tensor(step / 7.0)))).square().sum()

    optimisers: list[torch.optim.Adam] = []
    configure = trainer._ByHand.configure_optimizers

    def spied(self: trainer._ByHand) -> torch.optim.Optimizer:
        configure(self)
        optimisers.append(self.adam)
        return self.adam

    monkeypatch.setattr(trainer._ByHand, "configure_optimizers", spied)
    point, expected = Point(torch.float32), Point(torch.float32)
    least = torch.finfo(torch.float32).tiny
    subnormal: list[int] = []

    def watched(module: nn.Module, step: int) -> Tensor:
        for state in optimisers[0].state.values():
            mean = state["exp_avg"].abs()
            subnormal.extend([step] * int(((mean > 0) & (mean < least)).sum()))
        return waning(module, step)

    minimise(point, watched, 40 * CHUNK, lr=0.1)
    assert not subnormal
    adam = plain_adam(expected, waning, 40 * CHUNK)
    remembered = adam.state[expected.at]["exp_avg"]
    assert 0 < abs(remembered[1].item()) < least  # the plain loop is stuck there
    (state,) = optimisers[0].state.values()
    assert state["exp_avg"].tolist() == [remembered[0].item(), 0.0]
    assert torch.equal(state["exp_avg_sq"], adam.state[expected.at]["exp_avg_sq"])
    assert torch.equal(point.at, expected.at)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_forgets_nothing_that_matters(dtype: torch.dtype) -> None:
    point, expected = Point(dtype), Point(dtype)
    minimise(point, moving, 3 * CHUNK, lr=0.1)
    plain_adam(expected, moving, 3 * CHUNK)
    assert torch.equal(point.at, expected.at)


def test_a_loss_that_is_a_module_is_not_trained() -> None:
    class Distance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.target = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, module: Point, step: int) -> Tensor:
            return (module.at - self.target).square().sum()

    loss, point = Distance(), Point()
    minimise(point, loss, STEPS, lr=0.1)
    assert loss.target.tolist() == [0, 0]
    assert point.at.detach().norm() < 0.5


def test_minimise_takes_no_step_where_none_is_asked_for() -> None:
    point = Point()
    minimise(point, moving, 0, lr=0.1)
    assert point.at.tolist() == [1, -2]


def test_minimise_is_quiet_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    minimise(Point(), moving, STEPS, lr=0.1)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), before)


def test_minimise_is_interruptible(handler: Callable[..., None]) -> None:
    point = Point()
    seen: list[int] = []

    def loss(module: nn.Module, step: int) -> Tensor:
        seen.append(step)
        if step == CHUNK + 1:
            signal.raise_signal(signal.SIGINT)
        return moving(module, step)

    with pytest.raises(KeyboardInterrupt):
        minimise(point, loss, STEPS, lr=0.1)
    assert seen == list(range(CHUNK + 2))
    assert signal.getsignal(signal.SIGINT) is handler
    whole = Point()  # the steps before it are kept
    minimise(whole, moving, CHUNK + 1, lr=0.1)
    assert torch.equal(point.at, whole.at)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, "steps must be an integer of at least 0, got -1"),
        ({"lr": 0.0}, "lr must be finite and above 0, got 0.0"),
        ({"module": nn.ReLU()}, "module must have parameters to train, got ReLU()"),
        ({"loss": lambda module, step: module.at}, r"loss must be a scalar, got shape \(2,\)"),
    ],
    ids=["steps", "lr", "module", "loss"],
)
def test_minimise_refuses_bad_arguments(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"module": Point(), "loss": moving, "steps": 3, "lr": 0.1}
    with pytest.raises(ValueError, match=message):
        minimise(**(arguments | change))
