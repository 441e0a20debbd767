"""How a command ends after Ctrl-C (SIGINT) or SIGTERM.

It prints one line and ends with exit code 130 after Ctrl-C and 143 after SIGTERM. This holds from
its first import on: `dnl/__init__.py` calls `while_loading` before any other import. While a
command runs, both signals raise KeyboardInterrupt, so both are handled alike. The signal handlers
of a process that only imports the library stay as they are.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_COMMANDS = ("dnl.", "experiments.")


@dataclass
class _State:
    received: signal.Signals | None = None  # by the running or last command
    working: bool = False  # whether a command is running
    waiting: bool = False  # whether a signal is being held back
    held: int = 0  # number of nested `held_back` contexts
    patient: bool = True  # whether they hold back a second signal, too


_state = _State()


def while_loading() -> None:
    """Let a signal end the process at once until the command begins: there is nothing to save yet.

    This applies only to `python -m` with a module of this repository.
    """
    # While Python imports the package of `python -m package.module`, argv begins with "-m".
    if sys.argv[:1] != ["-m"] or len(sys.orig_argv) < len(sys.argv):
        return
    name = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    if not name.startswith(_COMMANDS):
        return

    def end(number: int, frame: FrameType | None) -> None:
        kind = signal.Signals(number)
        os.write(2, f"{name}: {WORDS[kind]}.\n".encode())
        os._exit(CODES[kind])

    def ignore() -> None:
        for kind in CODES:
            signal.signal(kind, signal.SIG_IGN)

    for kind in CODES:
        if signal.getsignal(kind) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(kind, end)  # an ignored signal stays ignored, as in a background job
    # Registered first, so called last: then all work is done, and only the exit code is left.
    atexit.register(ignore)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt while a command runs.

    An ignored signal stays ignored. Outside the main thread handlers cannot be set.
    """
    _state.received, _state.waiting, _state.working = None, False, True
    before = {}
    try:
        for kind in CODES:
            handler = signal.getsignal(kind)
            if handler is not signal.SIG_IGN and handler is not None:
                before[kind] = signal.signal(kind, _raise)
    except ValueError:  # not in the main thread
        pass
    try:
        yield
    finally:
        _state.working = False
        for kind, handler in before.items():
            signal.signal(kind, handler)
        # Code that runs from a string, as where dataclasses are made, tells Python of a
        # KeyboardInterrupt that ended it. Python would then end the process by SIGINT instead of
        # our exit code, though we handle it. The next string to run resets this.
        exec("")


@contextmanager
def held_back(patient: bool = True) -> Iterator[None]:
    """Hold back signals until the end of this context, so that its work is not interrupted.

    Args:
        patient: hold back a second signal, too; False if the work may take long.
    """
    before = _state.patient
    _state.held += 1
    _state.patient = patient
    try:
        yield
    finally:
        _state.held -= 1
        _state.patient = before
    if _state.waiting and not _state.held:
        _state.waiting = False
        raise KeyboardInterrupt


def received() -> signal.Signals | None:
    """The signal that the running or last command received, if any."""
    return _state.received


def check() -> None:
    """Raise KeyboardInterrupt if the running command has received a signal.

    For loops that go on after an exception: a library that was running at the time of the signal
    may have swallowed the KeyboardInterrupt or raised another exception.
    """
    if _state.working and _state.received is not None:
        raise KeyboardInterrupt


def exit_code() -> int:
    """143 after SIGTERM, and else 130."""
    return CODES[_state.received or signal.SIGINT]


def word() -> str:
    """`"terminated"` after SIGTERM, and else `"interrupted"`."""
    return WORDS[_state.received or signal.SIGINT]


def _raise(number: int, frame: FrameType | None) -> None:
    _state.received = _state.received or signal.Signals(number)
    if _state.held and (_state.patient or not _state.waiting):
        _state.waiting = True
        return
    raise KeyboardInterrupt
