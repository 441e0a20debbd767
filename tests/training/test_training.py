"""The trainer: equal to a plain loop, quiet, and safe against interruption."""

import dataclasses
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dnl.surrogates.fitted import FitConfig, FittedSurrogate
from dnl.surrogates.fitting import fit, fit_many
from dnl.surrogates.registry import PAPER_SURROGATES, Architecture, make_surrogate
from dnl.training import trainer
from dnl.training.trainer import CHUNK, Loss, minimise
from games import PersuasionGame, synthetic_game
from games.randomness import stream

NAMES = sorted(PAPER_SURROGATES)
# 70 = 2 * 32 + 6: the last batch of every epoch is a partial one.
TINY = FitConfig(
    samples=70,
    test_samples=50,
    epochs=4,
    batch_size=32,
    architecture=Architecture(hidden=(8, 8, 8), hyper=(4, 4), followers=2),
    dtype="float64",
    device="cpu",
)
GAMES = [synthetic_game(2, 2, 3, 3, seed=seed, law="contested") for seed in range(2)]


@pytest.fixture(autouse=True)
def handler() -> Iterator[Callable[..., None]]:
    """A SIGINT handler that can be told from any other; it is there again after each test."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    yield interrupt
    signal.signal(signal.SIGINT, before)


def assert_equal(first: FittedSurrogate, second: FittedSurrogate) -> None:
    """The same networks and errors, to the last bit."""
    pairs = zip(first.networks.parameters(), second.networks.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    for field in ("mean", "scale", "mse", "unexplained"):
        assert torch.equal(getattr(first, field), getattr(second, field))


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


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
def test_lightning_s_log_level_is_restored(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    try:
        logger.setLevel(level)
        fit(GAMES[0], "relu", TINY)
        assert logger.level == level
        for kind in (KeyboardInterrupt, RuntimeError):
            with pytest.raises(kind):
                fit_many(GAMES, "relu", TINY, on_epoch=raising_after(1, kind("stop")))
            assert logger.level == level
    finally:
        logger.setLevel(before)


def test_nothing_is_written_without_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(GAMES[0], "relu", TINY)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------- the environment

# What schedulers and launchers tell their processes, each as the third of four.
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "fit",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NODELIST": "a[1-2]",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "7",
    "RANK": "2",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "NODE_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "a1",
    "MASTER_PORT": "no port",
}
LSF = {
    "LSB_JOBID": "7",
    "LSB_DJOB_RANKFILE": "/nowhere",
    "JSM_NAMESPACE_SIZE": "4",
    "JSM_NAMESPACE_RANK": "2",
    "JSM_NAMESPACE_LOCAL_RANK": "1",
}
OTHERS = {
    "KUBERNETES_PORT": "tcp://a1",
    "PMI_RANK": "2",
    "PMI_SIZE": "4",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "2",
    "XLA_DIST": "1",
    "TPU_WORKER_ID": "2",
    "STANDALONE_PORT": "no port",
}
LIGHTNING = {
    "PL_TRAINER_MAX_STEPS": "1",
    "PL_TRAINER_FAST_DEV_RUN": "True",
    "PL_TRAINER_GRADIENT_CLIP_VAL": "0.1",
    "PL_TRAINER_LIMIT_TRAIN_BATCHES": "0",
    "PL_TRAINER_NUM_NODES": "2",
    "PL_TRAINER_STRATEGY": "ddp",
    "PL_TRAINER_DETECT_ANOMALY": "True",
    "PL_TRAINER_DEFAULT_ROOT_DIR": ".",
    "PL_TRAINER_MAX_TIME": "00:00:00:00",
    "PL_GLOBAL_SEED": "7",
}
ENVIRONMENTS = {
    "slurm": SLURM,
    "one task of slurm": SLURM | {"SLURM_NTASKS": "1"},
    "torchrun": TORCHRUN,
    "without torchrun": {k: v for k, v in TORCHRUN.items() if "ELASTIC" not in k},
    "lsf": LSF,
    "others": OTHERS,
    "lightning": LIGHTNING,
    "all": SLURM | TORCHRUN | LSF | OTHERS | LIGHTNING,
}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another process's environment, by its name."""
    for name, value in ENVIRONMENTS[request.param].items():
        monkeypatch.setenv(name, value)
    return str(request.param)


@pytest.fixture(scope="module")
def at_home() -> list[FittedSurrogate]:
    """Fits of the usual process."""
    return fit_many(GAMES, "relu", TINY)


def test_a_fit_is_one_process_whatever_the_environment_says(
    environment: str,
    at_home: list[FittedSurrogate],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before, seen = dict(os.environ), []

    def report(done: int, total: int) -> None:
        seen.append((done, total))

    fitted = fit_many(GAMES, "relu", TINY, directory=tmp_path / "fit", on_epoch=report)
    for one, other in zip(fitted, at_home, strict=True):
        assert_equal(one, other)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert_logged(tmp_path / "fit")
    assert (tmp_path / "fit" / "last.ckpt").exists()
    point, expected = Point(), Point()
    minimise(point, moving, STEPS, lr=0.1)
    plain_adam(expected, moving, STEPS)
    torch.testing.assert_close(point.at, expected.at)
    assert dict(os.environ) == before
    assert list((tmp_path / "work").iterdir()) == []


def test_no_checkpoint_of_the_working_folder_is_taken_up(
    environment: str,
    at_home: list[FittedSurrogate],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit_many(GAMES, "relu", TINY, seed=1, directory=tmp_path / "other")
    planted = tmp_path / "work" / "hpc_ckpt_1.ckpt"
    planted.parent.mkdir()
    shutil.copy(tmp_path / "other" / "last.ckpt", planted)
    monkeypatch.chdir(planted.parent)
    for one, other in zip(fit_many(GAMES, "relu", TINY), at_home, strict=True):
        assert_equal(one, other)
    assert list(planted.parent.iterdir()) == [planted]


# One process for all that needs one, as loading torch takes seconds. Its children are sent signals;
# then it fits. Each child knows Slurm's variables only, so that Lightning would handle its signals.
PROCESS = """
import json, os, signal, sys
from pathlib import Path
from dnl import FitConfig, fit
from dnl.surrogates import Architecture
from dnl.surrogates.fitting import fit_many
from dnl.training import trainer
from games import synthetic_game

out, drop, cases = Path(sys.argv[1]), sys.argv[2].split(), json.loads(sys.argv[3])

def child(case, number, prepare):
    for stream in (1, 2):
        os.dup2(os.open(out / f"{case}.{stream}", os.O_CREAT | os.O_WRONLY), stream)
    os.chdir(out / "work")
    for name in drop:
        del os.environ[name]
    exec(prepare)

    def report(done, total):
        print(done, flush=True)
        if done == 2:
            os.kill(os.getpid(), getattr(signal, number))

    config = FitConfig(samples=70, test_samples=50, epochs=4, device="cpu")
    fit_many([synthetic_game(2, 2, 3, 3, seed=0)], "relu", config, on_epoch=report)
    print("fitted")
    raise SystemExit

codes = []
for case, (number, prepare) in enumerate(cases):
    if not (pid := os.fork()):
        child(case, number, prepare)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(codes)
sizes = Architecture(hidden=(8, 8, 8), hyper=(4, 4))
config = FitConfig(
    samples=70, test_samples=50, epochs=4, batch_size=32, architecture=sizes, dtype="float64",
    device="cpu",
)
game = synthetic_game(2, 2, 3, 3, seed=0, law="contested")
fitted = fit(game, "relu", config, directory=out / "fit")
print([number.hex() for number in fitted.mse.tolist()])
"""
SIGNALLED = [  # a signal, what is run before the fit, the exit code
    ("SIGTERM", "", -signal.SIGTERM),  # 143 in a shell
    ("SIGUSR1", "", -signal.SIGUSR1),
    ("SIGHUP", "", -signal.SIGHUP),
    ("SIGTERM", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))", 143),
    ("SIGTERM", "signal.signal(signal.SIGTERM, lambda *_: sys.exit('stop'))", 1),
]


def test_a_process_that_begins_in_such_an_environment(tmp_path: Path) -> None:
    """It fits the same, and a signal in a fit ends a process as anywhere else."""
    (tmp_path / "work").mkdir()
    variables = ENVIRONMENTS["all"]
    drop = " ".join(variables.keys() - SLURM.keys())
    cases = json.dumps([case[:2] for case in SIGNALLED])
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(tmp_path), drop, cases],
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(Path(trainer.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    codes, mse = done.stdout.splitlines()
    assert codes == str([int(code) for _, _, code in SIGNALLED])
    alone = fit(GAMES[0], "relu", TINY)
    assert mse == str([number.hex() for number in alone.mse.tolist()])
    assert (tmp_path / "fit" / "last.ckpt").exists()
    for case in range(len(SIGNALLED)):
        assert (tmp_path / f"{case}.1").read_text() == "1\n2\n"
        assert "Traceback" not in (tmp_path / f"{case}.2").read_text()
    assert list((tmp_path / "work").iterdir()) == []


# ---------------------------------------------------------------------------- signals


def handlers() -> dict[int, Any]:
    ours = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return {number: signal.getsignal(number) for number in ours}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT])
@pytest.mark.parametrize("environment", ["slurm", "one task of slurm"], indirect=True)
def test_a_fit_leaves_signals_to_their_handlers(
    environment: str,
    number: signal.Signals,
    at_home: list[FittedSurrogate],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    taken: list[int] = []

    def handle(number: int, frame: object) -> None:
        taken.append(number)

    during: list[dict[int, Any]] = []

    def report(done: int, total: int) -> None:
        during.append(handlers())
        signal.raise_signal(number)

    usual = signal.signal(number, handle)
    try:
        before = handlers()
        fitted = fit_many(GAMES, "relu", TINY, on_epoch=report)
        after = handlers()
    finally:
        signal.signal(number, usual)
    assert taken == [number] * 4
    assert during == [before] * 4
    assert after == before
    for one, other in zip(fitted, at_home, strict=True):
        assert_equal(one, other)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------- folder, interruption


def raising_after(epoch: int, error: BaseException) -> Callable[[int, int], None]:
    def on_epoch(done: int, total: int) -> None:
        if done == epoch:
            raise error

    return on_epoch


def signalled_after(epoch: int) -> Callable[[int, int], None]:
    def on_epoch(done: int, total: int) -> None:
        if done == epoch:
            signal.raise_signal(signal.SIGINT)

    return on_epoch


def assert_logged(directory: Path) -> None:
    """One line per epoch, one column per network."""
    metrics = pd.read_csv(directory / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1, 2, 3]
    columns = [f"game{g}_sender{n}" for g in range(2) for n in range(2)]
    assert set(columns) <= set(metrics.columns)
    assert metrics[columns].notna().all(axis=None)


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


# ---------------------------------------------------------------------------- any loss

STEPS = 2 * CHUNK + 3  # the last chunk is a partial one


class Point(nn.Module):
    """A point, and another that is not trained."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([1.0, -2.0], dtype=dtype))
        self.fixed = nn.Parameter(torch.ones(2, dtype=dtype), requires_grad=False)


def moving(module: nn.Module, step: int) -> Tensor:
    """Squared distance to where a target is at this step."""
    assert isinstance(module, Point)
    return (module.at - module.fixed * step / STEPS).square().sum()


def plain_adam(
    point: Point,
    loss: Loss,
    steps: int,
    rate: Callable[[float], float] = lambda progress: 1.0,
    fused: bool = True,
) -> torch.optim.Adam:
    """Minimise step by step, with a learning rate of 0.1."""
    adam = torch.optim.Adam([point.at], fused=fused)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 0.1 * rate(step / steps)
        adam.zero_grad()
        loss(point, step).backward()
        adam.step()
    return adam


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
