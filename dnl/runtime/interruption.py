"""What a command does when it is told to end: by Ctrl-C (SIGINT) or by SIGTERM.

A command ends with exit code 130 after Ctrl-C and 143 after SIGTERM, and says so in one line. From
its first import on: `dnl/__init__.py` calls `while_loading` before it imports anything else. While
a command works, either signal raises KeyboardInterrupt, so that one way of clearing up serves both.
Nothing here changes the signals of a process that only imports the library.
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
    received: signal.Signals | None = None  # by the last command that worked
    working: bool = False  # whether a command is
    waiting: bool = False  # it came while it was held back
    held: int = 0  # how many `held_back` are under way
    patient: bool = True  # whether they hold a second signal back, too


_state = _State()


def while_loading() -> None:
    """Until a command begins to work, a signal ends it at once: there is nothing to keep yet.

    Only where this process is `python -m` with a module of ours; elsewhere nothing happens.
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
            signal.signal(kind, end)  # not where it is ignored: a shell's job in the background
    # What is registered first is called last: all is done, and only the exit code is still due.
    atexit.register(ignore)


@contextmanager
def interruptible() -> Iterator[None]:
    """For the time of a command's work, Ctrl-C and SIGTERM raise KeyboardInterrupt.

    Where a signal is ignored it stays ignored; outside the main thread nothing can be set.
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


@contextmanager
def held_back(patient: bool = True) -> Iterator[None]:
    """A signal that comes meanwhile is answered afterwards: what is in here is done whole.

    Args:
        patient: so is a second one; False where what is in here may take long.
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
    """The signal that the command which is working, or was last, has been sent, if any."""
    return _state.received


def check() -> None:
    """Raise KeyboardInterrupt where the command that is working was sent a signal.

    For loops that outlive an error: what a signal raised may have been swallowed, or turned into
    another error, by a library that was called at that moment.
    """
    if _state.working and _state.received is not None:
        raise KeyboardInterrupt


def exit_code() -> int:
    """130, or 143 where it was SIGTERM."""
    return CODES[_state.received or signal.SIGINT]


def word() -> str:
    """`"interrupted"`, or `"terminated"` where it was SIGTERM."""
    return WORDS[_state.received or signal.SIGINT]


def _raise(number: int, frame: FrameType | None) -> None:
    _state.received = _state.received or signal.Signals(number)
    if _state.held and (_state.patient or not _state.waiting):
        _state.waiting = True
        return
    raise KeyboardInterrupt
