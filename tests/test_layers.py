"""Imports point down only: a table of layers, and what each room may use."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sfseg

ROOT = Path(sfseg.__file__).parent
LAYERS = {
    8: {"__main__"},
    7: {"cli", "napari_plugin"},
    6: {"comparison", "benchmark"},
    5: {"training", "cluster"},
    4: {"prediction"},
    3: {"report"},
    2: {"scoring", "datasets", "segmentation"},
    1: {"io", "models", "transforms"},
    0: {"system"},
    -1: {"config"},
    -2: {"recipes", "identity"},
    -3: {"types"},
    -4: {"errors"},
}
"""A room imports from lower layers only, never sideways; the root is imported by nobody."""

LAYER_OF = {room: layer for layer, rooms in LAYERS.items() for room in rooms}
ONLY_IN = {
    "cli": {"typer", "rich"},
    "napari_plugin": {"magicgui", "napari", "qtpy"},
    "cluster": {"distributed"},
    "io": {"tifffile", "imageio", "h5py", "PIL", "zarr", "obstore"},
}
"""Packages that only one room imports."""


def modules() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Give the full name of every import of a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "sfseg":
            yield from (f"sfseg.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_room_has_a_layer():
    assert {room_of(path) for path in modules()} == LAYER_OF.keys()


def test_imports_point_down_only():
    wrong = set()
    for path in modules():
        here = room_of(path)
        for name in imported(path):
            there = name.split(".")[1] if name.startswith("sfseg.") else None
            if there in (None, here, "__version__"):
                continue
            if there not in LAYER_OF or LAYER_OF[there] >= LAYER_OF[here]:
                wrong.add((str(path.relative_to(ROOT)), name))
    assert wrong == set()


def test_some_packages_are_imported_in_one_room_only():
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path in modules()
        for room, packages in ONLY_IN.items()
        for name in imported(path)
        if name.split(".")[0] in packages and room_of(path) != room
    }
    assert wrong == set()


def test_the_root_of_the_package_has_at_most_eight_modules():
    assert len(list(ROOT.glob("*.py"))) <= 8


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import sfseg", {"numpy", "torch", "typer", "rich"}),
        (
            "import sfseg.cli",
            {"torch", "numba", "scipy", "skimage", "matplotlib", "tifffile", "requests", "imageio"},
        ),
        ("import sfseg.prediction.predict", {"numba", "matplotlib", "requests", "zarr", "jinja2"}),
    ],
)
def test_importing_it_leaves_the_heavy_packages_out(statement, heavy):
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy.isdisjoint(loaded)
