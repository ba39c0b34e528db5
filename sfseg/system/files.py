"""Files and folders that are either whole or not there.

Whatever sfseg writes is written to ``<name>.part`` in the same folder, flushed to the disk,
renamed, and the folder flushed as well, so that neither a crash nor a power cut leaves half a
file under the final name.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from sfseg.errors import OutputError, OutputExistsError, SfsegError

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files one of which every Zarr store has, of version 3 or 2."""

_NAME_BYTES = 255
"""Of a name in a folder; file systems that take less say so when it is written."""

_LONGEST_SUFFIX = ".part.manifest.part"
"""Of what is written beside an output while it is made."""


def cache_folder() -> Path:
    """Return the folder of all that can be made again: ``SFSEG_CACHE``, or the user's cache."""
    chosen = os.environ.get("SFSEG_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("sfseg")


def sibling(path: Path, suffix: str) -> Path:
    """Return the path of the same name with a dot and `suffix` added to it."""
    return path.with_name(f"{path.name}.{suffix}")


@contextlib.contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Say in the words of sfseg why a path cannot be written.

    Parameters
    ----------
    path : Path
        What the block writes, or the folder that it writes to.

    Raises
    ------
    OutputError
        For an OSError of the block about the path, what lies beside or in it, or a folder above; or
        one that names no file. Others, and those that are told already, are raised as they are.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, SfsegError) or error.errno is None or not _concerns(error, path):
            raise
        raise OutputError.from_oserror(path, error) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about a path."""
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return not named or any(
        Path(name).is_relative_to(path)
        or name.startswith(f"{path}.")  # what comes and goes beside it
        or path.is_relative_to(name)
        for name in named
    )


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse an output path that is taken, or whose name leaves no room for ``.part`` and the like.

    A name that ends in .zarr is that of a Zarr store, which is a folder; any other that of a file.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False; or if it is a folder, unless the folder and the
        name are those of a Zarr store.
    OutputError
        If the name is too long, or the system cannot tell whether the path is taken.
    """
    most = _NAME_BYTES - len(_LONGEST_SUFFIX)
    if (length := len(os.fsencode(path.name))) > most:
        raise OutputError(
            f"{path}: expected a name of at most {most} bytes, found {length}",
            hint=f"give a shorter name: while it is made, names as <name>{_LONGEST_SUFFIX} are "
            "written beside it",
        )
    with explain_errors(path):
        _refuse_taken(path, overwrite=overwrite)


def _refuse_taken(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that is taken."""
    is_store = path.suffix.lower() == ".zarr"
    if path.is_dir() and not is_store:
        raise OutputExistsError(
            f"{path}: expected the name of a file, found a folder",
            hint=f"name a file in it: {path / 'name.tif'}",
        )
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path}: expected no {'store' if is_store else 'file'} yet, found one",
            hint="give another name, or --overwrite to replace it",
        )
    if is_store and path.exists() and not any((path / mark).is_file() for mark in _ZARR_MARKS):
        raise OutputExistsError(
            f"{path}: expected a Zarr store to replace, found something else of that name",
            hint="give another name, or look what it is and remove it",
        )


def refuse_file(folder: Path) -> None:
    """Refuse a file where a folder is to be.

    Raises
    ------
    OutputExistsError
        If `folder` is a file.
    OutputError
        If the system cannot tell.
    """
    with explain_errors(folder):
        is_file = folder.is_file()
    if is_file:
        raise OutputExistsError(
            f"{folder}: expected a folder, found a file", hint="--out names another folder"
        )


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps their entries without being asked
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Flush a file, or a folder and all that is in it, to the disk."""
    for inner in path.rglob("*"):
        sync(inner)
    sync(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder and all that is in it; none is fine too."""
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except OSError as error:
            error.filename = str(path)  # of what is in it only the last name is told
            raise
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def ensure_parent(path: Path) -> Iterator[None]:
    """Make the folder of `path`; when the block raises, remove what was made and is empty."""
    new = [folder for folder in path.parents if not folder.exists()]  # the innermost first
    try:
        with explain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # something may have come into it
            for folder in new:
                folder.rmdir()
        raise


def publish(part: Path, path: Path, *, overwrite: bool) -> None:
    """Give what is whole and flushed its final name.

    Parameters
    ----------
    part : Path
        ``<path>.part``, a file or a folder.
    path : Path
        The final name. An existing folder, which no rename replaces, is for a moment
        ``<path>.part.old``; see `recover`.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    OutputExistsError
        If the path is taken and may not be replaced.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        if path.is_dir():
            path.rename(sibling(part, "old"))
        part.replace(path)
        sync(path.parent)
    finally:
        recover(path)


def recover(path: Path) -> None:
    """Complete the replacement of a folder if the new one is in place, else take it back."""
    old = sibling(path, "part.old")
    if path.exists():
        remove(old)
    elif old.exists():
        old.rename(path)


@contextlib.contextmanager
def atomic_path(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends well.

    Parameters
    ----------
    path : Path
        The final path. Its folder is made if it is missing.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        ``<name>.part`` in the same folder, to be written to. It is gone after the block: renamed
        when the block ended well, deleted when it raised.

    Raises
    ------
    OutputExistsError
        If the path is taken and may not be replaced.
    OutputError
        If it cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    part = sibling(path, "part")
    with explain_errors(path), ensure_parent(path):
        remove(part)  # of a run that was killed
        try:
            yield part
            sync_tree(part)
            publish(part, path, overwrite=overwrite)  # something may have come in the meantime
        except BaseException:
            with contextlib.suppress(OSError):  # the error that is under way tells more
                remove(part)
            raise


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; see `atomic_path` for what it raises."""
    with atomic_path(path, overwrite=overwrite) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all; see `atomic_path`."""
    write_bytes(path, text.encode(), overwrite=overwrite)
