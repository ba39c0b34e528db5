"""Options that several commands have in common, their groups, and what completes them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from sfseg.config import Precision
from sfseg.models import ARCHITECTURES
from sfseg.recipes import RECIPES
from sfseg.types import LabelKind, Number, Rescale

INPUT = "Input"
OUTPUT = "Output"
NETWORK = "Network"
LEARNING = "Learning"
QUALITY = "Quality"
MACHINE = "Speed and memory"


def complete_datasets(incomplete: str) -> list[str]:
    """Name the datasets for the shell."""
    from sfseg.datasets.registry import DATASETS

    return _beginning(incomplete, DATASETS)


def complete_architectures(incomplete: str) -> list[str]:
    """Name the architectures for the shell."""
    return _beginning(incomplete, ARCHITECTURES)


def complete_architecture_lists(incomplete: str) -> list[str]:
    """Name the architectures that are not yet in a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    left = [name for name in ARCHITECTURES if name not in before.split(",")]
    return [f"{before}{comma}{name}" for name in _beginning(last, left)]


def complete_recipes(incomplete: str) -> list[str]:
    """Name the recipes for the shell."""
    return _beginning(incomplete, RECIPES)


def complete_models(incomplete: str) -> list[str]:
    """Name the shipped weights for the shell, which completes files by itself."""
    from sfseg.models.weights_files import shipped_weights

    return _beginning(incomplete, shipped_weights())


def complete_devices(incomplete: str) -> list[str]:
    """Name the devices for the shell."""
    return _beginning(incomplete, ("auto", "cpu", "cuda", "mps"))


def complete_engines(incomplete: str) -> list[str]:
    """Name the engines for the shell."""
    return _beginning(incomplete, ("torch", "openvino", "compile"))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        metavar="NAME",
        help="Where to compute: auto, cpu, cuda, cuda:N or mps. If the device is missing, stops "
        "with an error.",
        rich_help_panel=MACHINE,
        autocompletion=complete_devices,
    ),
]
DevicesOption = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        metavar="NAME",
        help="Where to compute: auto or cuda (all GPUs), cuda:N, cuda:0,1 (these two), cpu or mps. "
        "If a device is missing, stops with an error.",
        rich_help_panel=MACHINE,
        autocompletion=complete_devices,
    ),
]
TrainingPrecisionOption = Annotated[
    Precision,
    typer.Option(
        metavar="TYPE",
        help="Arithmetic: float32, bf16, or auto for bf16 where the hardware is fast at it.",
        rich_help_panel=MACHINE,
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network: steps are faster after a minute. Needs a C++ compiler.",
        rich_help_panel=MACHINE,
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        metavar="AXES",
        help="Order of the axes, for files that do not say it, e.g. ZYX.",
        rich_help_panel=INPUT,
    ),
]
LabelAxesOption = Annotated[
    str | None,
    typer.Option(
        metavar="AXES",
        help="Order of the axes of the labels. [default: that of --axes]",
        rich_help_panel=INPUT,
    ),
]
InvertOption = Annotated[
    bool,
    typer.Option(
        "--invert-image",
        help="Swap dark and bright, for images with bright membranes.",
        rich_help_panel=INPUT,
    ),
]


def parse_number(text: str) -> Number:
    """Read a whole or a real number."""
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r} is not a number.") from error


def parse_threshold(text: str) -> str | Number:
    """Read a number, or the word auto."""
    return "auto" if text == "auto" else parse_number(text)


MapMaxOption = Annotated[
    Any,
    typer.Option(
        metavar="VALUE",
        parser=parse_number,
        help="The value of the map that means 1, e.g. 100. [default: 1, and the type's "
        "maximum for integers]",
        rich_help_panel=INPUT,
    ),
]
LabelsAreOption = Annotated[
    LabelKind,
    typer.Option(
        metavar="KIND",
        help="What is not 0 in the labels: interior (of cells), membrane, or instances (a "
        "number for each cell).",
        rich_help_panel=INPUT,
    ),
]
MembraneValueOption = Annotated[
    Any,
    typer.Option(
        metavar="VALUE",
        parser=parse_number,
        help="The value of membrane in the labels; all others are inside cells. E.g. 1 for labels "
        "of ilastik.",
        rich_help_panel=INPUT,
    ),
]
ThresholdLabelsOption = Annotated[
    Any,
    typer.Option(
        metavar="VALUE",
        parser=parse_threshold,
        help="For labels that were saved as JPEG or resized: values above this count as one value, "
        "the others as 0. auto: the middle between the two most frequent values.",
        rich_help_panel=INPUT,
    ),
]
IgnoreOption = Annotated[
    Any,
    typer.Option(
        metavar="VALUE",
        parser=parse_number,
        help="The value of pixels that are not labelled: they are left out everywhere.",
        rich_help_panel=INPUT,
    ),
]
PixelSizeOption = Annotated[
    str | None,
    typer.Option(
        "--pixel-size",
        metavar="NM",
        help="Size of a pixel in nm, or Y,X, where the file does not say it or is wrong.",
        rich_help_panel=INPUT,
    ),
]
VoxelSizeOption = Annotated[
    str | None,
    typer.Option(
        "--voxel-size",
        metavar="Z,Y,X",
        help="Size of a voxel in nm, where the file does not say it or is wrong.",
        rich_help_panel=INPUT,
    ),
]
RescaleOption = Annotated[
    Rescale,
    typer.Option(
        metavar="MODE",
        help="auto resamples sections whose pixels differ by more than a fifth from those of the "
        "weights; none never does.",
        rich_help_panel=INPUT,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        help="Folder of fetched datasets. [default: the variable SFSEG_CACHE, else the user's "
        "cache]",
        rich_help_panel=INPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=OUTPUT),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=OUTPUT),
]
