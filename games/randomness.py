"""Independent named random streams from one seed.

Every random draw of the library comes from a stream that is named by what it is for ("game",
"data", "initialisation", "order", "starts", "verifier") and by the seed and sizes it belongs to.
Streams with different names are independent, so that changing, say, the number of starts leaves
the training data as they were.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import Tensor

from games import checks
from games.chunk_sizes import NUMBER_BYTES


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


def generator_of(
    seed: int | None = None, generator: torch.Generator | None = None
) -> torch.Generator | None:
    """The generator that a caller names by `seed` or `generator`; None if it names neither.

    `seed=3` means `torch.Generator().manual_seed(3)`.

    Raises:
        ValueError: if both are given, or one is no such thing.
    """
    _check_source(seed, generator)
    if seed is None:
        return generator
    return torch.Generator("cpu").manual_seed(checks.positive_integer("seed", seed, least=0))


def seed_of(
    seed: int | None = None, generator: torch.Generator | None = None, *, default: int = 0
) -> int:
    """The seed that a caller names by `seed` or `generator`; `default` if it names neither.

    A generator gives the next whole number that it draws, so it moves on.

    Raises:
        ValueError: if both are given, or one is no such thing.
    """
    _check_source(seed, generator)
    if generator is not None:
        return int(torch.randint(checks.LARGEST, (), generator=generator))
    return checks.positive_integer("seed", default if seed is None else seed, least=0)


def _check_source(seed: int | None, generator: torch.Generator | None) -> None:
    if generator is None:
        return
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise ValueError(
            f"generator must be a torch.Generator of the CPU, got {checks.shown(generator)}"
        )
    if seed is not None:
        raise ValueError(
            f"seed and generator must not both be given, got seed={checks.shown(seed)} and a "
            "generator"
        )


def uniform_distributions(size: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Float64 tensor of this size on the CPU whose rows `[..., :]` are uniform on the simplex.

    Drawn from the global generator where `generator` is None.
    """
    waits = torch.empty(size, dtype=torch.float64, device="cpu").exponential_(generator=generator)
    return waits / waits.sum(-1, keepdim=True)


def uniform_blocks(
    streams: Sequence[torch.Generator], rounds: int, size: tuple[int, ...], max_bytes: int
) -> Iterator[tuple[int, Tensor]]:
    """Uniform numbers for many rounds, in blocks of at most about `max_bytes`.

    Each stream draws its own rounds in order, so neither blocks nor other streams change its draws.

    Yields:
        the first round of a block, and its numbers `(rounds, len(streams), *size)`, float64.
    """
    block = max(1, max_bytes // (NUMBER_BYTES * len(streams) * math.prod(size)))
    for start in range(0, rounds, block):
        shape = (min(block, rounds - start), *size)
        drawn = [torch.rand(shape, dtype=torch.float64, generator=one) for one in streams]
        yield start, torch.stack(drawn, dim=1)


@contextmanager
def global_stream(name: str, *identity: object) -> Iterator[None]:
    """Within it, torch's global CPU generator is `stream(name, *identity)`; afterwards as before.

    For modules that draw their initial values from the global generator.
    """
    with torch.random.fork_rng(devices=[]):
        # Other devices' generators are not seeded: they would not be put back.
        torch.default_generator.manual_seed(stream(name, *identity).initial_seed())
        yield


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
