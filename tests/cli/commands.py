"""Run a command of sfseg in this process, as a person would from a shell."""

from typer.testing import CliRunner

from sfseg.cli import app

TINY = ("--epochs", 1, "--patch", 32, "--batch-size", 12, "--precision", "float32")
"""Options of a training that takes a second."""

FAST = ("--engine", "torch", "--precision", "float32")
"""Options of a prediction that tries no engine first."""


def sfseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(*arguments, code=1):
    """Run a command that must fail with a message and a hint, and give the message."""
    result = sfseg(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    error = result.stderr[result.stderr.index("error: ") :]
    assert "\nhint: " in error
    assert "Traceback" not in error
    return error
