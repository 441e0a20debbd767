"""Every kind of receiver by name.

A new receiver is one file and one entry here, or one call of `RECEIVERS.register` from outside.
The contract tests run on every entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from games import checks
from games.receivers.base import BaseReceiver
from games.receivers.learning import BanditReceiver, QLearningReceiver, ReinforceReceiver
from games.receivers.rational import QuantalReceiver, RationalReceiver
from games.registration import REQUIRED, Registry


@dataclass(frozen=True)
class ReceiverKind:
    """A named kind of receiver.

    Attributes:
        name: the key in `RECEIVERS`.
        make: game of one sender -> receiver.
        learns: whether it is a `LearningReceiver`; `make` then takes the options `visits`, `seed`
            and `generator` too.

    Raises:
        ValueError: naming the field that is missing or malformed.
    """

    name: str = REQUIRED
    make: Callable[..., BaseReceiver] = REQUIRED
    learns: bool = False

    def __post_init__(self) -> None:
        checks.filled("name", self.name)
        checks.function("make", self.make)
        checks.instance("learns", self.learns, bool)


RECEIVERS: Registry[ReceiverKind] = Registry(
    ReceiverKind,
    ReceiverKind("rational", RationalReceiver),
    ReceiverKind("quantal", partial(QuantalReceiver, precision=10.0)),
    ReceiverKind("bandit", BanditReceiver, learns=True),
    ReceiverKind("q-learning", QLearningReceiver, learns=True),
    ReceiverKind("reinforce", ReinforceReceiver, learns=True),
)
