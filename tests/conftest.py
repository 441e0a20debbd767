"""Settings of the whole test run."""

import signal
from collections.abc import Callable, Iterator

import pytest
import torch

# Most tensors here are tiny; threads that wait for one another would take longer than the work.
torch.set_num_threads(1)
# Shells start jobs in the background with Ctrl-C ignored; tests of interruptions would hang there.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often test_killed kills its run")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of torch's threads, for the time of the test."""
    yield torch.set_num_threads
    torch.set_num_threads(1)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the benchmark draw nothing, which saves most of a small one's time."""
    monkeypatch.setattr("dnl.plot.draw", lambda folder: [])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands show their progress as on a terminal."""
    monkeypatch.setattr("dnl.runtime.progress.on_terminal", lambda: True)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often a run is killed."""
    return int(request.config.getoption("--kills"))


@pytest.fixture
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of the finder that draw starts draw a few."""
    monkeypatch.setattr("dnl.equilibria.response_walks.MOST_WALKS", 2)
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.MOST_ASCENTS", 4)
    monkeypatch.setattr("dnl.equilibria.gradient_ascent.MOST_FINISHED", 1)
