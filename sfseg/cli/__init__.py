"""The command line: parse, call, print. The only user of Typer and Rich."""

import io
import signal
import sys
from typing import Annotated

import typer

from sfseg import __version__
from sfseg.cli.bench import bench
from sfseg.cli.compare import compare
from sfseg.cli.console import Commands, exit_on_terminate
from sfseg.cli.fetch import fetch
from sfseg.cli.predict import predict
from sfseg.cli.score import score
from sfseg.cli.train import train

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"sfseg {__version__}")
        raise typer.Exit


@app.callback()
def sfseg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Membrane maps of electron-microscopy stacks: fetch, train, predict, score, compare, bench."""


for command in (fetch, train, predict, score, compare, bench):
    app.command()(command)


def main() -> None:
    """Run the command line; the entry point of the ``sfseg`` script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path may hold any bytes
    signal.signal(signal.SIGTERM, exit_on_terminate)
    app()
