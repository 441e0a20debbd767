"""The one trainer: many networks regressed at once through Lightning.

`V` networks of one architecture, as many for each group of data as for any other, are one stacked
module. Their losses are summed and share no parameter, and Adam works entry by entry, so each
network gets the updates that it would get alone. This is the only file that imports Lightning.
"""

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint, TQDMProgressBar
from torch import Tensor

from dnl.layers import FollowerChoice, FollowerNetwork
from dnl.posteriors import PosteriorNetwork
from dnl.recipes import Recipe
from dnl.stacking import NetworkStack
from games.randomness import stream

EpochReport = Callable[[int, int], None]
CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"
JOINT_SIGNALS = 2_048  # more of them are subsampled in every step
REFITTED = 10_000, 2**25  # samples that least squares see at the end: at least, joint signals
REFITTED_BETWEEN = 2_000, 10_000  # and in between
REFITS = 20  # of them at least
JUDGED = 5_000  # samples by which the best of several restarts is chosen


class StackedRegression(pl.LightningModule):
    """Least squares for a stack of networks whose data are resident on the device.

    Args:
        stack: `V = G * R * N` networks of one output, or `G * R` of `N` outputs: `R` restarts.
        inputs: `(G, samples, F)`, shared by the networks of a group.
        targets: `(G, N, samples)`.
        order_seeds: what identifies each group's stream of data order, `G` of them.
        labels: `G * R * N` column names for the log.
        recipe: how to train.
        epochs: passes over the samples in all.
    """

    def __init__(
        self,
        stack: NetworkStack,
        inputs: Tensor,
        targets: Tensor,
        order_seeds: Sequence[tuple[object, ...]],
        labels: Sequence[str],
        recipe: Recipe,
        epochs: int,
    ) -> None:
        super().__init__()
        self.stack = stack
        self.order_seeds = order_seeds
        self.labels = labels
        self.recipe = recipe
        network = stack.template
        self.n_joint = network.n_joint if isinstance(network, PosteriorNetwork) else 1
        self.batch_size = recipe.rows(self.n_joint)
        self.steps = epochs * math.ceil(inputs.shape[1] / self.batch_size)
        self.refit_steps = max(1, min(recipe.refit, self.steps // REFITS))
        # Not persistent: a checkpoint holds what was learned; the data follow from the seed.
        self.register_buffer("inputs", inputs, persistent=False)
        self.register_buffer("targets", targets, persistent=False)
        self.inputs: Tensor
        self.targets: Tensor
        self.order: Tensor
        self.epoch_loss: Tensor

    def train_dataloader(self) -> list[int]:
        """Where each batch starts; the samples themselves never leave the device."""
        return list(range(0, self.inputs.shape[1], self.batch_size))

    def on_train_epoch_start(self) -> None:
        """Draw every group's data order for this epoch from its own stream."""
        n_samples = self.inputs.shape[1]
        orders = [
            torch.randperm(n_samples, generator=stream("order", *seed, self.current_epoch))
            for seed in self.order_seeds
        ]
        self.order = torch.stack(orders).to(self.inputs.device)  # (G, samples)
        self.epoch_loss = self.inputs.new_zeros(len(self.labels))

    def training_step(self, start: int, batch_idx: int) -> Tensor:
        """Sum over networks of the mean squared error on the batch that begins at `start`."""
        rows = self.order[:, start : start + self.batch_size]  # (G, b)
        group = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        x = self.inputs[group, rows]  # (G, b, F)
        n_outputs = self.targets.shape[1]
        y = self.targets.gather(2, rows.unsqueeze(1).expand(-1, n_outputs, -1))  # (G, N, b)
        for module in self.stack.template.modules():
            if isinstance(module, FollowerChoice):
                module.anneal(self.recipe.heat(self.global_step / self.steps))
        first, second = self._errors(x, y)
        loss = (first * second).mean(-1).flatten()  # (G * R * N,)
        self.epoch_loss += loss.detach() * (rows.shape[1] / self.inputs.shape[1])
        return loss.sum()

    def _errors(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Errors `(G, R, N, b)`, twice: the same, or two independent unbiased estimates.

        The product of independent estimates is an unbiased estimate of the squared error, which the
        square of one is not.
        """
        network = self.stack.template
        if not isinstance(network, PosteriorNetwork) or network.n_joint <= JOINT_SIGNALS:
            error = self._error(x, y)
            return error, error
        errors = []
        for half in range(2):
            seed = self.order_seeds[0][0]  # all games meet the same joint signals
            generator = stream("order", seed, "signals", self.global_step, half)
            drawn = torch.randint(network.n_joint, (JOINT_SIGNALS // 2,), generator=generator)
            network.signals = drawn.to(x.device)
            errors.append(self._error(x, y))
        network.signals = None
        return errors[0], errors[1]

    def _error(self, x: Tensor, y: Tensor) -> Tensor:
        """Errors `(G, R, N, b)` on inputs `(G, b, F)` with targets `(G, N, b)`."""
        n_groups, n_outputs, n_rows = y.shape
        predicted = self.stack(x.repeat_interleave(len(self.stack) // n_groups, 0))  # (V, b, o)
        return predicted.mT.reshape(n_groups, -1, n_outputs, n_rows) - y.unsqueeze(1)

    @torch.no_grad()
    def judge(self) -> Tensor:
        """Squared error `(G, R)` of each group's restarts on its first samples."""
        total = self.inputs.new_zeros(())
        for start in range(0, min(JUDGED, self.inputs.shape[1]), self.batch_size):
            part = slice(start, start + self.batch_size)
            total = total + self._error(
                self.inputs[:, part], self.targets[:, :, part]
            ).square().sum((2, 3))
        return total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Refit the heads, where the recipe says so: now and then on a few samples, and at last."""
        if self.recipe.refit and self.global_step == self.steps:
            self.refit(*REFITTED)
        elif self.recipe.refit and self.global_step % self.refit_steps == 0:
            self.refit(*REFITTED_BETWEEN)

    @torch.no_grad()
    def refit(self, least: int, joint_signals: int) -> None:
        """Set linear heads by least squares on the first samples.

        Args:
            least: samples at least.
            joint_signals: that samples may have, if those are more.
        """
        template = self.stack.template
        follower = template.follower if isinstance(template, PosteriorNetwork) else template
        if not isinstance(follower, FollowerNetwork) or follower.hidden:
            return  # no head is linear: no network need be copied to find that out
        samples = max(least, joint_signals // self.n_joint)
        per_group = len(self.stack) // len(self.inputs)
        for index in range(len(self.stack)):
            network = self.stack.network(index)
            if isinstance(network, FollowerNetwork | PosteriorNetwork):
                group = index // per_group
                x, y = self.inputs[group, :samples], self.targets[group, :, :samples]
                network.refit(x, y.mT)
                self.stack.set_network(index, network)

    def configure_optimizers(self) -> Any:
        """Adam at the recipe's rate."""
        trained = [p for p in self.stack.parameters() if p.requires_grad]
        lr = self.recipe.beginning(self.inputs.shape[-1])
        optimiser = torch.optim.Adam(trained, lr=lr, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: self.recipe.rate(min(step / self.steps, 1.0))
        )
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]


def train(
    module: StackedRegression,
    epochs: int,
    device: torch.device,
    directory: Path | None = None,
    progress: bool = False,
    on_epoch: EpochReport | None = None,
) -> None:
    """Train `module` in place; it is on the CPU afterwards.

    Args:
        module: what to train.
        epochs: passes over the data, counted from the beginning also when resumed.
        device: where.
        directory: if given, each epoch writes a line to `metrics.csv` and a checkpoint there, and
            training goes on from a checkpoint that is found there.
        progress: show Lightning's progress bar.
        on_epoch: called after each epoch with epochs done and epochs in all.

    Raises:
        KeyboardInterrupt: passed on, after the checkpoint of the last whole epoch.
    """
    callbacks: list[Callback] = []
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    checkpoint = None
    if directory is not None:
        callbacks.append(_Log(directory / METRICS))
        callbacks.append(
            ModelCheckpoint(
                dirpath=directory,
                filename=Path(CHECKPOINT).stem,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        )
        if (directory / CHECKPOINT).exists():
            checkpoint = directory / CHECKPOINT
    if on_epoch is not None:
        callbacks.append(_Report(on_epoch))
    with _quiet():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            max_epochs=epochs,
            logger=False,
            callbacks=callbacks,
            enable_checkpointing=directory is not None or on_epoch is not None,
            enable_progress_bar=progress,
            enable_model_summary=False,
            precision="64-true" if module.inputs.dtype == torch.float64 else "32-true",
            num_sanity_val_steps=0,
        )
        with _interruptible():
            trainer.fit(module, ckpt_path=checkpoint)
    module.cpu()


class _Log(Callback):
    """One line per epoch: each network's mean training loss, in units of its targets' variance.

    Lightning's own CSV logger starts a new file when a run is resumed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the lines of the epochs that the checkpoint holds."""
        kept = self.path.read_text().splitlines() if self.path.exists() else []
        header = ",".join(["epoch", *cast(StackedRegression, pl_module).labels])
        lines = [header, *kept[1 : 1 + trainer.current_epoch]]
        self.path.write_text("".join(f"{line}\n" for line in lines))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        losses = cast(StackedRegression, pl_module).epoch_loss.tolist()
        with self.path.open("a") as file:
            print(trainer.current_epoch, *losses, sep=",", file=file)


class _Report(Checkpoint):
    """Says that an epoch is done. A "checkpoint" because Lightning calls these last, in order: an
    epoch that was reported is on disk."""

    def __init__(self, on_epoch: EpochReport) -> None:
        self.on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_epoch(trainer.current_epoch + 1, trainer.max_epochs or 0)


@contextmanager
def _quiet() -> Iterator[None]:
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
def _interruptible() -> Iterator[None]:
    """Turn Lightning's exit on Ctrl-C, which leaves SIGINT ignored, back into KeyboardInterrupt."""
    handler: Any = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
