"""The command line: parse, call, print. The only user of Typer and Rich."""

import codecs
import io
import os
import sys
import warnings
from typing import Annotated

import typer

from sfseg import __version__
from sfseg.cli import bench, compare, fetch, measure, predict, score, segment, train, view
from sfseg.cli.console import encode_as_names, show_warning, unwind_on_signals
from sfseg.cli.failures import Commands
from sfseg.cli.help import Command
from sfseg.system.limits import limit_threads

EXAMPLES = """
sfseg predict stack.tif -o map.tif      map of your own stack
sfseg fetch tissue                      a small dataset, made on this machine
sfseg train --dataset tissue            train a network on it
sfseg predict --help                    all options of a command
"""

app = typer.Typer(
    cls=Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"sfseg {__version__}")
        raise typer.Exit


@app.callback(epilog=EXAMPLES)
def sfseg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Membrane maps of electron-microscopy stacks."""


for command, examples in (
    (fetch.fetch, fetch.EXAMPLES),
    (train.train, train.EXAMPLES),
    (predict.predict, predict.EXAMPLES),
    (segment.segment, segment.EXAMPLES),
    (view.view, view.EXAMPLES),
    (score.score, score.EXAMPLES),
    (measure.measure, measure.EXAMPLES),
    (compare.compare, compare.EXAMPLES),
    (bench.bench, bench.EXAMPLES),
):
    app.command(cls=Command, epilog=examples)(command)


def main() -> None:
    """Run the command line; the entry point of the ``sfseg`` script."""
    open_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("names", encode_as_names)
        sys.stdout.reconfigure(errors="names")
    unwind_on_signals()
    warnings.showwarning = show_warning
    limit_threads()
    app()


def open_missing_streams() -> None:
    """Open standard streams that are closed, to nowhere: else an output file takes their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
