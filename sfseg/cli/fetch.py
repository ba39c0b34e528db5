"""`sfseg fetch`: datasets by name, verified."""

from pathlib import Path
from typing import Annotated

import typer

from sfseg.cli.checks import require_dataset, require_parent_of_data_dir
from sfseg.cli.console import print_result, say
from sfseg.cli.options import complete_datasets
from sfseg.cli.progress import progress
from sfseg.errors import OptionError

EXAMPLES = """
sfseg fetch --list                      what there is, and what is here
sfseg fetch isbi2012                    download into the user's cache
sfseg fetch isbi2012 --data-dir data    download into the folder data
sfseg fetch isbi2012 --from ~/Downloads/ISBI-2012-challenge.zip
"""


def fetch(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="isbi2012, piriform, vnc, snemi3d, cremi or tissue.",
            autocompletion=complete_datasets,
        ),
    ] = None,
    show_list: Annotated[
        bool,
        typer.Option(
            "--list", help="List the datasets, and which are here.", rich_help_panel="What to do"
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read a fetched dataset and compare it with its hashes.",
            rich_help_panel="What to do",
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Take the dataset from this file, folder or https address.",
            rich_help_panel="Where",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            "--to",
            metavar="FOLDER",
            help="Folder of datasets; each has a folder of its name in it. [default: the variable "
            "SFSEG_CACHE, else the user's cache]",
            rich_help_panel="Where",
        ),
    ] = None,
) -> None:
    """Fetch a dataset by name, verify it, and print its folder.

    `tissue` is made on this machine and needs no network. A dataset that is here is not fetched
    again. `sfseg train` and `sfseg compare` find it with the same --data-dir.
    """
    if source is not None and (verify or show_list):
        raise OptionError(
            "--from only works when a dataset is fetched, not with --verify or --list",
            hint="fetch first, then --verify",
        )
    if dataset is None and not show_list:
        raise OptionError("the name of a dataset is missing", hint="sfseg fetch --list")
    if dataset is not None:
        require_dataset(dataset)
    require_parent_of_data_dir(data_dir)
    from sfseg.datasets import fetch as verb

    if show_list:
        say(f"looked in {verb.data_folder(data_dir)}")
        print_result(format_list(data_dir))
    elif dataset is None:
        return
    elif verify:
        folder = verb.dataset_folder(dataset, to=data_dir)
        say(f"reading {folder}")
        with progress(f"verifying {dataset}") as bar:
            records = verb.verify(
                dataset,
                to=data_dir,
                progress=lambda name, done, total: bar.update(done, total, f"verifying {name}"),
            )
        for record in records:
            say(f"{record.name}: {record.size_bytes:,} bytes, verified")
        print_result(folder)
    else:
        with progress(f"fetching {dataset}") as bar:
            folder = verb.fetch(
                dataset,
                to=data_dir,
                source=source,
                say=say,
                progress=lambda name, done, total: bar.update(
                    done, total, f"{name} {done / 1e6:.1f} MB"
                ),
            )
        print_result(folder)


def format_list(data_dir: Path | None) -> str:
    """Lay the datasets out for a person."""
    from sfseg.datasets.fetch import list_datasets

    lines = [f"{'name':10}{'size':>9}  {'here':6}title"]
    for entry in list_datasets(to=data_dir):
        dataset = entry.dataset
        size = f"{dataset.size_bytes / 1e6:.0f} MB"
        here = "yes" if entry.is_here else "no"
        lines.append(f"{dataset.name:10}{size:>9}  {here:6}{dataset.title}")
        lines.append(f"{'':27}licence: {dataset.licence}")
    return "\n".join(lines)
