"""`sfseg fetch`: datasets by name, verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfseg.cli.checks import require_dataset, require_parent_of_data_dir
from sfseg.cli.console import print_result, say
from sfseg.cli.options import complete_datasets
from sfseg.cli.progress import progress
from sfseg.errors import OptionError

if TYPE_CHECKING:
    from sfseg.datasets.dataset import Dataset

TISSUE = "tissue"
"""The dataset that is drawn."""

DRAWING = "Tissue"
"""The group of the options that say how."""

_SHAPE, _FIELDS = ("sections", "size"), {"shift": "shift_px"}
"""Options that make the shape, and those whose field of `TissueOptions` has another name."""

_SMALLEST_PX = 64
"""Smaller sections hold hardly a cell."""

EXAMPLES = """
sfseg fetch --list                      what there is, and what is here
sfseg fetch isbi2012                    download into the user's cache
sfseg fetch isbi2012 --from ~/Downloads/ISBI-2012-challenge.zip
sfseg fetch tissue --seed 5 --shift 4   drawn here, with shifted sections
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
    sections: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Sections. [default: 12]", rich_help_panel=DRAWING),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=_SMALLEST_PX,
            help="Rows and columns of a section. [default: 256]",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Another seed gives other cells. [default: 0]",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            min=0,
            help="Strength of the grain; 1 is that of isbi2012. [default: 1]",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    shift: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=0,
            help="Displace each section by up to this many pixels along y and x. [default: 0]",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    missing: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Sections that are lost: black, with labels of 0. [default: 0]",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    branches: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Places where a cell forks or joins. [default: 0]",
            rich_help_panel=DRAWING,
        ),
    ] = None,
) -> None:
    """Fetch a dataset by name, verify it, and print its folder.

    `tissue` is made on this machine and needs no network. A dataset that is here is not fetched
    again. `sfseg train` and `sfseg compare` find it with the same --data-dir.
    """
    drawn: dict[str, Any] = {
        "sections": sections,
        "size": size,
        "seed": seed,
        "noise": noise,
        "shift": shift,
        "missing": missing,
        "branches": branches,
    }
    if source is not None and (verify or show_list):
        raise OptionError(
            "--from only works when a dataset is fetched, not with --verify or --list",
            hint="fetch first, then --verify",
        )
    if dataset is None and not show_list:
        raise OptionError("the name of a dataset is missing", hint="sfseg fetch --list")
    if dataset is not None:
        require_dataset(dataset)
    wanted = resolve(dataset, {name: value for name, value in drawn.items() if value is not None})
    require_parent_of_data_dir(data_dir)
    from sfseg.datasets import fetch as verb

    if show_list:
        say(f"looked in {verb.data_folder(data_dir)}")
        print_result(format_list(data_dir))
    elif wanted is None:
        return
    elif verify:
        folder = verb.dataset_folder(wanted, to=data_dir)
        say(f"reading {folder}")
        with progress(f"verifying {dataset}") as bar:
            records = verb.verify(
                wanted,
                to=data_dir,
                progress=lambda name, done, total: bar.update(done, total, f"verifying {name}"),
            )
        for record in records:
            say(f"{record.name}: {record.size_bytes:,} bytes, verified")
        print_result(folder)
    else:
        with progress(f"fetching {dataset}") as bar:
            folder = verb.fetch(
                wanted,
                to=data_dir,
                source=source,
                say=say,
                progress=lambda name, done, total: bar.update(
                    done, total, f"{name} {done / 1e6:.1f} MB"
                ),
            )
        print_result(folder)


def resolve(name: str | None, drawn: dict[str, Any]) -> "str | Dataset | None":
    """Return the dataset of a name; with options that draw it, the tissue of these options.

    Raises
    ------
    OptionError
        If the dataset is not drawn, or an option is out of range.
    """
    if not drawn:
        return name
    first, value = next(iter(drawn.items()))
    if name != TISSUE:
        is_not = "no dataset is" if name is None else f"{name} is not"
        raise OptionError(
            f"--{first}: only the dataset {TISSUE} is drawn, {is_not}",
            hint=f"leave it out, or: sfseg fetch {TISSUE} --{first} {value}",
        )
    from sfseg.datasets.registry import tissue_dataset
    from sfseg.datasets.tissue import TissueOptions

    depth, side, _ = TissueOptions.shape
    side = drawn.get("size", side)
    others = {_FIELDS.get(name, name): value for name, value in drawn.items() if name not in _SHAPE}
    return tissue_dataset(TissueOptions((drawn.get("sections", depth), side, side), **others))


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
