"""What all tests of clusters share."""

import pytest

from tests.processes import HANGS_S


@pytest.fixture
def cluster(processes):
    """The `processes` of a file of tests: two workers, also after a test that killed one."""
    processes.client.wait_for_workers(2, timeout=HANGS_S)
    return processes
