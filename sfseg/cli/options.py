"""Options that several commands have in common, their groups, and what completes them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from sfseg.config import Precision
from sfseg.models import ARCHITECTURES
from sfseg.recipes import RECIPES

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
InvertOption = Annotated[
    bool,
    typer.Option(
        "--invert-image",
        help="Swap dark and bright, for images with bright membranes.",
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
