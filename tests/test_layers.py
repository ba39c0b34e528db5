"""Imports point down only: cli > verbs > parts > leaves."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import sfseg

ROOT = Path(sfseg.__file__).parent
VERBS = {"bench", "compare", "fetch", "predict", "score", "train"}
LEAVES = {"errors", "terms", "config", "recipes"}
SIDEWAYS = {
    ("train", "fetch"),  # a training by a dataset's name fetches it
    ("bench", "predict"),  # what is measured is what the user runs
    ("bench", "train"),
    ("compare", "fetch"),  # and what is compared is what the user trains, predicts and scores
    ("compare", "train"),
    ("compare", "predict"),
    ("compare", "score"),
}


def room(module: str) -> str:
    """Shorten sfseg.io.tiff.reader to images, sfseg.io.open to io."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def level(name: str) -> int:
    return 3 if name in {"cli", "__main__"} else 2 if name in VERBS else 0 if name in LEAVES else 1


def imports() -> set[tuple[str, str]]:
    """Return (from, to) for every import of sfseg in sfseg, those inside functions included."""
    found = set()
    for path in ROOT.rglob("*.py"):
        here = room(".".join(["sfseg", *path.relative_to(ROOT).with_suffix("").parts]))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "sfseg":
                names = [f"sfseg.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                continue
            found |= {(here, room(name)) for name in names if name.split(".")[0] == "sfseg"}
    # `from sfseg import __version__` names no room
    return {(a, b) for a, b in found if a != b and not b.startswith("__")}


def test_imports_point_down_only():
    wrong = {
        (a, b)
        for a, b in imports() - SIDEWAYS
        if level(a) < level(b) or (level(a) == level(b) == 2)
    }
    assert wrong == set()


def test_no_import_goes_round_in_a_circle():
    graph: dict[str, set[str]] = {}
    for a, b in imports():
        graph.setdefault(a, set()).add(b)
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_only_the_command_line_uses_typer_and_rich():
    for path in ROOT.rglob("*.py"):
        if "cli" not in path.relative_to(ROOT).parts:
            names = {name.split(".")[0] for name in imported_names(path.read_text())}
            assert names.isdisjoint({"typer", "rich"}), path


def imported_names(text: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_only_the_door_opens_image_files():
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] != "images":
            names = {name.split(".")[0] for name in imported_names(path.read_text())}
            assert names.isdisjoint({"tifffile", "imageio", "h5py", "PIL", "zarr"}), path


def test_the_map_of_the_house_names_every_room():
    rooms = {p.stem for p in ROOT.glob("[a-z]*.py")} | {p.parent.name for p in ROOT.glob("*/*.py")}
    assert [name for name in sorted(rooms - {"sfseg"}) if name not in sfseg.__doc__] == []


def test_the_command_line_starts_without_the_heavy_packages():
    code = "import sys, sfseg.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "numba", "scipy", "skimage", "matplotlib", "tifffile", "requests", "imageio"}
    assert heavy.isdisjoint(loaded)


def test_importing_sfseg_imports_nothing_else():
    code = "import sys, sfseg; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in loaded if name.split(".")[0] in {"numpy", "torch", "typer"}] == []
