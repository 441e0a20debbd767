"""Settings of the whole test run."""

import pytest
import torch

# Most tensors here are tiny; threads that wait for one another would take longer than the work.
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often test_killed kills its run")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often a run is killed."""
    return int(request.config.getoption("--kills"))
