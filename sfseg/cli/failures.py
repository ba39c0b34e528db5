"""Errors to messages and exit codes: one grammar, ``error:`` and ``hint:``, for all of them."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import typer

from sfseg.cli import completion
from sfseg.cli.console import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    say,
    say_error,
    write_to_stderr,
)
from sfseg.cli.help import Group
from sfseg.cli.usage import in_our_words
from sfseg.errors import OptionError, OutputError, SfsegError, UnknownNameError

TRACEBACK = "SFSEG_TRACEBACK"
"""Environment variable that shows the traceback of an error of the system or of a package."""


SHOW_TRACEBACK = f"{TRACEBACK}=1 in the environment shows where it failed"

_LONGEST = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # numba writes its errors in colour


class Commands(Group):
    """The commands, and the one place that turns errors into messages and exit codes."""

    def main(self, args: Any = None, **settings: Any) -> Any:  # type: ignore[override]
        """Run a command and leave with its exit code."""
        args = sys.argv[1:] if args is None else list(args)
        settings["standalone_mode"] = False  # else Typer would print errors and leave
        try:
            if completion.is_asked(args):
                completion.require_shell()
                settings["prog_name"] = completion.PROGRAM
            code = super().main(args or ["--help"], **settings)
        except OptionError as error:  # of the program; those of a command are caught below
            say_error(error)
            code = EXIT_USAGE
        except OutputError as error:  # of the help or the version
            say_error(error)
            code = EXIT_ERROR
        except OSError as error:  # of the completion
            say_error(OutputError.from_oserror(error.filename or "completion", error))
            code = EXIT_ERROR
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        try:
            with in_our_words(ctx, ()):
                super().invoke(ctx)
        except typer.Exit:
            raise
        except SfsegError as error:
            say_error(error)
            is_usage = isinstance(error, OptionError | UnknownNameError)
            raise typer.Exit(EXIT_USAGE if is_usage else EXIT_ERROR) from error
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            if os.environ.get(TRACEBACK) or not say_unexpected(error):
                raise
            raise typer.Exit(EXIT_ERROR) from error


def say_unexpected(error: Exception) -> bool:
    """Print an error of the system or of a package of others; False for a bug of sfseg."""
    package = find_package(error)
    if isinstance(error, OSError) and error.filename is not None:
        say_error(error)
        return True
    if package is None and not isinstance(error, OSError):
        return False
    text = f"{package}: {first_line(error)}" if package else first_line(error)
    notes = getattr(error, "__notes__", ())
    write_to_stderr("\n".join([f"error: {text}", *notes, f"hint: {SHOW_TRACEBACK}"]))
    return True


def find_package(error: BaseException) -> str | None:
    """Name the package of others in which an error arose; None where it is a bug of sfseg."""
    own: str = type(error).__module__.partition(".")[0]
    names = [own, *(name for name in reversed(list(_packages(error))))]
    for name in names:
        if name == "sfseg":
            return None
        if name and name not in sys.stdlib_module_names:
            return name
    return None


def _packages(error: BaseException) -> Iterator[str]:
    """Yield the package of each frame between the command and the error, the innermost last."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield str(frame.f_globals.get("__name__", "")).partition(".")[0]


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, after the name of its kind."""
    text = _COLOURS.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told, name = " ".join(lines[:1])[:_LONGEST], type(error).__name__
    return told if told.startswith(name) else f"{name}: {told}" if told else name
