"""The base class of games: immutable values, with random profiles of the leaders' decisions."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.randomness import generator_of, uniform_distributions


@dataclass(frozen=True, eq=False, init=False, repr=False)
class GameValue(ABC):
    """A game. Two games are equal if class and arguments are, labels aside. Do not edit one.

    The fields of a subclass are its constructor's arguments, which it sets with `_set`.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """`(N, M, S, A)`."""

    @property
    @abstractmethod
    def payoff_range(self) -> Tensor:
        """`(N,)`: how far apart two utilities of a leader can be, or an upper bound."""

    def _set(self, **values: object) -> None:
        """Set the fields, in the constructor."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def arguments(self) -> dict[str, object]:
        """The constructor's arguments as JSON values, numbers exact."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(value) for name, value in given.items()}

    def _defining(self) -> dict[str, object]:
        """Those of `arguments` that tell the game from others: a label does not."""
        return self.arguments()

    @cached_property
    def identity(self) -> str:
        """Twelve hexadecimal digits of a hash of what defines the game: its name in tables."""
        return hashlib.sha256(json.dumps(self._defining()).encode()).hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._defining() == other._defining()

    def __hash__(self) -> int:
        return hash(self.identity)

    def sample_policies(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Random profiles, every row uniform on the simplex.

        Args:
            count: number of profiles `B`, at least 0.
            generator: a CPU generator.
            seed: of a generator of its own, instead. Without either, torch's global one is used.

        Returns:
            `(B, N, S, M)` in the game's dtype and on its device. The draws are made in float64 on
            the CPU, so the same generator gives the same profiles on every device.

        Raises:
            ValueError: for a bad argument, or if both `generator` and `seed` are given.
        """
        checks.positive_integer("count", count, least=0)
        generator = generator_of(seed, generator)
        n_leaders, n_entries, n_rows, _ = self.shape
        size = (count, n_leaders, n_rows, n_entries)
        return uniform_distributions(size, generator).to(self.payoff_range)

    def check_policies(self, policies: Tensor) -> None:
        """Raise a ValueError unless `policies` are profiles of this game, `([B,] N, S, M)`."""
        n_leaders, n_entries, n_rows, _ = self.shape
        checks.profiles("policies", policies, n_leaders, n_rows, n_entries)

    def as_policies(self, policies: Array) -> Tensor:
        """`policies` of this game, `([B,] N, S, M)`, checked.

        A tensor is returned as it is; nested lists and arrays of numpy or pandas as float64.

        Raises:
            ValueError: if they are no profiles of this game.
        """
        policies = checks.as_tensor("policies", policies)
        self.check_policies(policies)
        return policies

    def _batch(self, policies: Array) -> tuple[Tensor, bool]:
        """`policies`, checked, with a batch axis; and whether that axis was added."""
        policies = self.as_policies(policies)
        single = policies.ndim == 3
        return (policies.unsqueeze(0) if single else policies), single


def _plain(value: object) -> object:
    """`value` as JSON has it."""
    if isinstance(value, Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
