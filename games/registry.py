"""Every game family under one name, with the answer where it is known by hand.

A family that is added here is enrolled in the contract tests and can be asked for by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.persuasion.advertising import advertising_products_game, advertising_quality_game
from games.persuasion.classic import didactic_game, prosecutor_game
from games.persuasion.game import PersuasionGame
from games.persuasion.ride_hailing import ride_hailing_game
from games.persuasion.synthetic import synthetic_game


@dataclass(frozen=True)
class Family:
    """A named source of games.

    Attributes:
        name: the key in `REGISTRY`.
        make: seed -> game; deterministic.
        n_instances: how many different instances the benchmark uses (seeds 0, 1, ...).
        known: profiles with known ex-ante utilities, as pairs `(N, S, M)`, `(N,)`.
    """

    name: str
    make: Callable[[int], PersuasionGame]
    n_instances: int
    known: tuple[tuple[Tensor, Tensor], ...] = ()

    def instances(self, count: int | None = None) -> list[PersuasionGame]:
        """The first `count` instances (default: all `n_instances`)."""
        count = self.n_instances if count is None else checks.positive_integer("count", count)
        return [self.make(seed) for seed in range(count)]


def _known(policies: Array, utilities: list[float]) -> tuple[Tensor, Tensor]:
    return (
        torch.tensor(policies, dtype=torch.float64),
        torch.tensor(utilities, dtype=torch.float64),
    )


def _synthetic(seed: int, law: str, sizes: tuple[int, int, int, int]) -> PersuasionGame:
    return synthetic_game(*sizes, seed=seed, law=law)


# Prosecutor: 0.3 guilty + 0.7 * 3/7 innocent are convicted; telling the truth convicts the 0.3.
_PROSECUTOR_OPTIMUM = [[[4 / 7, 3 / 7], [0.0, 1.0]]]
_TRUTH = [[1.0, 0.0], [0.0, 1.0]]
_SILENCE = [[1.0, 0.0], [1.0, 0.0]]

_FAMILIES = (
    Family(
        "prosecutor",
        lambda seed: prosecutor_game("senders"),
        1,
        (_known(_PROSECUTOR_OPTIMUM, [0.6]), _known([_TRUTH], [0.3]), _known([_SILENCE], [0.0])),
    ),
    Family(
        "prosecutor-first",
        lambda seed: prosecutor_game("first"),
        1,
        (_known(_PROSECUTOR_OPTIMUM, [0.0]), _known([_TRUTH], [0.3])),
    ),
    Family(
        "didactic",
        lambda seed: didactic_game(),
        1,
        # Truth by sender 0: action s in state s, 0.4 * u_n(1, 1). Silence: action 0,
        # 0.4 * u_n(1, 0).
        (
            _known([_TRUTH, _SILENCE], [0.0, 0.8]),
            _known([_SILENCE, _SILENCE], [0.4, 0.0]),
        ),
    ),
    *(
        Family(
            f"synthetic-{law}-{n}x{m}x{s}x{a}",
            partial(_synthetic, law=law, sizes=(n, m, s, a)),
            5,
        )
        for law in ("paper", "contested")
        for n, m, s, a in ((2, 2, 2, 2), (4, 2, 2, 2), (2, 4, 4, 4), (3, 3, 2, 4))
    ),
    Family("advertising-quality", advertising_quality_game, 20),
    Family("advertising-products", advertising_products_game, 20),
    Family("ride-hailing", ride_hailing_game, 20),
)

REGISTRY: Mapping[str, Family] = MappingProxyType({family.name: family for family in _FAMILIES})
