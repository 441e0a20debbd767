"""Run Lightning silently, with normal Ctrl-C, and independent of the process's environment."""

import inspect
import io
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO

from games.files import write_bytes

# Lightning reads variables named PL_TRAINER_... for arguments that are not given.
DEFAULTS = {name: of.default for name, of in inspect.signature(pl.Trainer).parameters.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's start-up notes and two warnings that do not apply here."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Restore the SIGINT handler and KeyboardInterrupt, which Lightning turns into an exit."""
    handler: Any = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def isolated_trainer(device: torch.device, dtype: torch.dtype, **options: Any) -> pl.Trainer:
    """Lightning's trainer on a device, without anything that was not asked for.

    It reads nothing from the process's environment or working folder, writes nothing there and
    handles no signal.
    """
    chosen = {
        "accelerator": "gpu" if device.type == "cuda" else "cpu",
        "devices": [device.index or 0] if device.type == "cuda" else 1,
        "plugins": [_Alone(), _WholeFiles()],
        # No folder: in a SLURM job Lightning would resume from any checkpoint that another fit left
        # in the working folder.
        "default_root_dir": os.devnull,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "precision": "64-true" if dtype == torch.float64 else "32-true",
        "num_sanity_val_steps": 0,
    }
    trainer = pl.Trainer(**(DEFAULTS | chosen | options))
    trainer._signal_connector = _NoSignals()  # type: ignore[assignment]
    return trainer


class _Alone(ClusterEnvironment):
    """A single process, whatever a scheduler or launcher has put into its environment."""

    @property
    def creates_processes_externally(self) -> bool:
        """There are no others to create."""
        return True

    @property
    def main_address(self) -> str:
        """Required by the base class; not used."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Required by the base class; not used."""
        return 0

    @staticmethod
    def detect() -> bool:
        """This environment is chosen, not detected."""
        return False

    def world_size(self) -> int:
        """One process."""
        return 1

    def set_world_size(self, size: int) -> None:
        """The size stays 1."""

    def global_rank(self) -> int:
        """The first and only process."""
        return 0

    def set_global_rank(self, rank: int) -> None:
        """The rank stays 0."""

    def local_rank(self) -> int:
        """The first and only process."""
        return 0

    def node_rank(self) -> int:
        """The first and only process."""
        return 0


class _WholeFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all: a process may end at any time."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """See the class."""
        data = io.BytesIO()
        torch.save(checkpoint, data)
        write_bytes(path, data.getvalue())


class _NoSignals:
    """Replaces Lightning's signal handlers and leaves those of the process alone.

    Lightning's handlers would turn SIGTERM into an exit without a code and, in a SLURM job, SIGUSR1
    into a checkpoint in the working folder and a job that is queued again.
    """

    received_sigterm = False

    def register_signal_handlers(self) -> None:
        """Do nothing."""

    def teardown(self) -> None:
        """Do nothing."""
