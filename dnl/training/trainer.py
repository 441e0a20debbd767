"""Training with Adam through Lightning: any loss of a module, or many networks regressed at once.

`V` networks of one architecture, the same number for each group of data, form one stacked module.
Their losses are summed and share no parameter, and Adam works entry by entry, so each network gets
the updates that it would get alone. Only this module and `quiet_lightning` import Lightning.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar
from torch import Tensor, nn

from dnl.runtime.parallel import spread
from dnl.training.quiet_lightning import interruptible, isolated_trainer, quiet
from dnl.training.regression import Regression
from games import checks
from games.files import write_text
from games.randomness import stream
from games.surroundings import differentiable

EpochReport = Callable[[int, int], None]
Loss = Callable[[nn.Module, int], Tensor]
CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"
REFITTED = 10_000, 2**25  # samples that least squares see at the end: at least, joint signals
REFITTED_BETWEEN = 2_000, 10_000  # and in between
CHUNK = 32  # steps of Adam in one of Lightning's
NEGLIGIBLE = 2**30  # size of a mean of gradients that does not matter, in smallest normal numbers


class _ByHand(pl.LightningModule):
    """Adam by hand: many steps per turn of Lightning's loop, which is as slow as a small step."""

    lr: float

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam on the parameters that are trained."""
        trained = [p for p in self.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(trained, lr=self.lr, fused=True)
        return self.adam

    def descend(self, loss: Tensor, rate: float) -> None:
        """One step of Adam at `rate` times the learning rate."""
        self.adam.param_groups[0]["lr"] = self.lr * rate
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    @torch.no_grad()
    def on_train_batch_end(self, *_: object) -> None:
        """Set to 0 means of gradients that are far too small to matter.

        Where a gradient stays zero, as at dead units, its mean shrinks below the smallest normal
        number within a thousand steps and stays there, since it rounds to itself. A CPU computes
        many times more slowly with such numbers. (Means of squares take a hundred times as many
        steps to get there.)
        """
        for state in self.adam.state.values():
            mean, limits = state["exp_avg"], torch.finfo(state["exp_avg"].dtype)
            if NEGLIGIBLE * limits.tiny < limits.eps**3:  # half precision has no such numbers
                mean.masked_fill_(mean.abs() < NEGLIGIBLE * limits.tiny, 0.0)


class StackedRegression(Regression, _ByHand):
    """`Regression` by Adam, following its recipe."""

    order: Tensor
    epoch_loss: Tensor

    def train_dataloader(self) -> list[int]:
        """The first batch of each chunk; the samples themselves never leave the device."""
        return list(range(0, self.batches, CHUNK))

    def on_train_epoch_start(self) -> None:
        """Draw every group's data order for this epoch from its own stream."""

        def draw(seed: tuple[object, ...]) -> Tensor:
            generator = stream("order", *seed, self.current_epoch)
            return torch.randperm(self.inputs.shape[1], generator=generator)

        orders = spread(draw, self.order_seeds, torch.get_num_threads())
        self.order = torch.stack(orders).to(self.inputs.device)  # (G, samples)
        self.epoch_loss = self.inputs.new_zeros(len(self.labels))

    def training_step(self, first: int, batch_idx: int) -> None:
        """A step for each batch of a chunk; heads are refitted when the recipe says so."""
        for batch in range(first, min(first + CHUNK, self.batches)):
            step = self.current_epoch * self.batches + batch
            rows = self.order[:, batch * self.batch_size : (batch + 1) * self.batch_size]
            losses = self.losses(rows, step)
            self.epoch_loss += losses.detach() * (rows.shape[1] / self.inputs.shape[1])
            self.descend(losses.sum(), self.recipe.rate(step / self.steps))
            self.refit_when_due(step + 1)

    def refit_when_due(self, done: int) -> None:
        """Refit heads when the recipe says so: at intervals on a few samples, and at the end."""
        if self.recipe.refit and done == self.steps:
            self.refit(*REFITTED)
        elif self.recipe.refit and done % self.refit_steps == 0:
            self.refit(*REFITTED_BETWEEN)


def train(
    module: StackedRegression,
    epochs: int,
    device: torch.device,
    directory: Path | None = None,
    progress: bool = False,
    on_epoch: EpochReport | None = None,
) -> None:
    """Train `module` in place. Afterwards its networks are on the CPU, its data on `device`.

    Args:
        module: what to train.
        epochs: passes over the data; after a resumption, counted from the original start.
        device: where to train.
        directory: if given, each epoch writes a line to `metrics.csv` and a checkpoint there, and
            training resumes from a checkpoint found there.
        progress: show Lightning's progress bar.
        on_epoch: called after each epoch with (epochs done, epochs in all).

    Raises:
        KeyboardInterrupt: passed on, after the checkpoint of the last whole epoch.
    """
    callbacks: list[Callback] = []
    if progress:
        callbacks.append(TQDMProgressBar())
    checkpoint = None
    if directory is not None:
        callbacks.append(_Log(directory / METRICS))
        kept = directory.absolute() / CHECKPOINT  # Lightning reads "registry:..." as no path
        callbacks.append(_Keep(kept))
        if kept.exists():
            checkpoint = kept
    if on_epoch is not None:
        callbacks.append(_Report(on_epoch))
    with quiet():
        trainer = isolated_trainer(
            device,
            module.inputs.dtype,
            max_epochs=epochs,
            callbacks=callbacks,
            enable_checkpointing=directory is not None or on_epoch is not None,
            enable_progress_bar=progress,
        )
        module.inputs, module.targets = module.inputs.to(device), module.targets.to(device)
        with interruptible():
            trainer.fit(module, ckpt_path=checkpoint)
    module.cpu()


@differentiable()
def minimise(
    module: nn.Module,
    loss: Loss,
    steps: int,
    lr: float,
    rate: Callable[[float], float] = lambda progress: 1.0,
    device: torch.device | None = None,
) -> None:
    """Minimise a differentiable loss of a module by Adam, in place. Afterwards it is on the CPU.

    Args:
        module: whose parameters with `requires_grad` are trained; all of one dtype.
        loss: (module on `device`, step from 0) -> scalar tensor. It draws its own batches.
        steps: of Adam, at least 0.
        lr: learning rate.
        rate: factor of the learning rate at `progress`, from 0 to below 1.
        device: where to train (default: the CPU).

    Raises:
        ValueError: for bad steps, a bad learning rate, nothing to train, parameters that were made
            in inference mode, or a loss that is no scalar.
        KeyboardInterrupt: passed on; the module keeps the steps taken.
    """
    checks.instance("module", module, nn.Module)
    for name, value in (("loss", loss), ("rate", rate)):
        checks.function(name, value)
    steps = checks.positive_integer("steps", steps, least=0)
    lr = checks.positive_number("lr", lr)
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(f"module must have parameters to train, got {module!r}")
    if any(p.is_inference() for p in trained):
        raise ValueError(
            "module must be made outside torch.inference_mode, since such parameters cannot be "
            f"trained, got {module!r}"
        )
    device = torch.device("cpu") if device is None else checks.device("device", device)
    with quiet():
        trainer = isolated_trainer(device, trained[0].dtype, max_epochs=1)
        with interruptible():
            trainer.fit(_Minimisation(module, loss, steps, lr, rate))
    module.cpu()


class _Minimisation(_ByHand):
    """A module with its loss."""

    def __init__(
        self, module: nn.Module, loss: Loss, steps: int, lr: float, rate: Callable[[float], float]
    ) -> None:
        super().__init__()
        self.module, self.steps, self.lr, self.rate = module, steps, lr, rate
        self.loss_at = partial(loss, module)  # hides the loss: if it is a module, it is not trained

    def train_dataloader(self) -> list[int]:
        """The first step of each chunk."""
        return list(range(0, self.steps, CHUNK))

    def training_step(self, first: int, batch_idx: int) -> None:
        """A chunk of steps."""
        for step in range(first, min(first + CHUNK, self.steps)):
            loss = self.loss_at(step)
            if not isinstance(loss, Tensor) or loss.ndim:
                shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else None
                raise ValueError(f"loss must be a scalar, got {shape or checks.shown(loss)}")
            if not loss.requires_grad:
                raise ValueError("loss must depend on the module's parameters, got no gradient")
            self.descend(loss, self.rate(step / self.steps))


class _Log(Callback):
    """Writes each network's mean training loss, in units of its targets' variance, every epoch.

    (Lightning's own CSV logger starts a new file when a run is resumed.)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the lines of the epochs before the checkpoint."""
        kept = self.path.read_text().splitlines() if self.path.exists() else []
        header = ",".join(["epoch", *cast(StackedRegression, pl_module).labels])
        lines = [header, *kept[1 : 1 + trainer.current_epoch]]
        write_text(self.path, "".join(f"{line}\n" for line in lines))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        losses = cast(StackedRegression, pl_module).epoch_loss.tolist()
        with self.path.open("a") as file:
            print(trainer.current_epoch, *losses, sep=",", file=file)


class _Keep(Checkpoint):
    """Writes a checkpoint after each epoch; Lightning's own skips epochs without steps of its."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


class _Report(Checkpoint):
    """Reports each finished epoch.

    It is a `Checkpoint` because Lightning calls these last, in order: a reported epoch is on disk.
    """

    def __init__(self, on_epoch: EpochReport) -> None:
        self.on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_epoch(trainer.current_epoch + 1, trainer.max_epochs or 0)
