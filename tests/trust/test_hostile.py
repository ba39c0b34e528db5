"""Samples of the rows that need processes of their own: see `tests.trust`."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_hosts_archives_and_weights_are_refused_and_killed_fetches_go_on():
    rows = ("hosts", "archives", "weights", "fetches")
    command = [sys.executable, "-m", "tests.trust", *rows, "--count", "4"]
    root = Path(__file__).parents[2]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("4 of 4") == len(rows)
