"""Independent named random streams from one seed.

Every random draw of the library comes from a stream that is named by what it is for ("game",
"data", "initialisation", "order", "starts", "verifier") and by the seed and sizes it belongs to.
Streams with different names are independent, so that changing, say, the number of starts leaves
the training data as they were.
"""

import hashlib
from numbers import Integral

import torch
from torch import Tensor


def stream(name: str, *identity: object) -> torch.Generator:
    """A fresh CPU generator for the stream `name` of `identity`.

    Args:
        name: what the draws are for, e.g. `"data"`.
        *identity: whatever tells this stream from others of that name (seeds, sizes); compared by
            `repr`.

    Returns:
        A `torch.Generator` whose state depends on the arguments only: same arguments, same draws,
        on every machine and in every process.
    """
    text = repr((name, *map(_plain, identity))).encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator("cpu").manual_seed(seed)


def uniform_distributions(size: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Float64 tensor of this size on the CPU whose rows `[..., :]` are uniform on the simplex.

    Drawn from the global generator where `generator` is None.
    """
    waits = torch.empty(size, dtype=torch.float64, device="cpu").exponential_(generator=generator)
    return waits / waits.sum(-1, keepdim=True)


def near_pure(labels: Tensor, mixed: Tensor, noise: float) -> Tensor:
    """Policies that send one signal per state with all but the probability `noise`.

    Args:
        labels: `(..., S)`: the signals.
        mixed: `(..., S, M)`: policies that are followed otherwise.
        noise: from 0 to 1.
    """
    pure = torch.nn.functional.one_hot(labels, mixed.shape[-1]).to(mixed)
    return (1 - noise) * pure + noise * mixed


def _plain(part: object) -> object:
    """Integers of any type (numpy's, torch's index types) as Python's, also inside tuples."""
    if isinstance(part, tuple):
        return tuple(map(_plain, part))
    return int(part) if isinstance(part, Integral) else part
