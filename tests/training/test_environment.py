"""Fits depend on no environment or log level and leave signals to their handlers."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dnl.surrogates.fitted import FittedSurrogate
from dnl.surrogates.fitting import fit, fit_many
from dnl.training import trainer
from dnl.training.trainer import minimise
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
