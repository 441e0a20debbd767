"""What surrounds a run of Lightning's: silence, and Ctrl-C as elsewhere in Python."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
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
def interruptible() -> Iterator[None]:
    """Turn Lightning's exit on Ctrl-C, which leaves SIGINT ignored, back into KeyboardInterrupt."""
    handler: Any = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
