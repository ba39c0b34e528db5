"""Folders and patterns of images, in the order that a person expects."""

import re
from collections.abc import Sequence
from pathlib import Path

from sfseg.errors import StackError
from sfseg.io.numbering import in_order
from sfseg.system.files import ZARR_MARKS
from sfseg.system.remote import RemotePath, as_location

_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_MORE_SUFFIXES = (".mrc", ".rec", ".map", ".npy", ".nrrd", ".dm3", ".dm4")
"""Images of a folder that holds none of `_SUFFIXES`."""

_INSIDE = re.compile(r"(?P<file>.+\.(?:h5|hdf5?|zarr|n5)):(?P<array>/?[^:]+)", re.IGNORECASE)
_INSIDE_HDF5 = re.compile(r"(?P<file>.+?\.(?:h5|hdf5?))/(?P<array>.+)", re.IGNORECASE)
_METADATA_BYTES = 2**16


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
    name, path = str(source), as_location(source)
    if not is_many(path):
        return [path]
    found = _in_folder(path) if path.is_dir() else _matching(path, name)
    files = in_order([member for member in found if not member.is_dir()])
    if not files:
        raise StackError(
            f"{name}: there are no images here",
            hint=f"name files that end in {', '.join(_SUFFIXES)}",
        )
    return files


def is_many(path: Path) -> bool:
    """Tell whether it is a folder of images, or a pattern that is not itself the name of a file."""
    if isinstance(path, RemotePath):
        return False
    if path.is_dir():
        return not is_store(path)
    return not path.exists() and bool(_split(path)[1])


def is_store(path: Path) -> bool:
    """Tell whether a folder is a store of chunks, or a group or an array in one."""
    return bool(store_kind(path))


def store_kind(path: Path) -> str:
    """Return what kind of store a folder is: zarr, n5, precomputed; empty where it is none.

    The files of metadata of the last two have common names, so what they hold counts. An address
    is that of a Zarr store, or of nothing.
    """
    if isinstance(path, RemotePath):
        return "zarr"
    if not path.is_dir():
        return ""
    for kind in ("zarr", "n5"):
        if path.suffix.lower() == f".{kind}":
            return kind
    if any((path / mark).is_file() for mark in ZARR_MARKS):
        return "zarr"
    marks = (
        ("n5", "attributes.json", b'"dimensions"'),
        ("n5", "attributes.json", b'"n5"'),
        ("precomputed", "info", b'"scales"'),
    )
    return next((kind for kind, name, key in marks if key in first_bytes(path / name)), "")


def first_bytes(path: Path) -> bytes:
    """Read the first bytes of a file of metadata; none where it cannot be read."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_METADATA_BYTES)


def is_junk(name: str) -> bool:
    """Tell whether a system made a file or folder beside the images: ._a.tif, Thumbs.db."""
    return name.startswith(".") or name.casefold() in _JUNK


def container(source: str | Path) -> Path:
    """Return the file or store of a source: ``file.h5`` for ``file.h5:/path``."""
    return address(source)[0]


def address(source: str | Path) -> tuple[Path, str]:
    """Split a source into a file or store and the path of an array in it, or an empty text."""
    path = as_location(source)
    if path.exists():
        return path, ""
    found = _INSIDE.fullmatch(str(path))
    if isinstance(path, RemotePath):
        return (as_location(found["file"]), found["array"]) if found else (path, "")
    if found is None:
        found = _INSIDE_HDF5.fullmatch(path.as_posix())
        if found is None or Path(found["file"]).is_dir():  # a folder of that name
            return path, ""
    return Path(found["file"]), found["array"]


def _in_folder(folder: Path) -> list[Path]:
    """List the images of a folder."""
    files = [path for path in folder.iterdir() if not is_junk(path.name)]
    usual = [path for path in files if path.suffix.lower() in _SUFFIXES]
    return usual or [path for path in files if path.suffix.lower() in _MORE_SUFFIXES]


def _matching(path: Path, name: str) -> list[Path]:
    """List the files that match a pattern, without hidden ones that it does not name."""
    try:
        return _glob(*_split(path))
    except ValueError as error:
        raise StackError(
            f"{name}: this is not a pattern of file names: {error}",
            hint="write it like raw/*.png",
        ) from error


def _glob(top: Path, parts: Sequence[str]) -> list[Path]:
    """List the files below a folder that match the parts of a pattern, or raise ValueError."""
    if any("**" in part and part != "**" for part in parts):
        raise ValueError("** stands alone, for folders")  # from Python 3.13 on, glob takes it for *
    wanted = Path(*parts)
    if _is_pattern(wanted.name):
        found = list(top.glob(str(wanted)))
    else:
        # glob leaves out a broken link if the last name has no wildcard
        named = [folder / wanted.name for folder in top.glob(str(wanted.parent))]
        found = [path for path in named if path.exists() or path.is_symlink()]
    return [path for path in found if not _is_hidden(path.relative_to(top), parts)]


def _is_hidden(path: Path, wanted: Sequence[str]) -> bool:
    """Tell whether a part of a path is hidden, unless the pattern has it, or a dot there."""
    asked = any(part.startswith(".") for part in wanted)
    return any(is_junk(part) and part not in wanted and not asked for part in path.parts)


def _split(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Split a path into a folder that exists as written, and a pattern; empty without wildcards.

    So brackets in the name of a folder are brackets.
    """
    top, parts = Path(path.anchor), path.relative_to(path.anchor).parts
    for number, part in enumerate(parts):
        if _is_pattern(part) and not (top / part).exists():
            return top, parts[number:]
        top /= part
    return top, ()


def _is_pattern(text: str) -> bool:
    """Tell whether a text has a wildcard."""
    return any(c in text for c in "*?[")
