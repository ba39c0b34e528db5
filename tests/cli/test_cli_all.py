"""What all commands share: the help, the version, exit codes of wrong options."""

import subprocess
import sys

from sfseg import __version__
from tests.cli.commands import sfseg


def test_help_lists_the_commands():
    result = sfseg("--help")
    assert result.exit_code == 0
    for command in ("fetch", "train", "predict", "score", "compare", "bench"):
        assert command in result.stdout


def test_version_is_printed():
    assert sfseg("--version").stdout == f"sfseg {__version__}\n"


def test_an_unknown_option_is_a_usage_error():
    assert sfseg("score", "--nonsense").exit_code == 2


def test_the_module_runs_as_well():
    result = subprocess.run(
        [sys.executable, "-m", "sfseg", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"sfseg {__version__}\n"
