"""What the tests of training share."""

import signal
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(autouse=True)
def handler() -> Iterator[Callable[..., None]]:
    """A SIGINT handler that can be told from any other; it is there again after each test."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    yield interrupt
    signal.signal(signal.SIGINT, before)
