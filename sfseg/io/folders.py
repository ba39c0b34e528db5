"""Folders and patterns of images, in the order that a person expects."""

import re
from pathlib import Path

from sfseg.errors import StackError

_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_INSIDE = re.compile(r"(?P<file>.+\.(?:h5|hdf5?|zarr)):(?P<array>/?[^:]+)", re.IGNORECASE)
_STORE_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def list_files(source: str | Path) -> list[Path]:
    """List the files that a source stands for, 2 before 10.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.

    Returns
    -------
    list of Path
        The images of a folder or pattern. Broken links are among them, so that a missing section
        is an error later. For any other source, and a Zarr store, the source itself, even if it
        does not exist.

    Raises
    ------
    StackError
        If a folder holds, or a pattern matches, no file.
    """
    name, path = str(source), Path(source)
    if not is_many(path):
        return [path]
    found = _in_folder(path) if path.is_dir() else _matching(path, name)
    files = sorted((member for member in found if not member.is_dir()), key=_natural)
    if not files:
        raise StackError(
            f"{name}: there are no images here",
            hint=f"name files that end in {', '.join(_SUFFIXES)}",
        )
    return files


def is_many(path: Path) -> bool:
    """Tell whether it is a folder of images, or a pattern that is not itself the name of a file."""
    if path.is_dir():
        return not is_store(path)
    return not path.exists() and _is_pattern(str(path))


def is_store(path: Path) -> bool:
    """Tell whether a folder is a Zarr store, or a group or an array in one."""
    return path.is_dir() and (
        path.suffix.lower() == ".zarr" or any((path / mark).is_file() for mark in _STORE_MARKS)
    )


def container(source: str | Path) -> Path:
    """Return the file or store of a source: ``file.h5`` for ``file.h5:/path``."""
    return address(source)[0]


def address(source: str | Path) -> tuple[Path, str]:
    """Split a source into a file or store and the path of an array in it, or an empty text."""
    found = None if Path(source).exists() else _INSIDE.fullmatch(str(source))
    return (Path(source), "") if found is None else (Path(found["file"]), found["array"])


def _in_folder(folder: Path) -> list[Path]:
    """List the images of a folder."""
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    ]


def _matching(pattern: Path, name: str) -> list[Path]:
    """List the files that match a pattern."""
    top, wanted = Path(pattern.anchor), pattern.relative_to(pattern.anchor)
    try:
        if _is_pattern(wanted.name):
            return list(top.glob(str(wanted)))
        # glob leaves out a broken link if the last name has no wildcard
        named = [folder / wanted.name for folder in top.glob(str(wanted.parent))]
        return [path for path in named if path.exists() or path.is_symlink()]
    except ValueError as error:
        raise StackError(
            f"{name}: this is not a pattern of file names: {error}",
            hint="write it like raw/*.png",
        ) from error


def _is_pattern(text: str) -> bool:
    """Tell whether a text has a wildcard."""
    return any(c in text for c in "*?[")


def _natural(path: Path) -> tuple[list[str | int], str, str]:
    """Sort 2 before 10, and files of one name by their folders."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], path.name, str(path)
