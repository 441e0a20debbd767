"""Every family of games by name, with the answers that are known by hand.

A new family is one file and one entry here, or one call of `REGISTRY.register` from outside (for
other games with a follower `FOLLOWER_REGISTRY.register`). The contract tests run on every entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor

from games import checks
from games.checks import Array
from games.followers.base import BaseFollowerGame
from games.followers.contracts import random_contract_game
from games.followers.pricing import random_pricing_game
from games.followers.security import random_security_game
from games.persuasion.advertising import advertising_products_game, advertising_quality_game
from games.persuasion.classic import didactic_game, prosecutor_game
from games.persuasion.game import PersuasionGame
from games.persuasion.ride_hailing import ride_hailing_game
from games.persuasion.synthetic import LAWS, synthetic_game
from games.registration import REQUIRED, Registry
from games.value import GameValue

Game = TypeVar("Game", bound=GameValue)


@dataclass(frozen=True)
class Family(Generic[Game]):
    """A named source of games.

    Attributes:
        name: the key in the registry.
        make: seed -> game; deterministic.
        n_instances: how many different instances the benchmark uses (seeds 0, 1, ...).
        known: profiles with known ex-ante utilities, as pairs `(N, S, M)`, `(N,)`.

    Raises:
        ValueError: naming the field that is missing or malformed.
    """

    name: str = REQUIRED
    make: Callable[[int], Game] = REQUIRED
    n_instances: int = REQUIRED
    known: tuple[tuple[Tensor, Tensor], ...] = ()

    def __post_init__(self) -> None:
        checks.filled("name", self.name)
        checks.function("make", self.make)
        checks.positive_integer("n_instances", self.n_instances)
        for pair in checks.sequence("known", self.known):
            if len(checks.sequence("known", pair)) != 2:
                raise ValueError(f"known must hold pairs, got {checks.shown(pair)}")

    def instances(self, count: int | None = None) -> list[Game]:
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

REGISTRY: Registry[Family[PersuasionGame]] = Registry(
    Family,
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
        for law in LAWS
        for n, m, s, a in ((2, 2, 2, 2), (4, 2, 2, 2), (2, 4, 4, 4), (3, 3, 2, 4))
    ),
    Family("advertising-quality", advertising_quality_game, 20),
    Family("advertising-products", advertising_products_game, 20),
    Family("ride-hailing", ride_hailing_game, 20),
)

FOLLOWER_REGISTRY: Registry[Family[BaseFollowerGame]] = Registry(
    Family,
    *(
        Family(f"{law}-{first}x{second}", partial(make, first, second), 20)
        for law, make, sizes in (
            ("contract", random_contract_game, ((6, 4), (2, 2))),
            ("security", random_security_game, ((6, 2), (3, 1))),
            ("pricing", random_pricing_game, ((2, 6), (2, 2))),
        )
        for first, second in sizes
    ),
)
