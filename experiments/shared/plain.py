"""Plain implementations, as one would write them first. `speed_of_*.py` compare the library with
them; tests check that both give the same results."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from dnl.equilibria.sampled_deviations import deviations_within
from dnl.layers import DiscontinuousMLP, EmittedLinear
from games import PersuasionGame


class PlainDNL(nn.Module):
    """DNL of the standard sizes whose hyper-network emits every weight of the upper part at once.

    Each sample has one vector of 8,385 weights, cut into matrices and multiplied sample by sample.
    """

    def __init__(self, in_features: int, width: int = 64, hyper: int = 32) -> None:
        super().__init__()
        self.width = width
        self.sizes = [width * width, width, width * width, width, width, 1]
        self.lower = nn.Linear(in_features, width)
        self.hyper = nn.Sequential(
            nn.Linear(width, hyper),
            nn.ReLU(),
            nn.Linear(hyper, hyper),
            nn.ReLU(),
        )
        self.emission = nn.Linear(hyper, sum(self.sizes))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in_features) -> (B, 1)`."""
        before = self.lower(x)
        h = functional.relu(before)
        weights = self.emission(self.hyper((before > 0).to(x.dtype)))
        w1, b1, w2, b2, w3, b3 = weights.split(self.sizes, dim=-1)
        for w, b in ((w1, b1), (w2, b2)):
            matrix = w.view(-1, self.width, self.width)
            h = functional.relu(torch.bmm(matrix, h.unsqueeze(-1)).squeeze(-1) + b)
        return (w3 * h).sum(-1, keepdim=True) + b3

    @torch.no_grad()
    def copy_from(self, network: DiscontinuousMLP) -> "PlainDNL":
        """Take the parameters of a library DNL of the standard sizes; returns self."""
        self.lower.load_state_dict(network.lower.layers[0].state_dict())
        self.hyper.load_state_dict(network.hyper.state_dict())
        pieces = []
        layers = [layer for layer in network.upper if isinstance(layer, EmittedLinear)]
        for layer in layers:  # (out, C + 1, in) and (out, C + 1): constant first
            pieces += [layer.weight.transpose(1, 2).flatten(0, 1), layer.bias]
        table = torch.cat(pieces)  # (8385, C + 1)
        self.emission.bias.copy_(table[:, 0])
        self.emission.weight.copy_(table[:, 1:])
        return self


class SideBySide(nn.ModuleList):
    """One network per sender on the same input, with their outputs concatenated."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, F) -> (B, N)`."""
        return torch.cat([network(x) for network in self], -1)


class _PlainRegression(pl.LightningModule):
    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network = network
        self.lr = lr

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return functional.mse_loss(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def plain_lightning_fit(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int,
    lr: float = 0.01,
    batch_size: int = 512,
    accelerator: str = "cpu",
) -> None:
    """Fit `network` in place as in Lightning's tutorials, with a data set, a loader and a trainer.

    `accelerator` is Lightning's name of the device, "cpu" or "cuda".
    """
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(_PlainRegression(network, lr), loader)


def plain_utility(game: PersuasionGame, policies: Tensor, chunk: int) -> Tensor:
    """Ex-ante utilities `(B, N, S, M) -> (B, N)` from a table of the joint posteriors of a chunk.

    Only exactly equal scores tie; the lowest index wins.
    """
    table = game.sender_utility.permute(2, 1, 0).contiguous().to(policies)  # (A, S, N)
    v, prior = game.receiver_utility.to(policies), game.prior.to(policies)
    signals = "abcdefgh"[: game.n_senders]
    factors = ",".join(f"zs{signal}" for signal in signals)
    found = []
    for part in policies.split(chunk):
        joint = torch.einsum(f"{factors},s->z{signals}s", *part.unbind(1), prior)
        joint = joint.flatten(1, -2)  # (b, K, S)
        action = (joint @ v).argmax(-1)  # (b, K)
        found.append(torch.einsum("bks,bksn->bn", joint, table[action]))
    return torch.cat(found)


def plain_gain(
    game: PersuasionGame, policies: Tensor, sender: int, radius: float, noise: Tensor
) -> float:
    """The largest gain of a sender in one profile `(N, S, M)`, computed deviation by deviation.

    Args:
        game: the game.
        policies: `(N, S, M)`.
        sender: the sender that deviates.
        radius: of the box that deviations are drawn from.
        noise: `(D, S, M)`, uniform in [0, 1].
    """
    own = plain_utility(game, policies.unsqueeze(0), 1)[0, sender]
    most = 0.0
    for drawn in noise:
        changed = policies.clone()
        changed[sender] = deviations_within(policies[sender], radius, drawn)
        utility = plain_utility(game, changed.unsqueeze(0), 1)[0, sender]
        most = max(most, (utility - own).item())
    return most
