"""`sfseg fetch`: datasets by name, verified."""

from pathlib import Path
from typing import Annotated

import typer

from sfseg.cli.console import EXIT_USAGE, print_result, progress, say
from sfseg.errors import OptionError


def fetch(
    dataset: Annotated[
        str | None, typer.Argument(help="isbi2012, piriform, vnc, snemi3d, cremi or tissue.")
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List the datasets, and which are here.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Take it from this file, folder or https address instead."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder of datasets. [default: SFSEG_CACHE, or the cache]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read a fetched dataset through and compare hashes.")
    ] = False,
) -> None:
    """Fetch a dataset, verified, and print its folder.

    `tissue` is synthetic and needs no network. What is here already is not fetched again.
    """
    from sfseg.datasets import fetch as verb

    if source is not None and (verify or show_list):
        raise OptionError(
            "--from: expected a dataset to fetch with it, found --verify or --list",
            hint="fetch first, then --verify",
        )
    if show_list:
        print_result(format_list(to))
    elif dataset is None:
        say("error: expected the name of a dataset, found none\nhint: sfseg fetch --list")
        raise typer.Exit(EXIT_USAGE)
    elif verify:
        for record in verb.verify(dataset, to=to):
            say(f"{record.name}: {record.size_bytes:,} bytes, as expected")
        print_result(verb.dataset_folder(dataset, to=to))
    else:
        with progress("fetching") as bar:
            folder = verb.fetch(
                dataset,
                to=to,
                source=source,
                report=say,
                progress=lambda name, done, total: bar.update(
                    done, total, f"{name} {done / 1e6:.1f} MB"
                ),
            )
        print_result(folder)


def format_list(to: Path | None) -> str:
    """Lay the datasets out for a person."""
    from sfseg.datasets.fetch import listing

    lines = [f"{'name':10}{'size':>9}  {'here':6}title"]
    for entry in listing(to=to):
        dataset = entry.dataset
        size = f"{dataset.size_bytes / 1e6:.0f} MB"
        here = "yes" if entry.is_here else "no"
        lines.append(f"{dataset.name:10}{size:>9}  {here:6}{dataset.title}")
        lines.append(f"{'':27}licence: {dataset.licence}")
    return "\n".join(lines)
