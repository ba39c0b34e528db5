"""Write files and folders whole or not at all.

Everything that sfseg writes goes to ``<name>.part`` in the same folder first. That is flushed to
the disk and renamed, and then the folder is flushed. So neither a crash nor a power cut leaves
half a file under the final name.
"""

import contextlib
import errno
import json
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from sfseg.errors import OutputError, OutputExistsError, SfsegError
from sfseg.system.remote import as_location, is_remote

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Every Zarr store, of version 2 or 3, has at least one of these files."""

_NAME_BYTES = 255
"""Longest name in a folder; file systems with a lower limit refuse the name when it is used."""

TAKEN = "choose another name, or --overwrite to replace it"

_LONGEST_SUFFIX = ".part.manifest.part"
"""Longest suffix of the files that lie beside an unfinished output."""

_JSON_LEVELS = 32
"""Deepest JSON that is read; a record has six levels."""

_FOLDERS_NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}
"""What file systems of clusters answer that flush files, but no folders."""


def cache_folder() -> Path:
    """Return the cache: the folder in ``SFSEG_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("SFSEG_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("sfseg")


def suggest_quotes(names: Sequence[str]) -> str | None:
    """Say how to quote the patterns that a shell replaced by the names of files.

    Parameters
    ----------
    names : sequence of str
        Some or all of the files, and other arguments.

    Returns
    -------
    str or None
        A hint; None if there is no file among them.
    """
    stems: dict[tuple[Path, str], list[str]] = {}
    for path in map(Path, names):
        if path.is_file():
            stems.setdefault((path.parent, path.suffix), []).append(path.stem)
    patterns = [
        shlex.quote(str(folder / f"{_common_start(found)}*{suffix}"))
        for (folder, suffix), found in stems.items()
    ]
    return f"put quotes around a pattern: {' and '.join(patterns)}" if patterns else None


def _common_start(stems: Sequence[str]) -> str:
    """Return what several names begin with, up to their numbers."""
    if len(stems) == 1:
        return ""
    length = next(
        (i for i, letters in enumerate(zip(*stems, strict=False)) if len(set(letters)) > 1),
        min(map(len, stems)),
    )
    return stems[0][:length].rstrip("0123456789")


def sibling(path: Path, suffix: str) -> Path:
    """Return `path` with a dot and `suffix` appended to its name."""
    return path.with_name(f"{path.name}.{suffix}")


@contextlib.contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError with a hint.

    Parameters
    ----------
    path : Path
        What the block writes, or the folder that it writes to.

    Raises
    ------
    OutputError
        For an OSError about the path, something beside or in it, or a folder above it; or one that
        names no file. Other errors, and those of sfseg, pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, SfsegError) or error.errno is None or not _concerns(error, path):
            raise
        raise OutputError.from_oserror(path, error) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Tell whether an error is about a path, or names no file."""
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return not named or any(
        Path(name).is_relative_to(path)
        or name.startswith(f"{path}.")  # .part and the like
        or path.is_relative_to(name)
        for name in named
    )


def check_output_path(path: Path, *, overwrite: bool, hint: str | None = None) -> None:
    """Refuse an output path that exists, or whose name is too long to add ``.part`` and the like.

    A name that ends in .zarr means a Zarr store, which is a folder; every other name means a file.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False; or if it is a folder, but not a Zarr store with
        the name of one.
    OutputError
        If the name is too long, or the system cannot tell whether the path exists; or if it is an
        address.
    """
    refuse_remote_output(path)
    most = _NAME_BYTES - len(_LONGEST_SUFFIX)
    if (length := len(os.fsencode(path.name))) > most:
        raise OutputError(
            f"{path}: the name is too long: {length} bytes, at most {most} are possible",
            hint=f"choose a shorter name: sfseg appends up to {len(_LONGEST_SUFFIX)} bytes to it, "
            f"as in <name>{_LONGEST_SUFFIX}",
        )
    with explain_errors(path):
        _refuse_taken(path, overwrite=overwrite, hint=hint or TAKEN)


def _refuse_taken(path: Path, *, overwrite: bool, hint: str) -> None:
    """Refuse a path that exists and must not be replaced."""
    is_store = path.suffix.lower() == ".zarr"
    if path.is_dir() and not is_store:
        raise OutputExistsError(
            f"{path}: this is a folder, the output is a file",
            hint=f"name a file in it: {path / 'name.tif'}",
        )
    # before what --overwrite answers, which would not help here
    if is_store and path.exists() and not any((path / mark).is_file() for mark in ZARR_MARKS):
        raise OutputExistsError(
            f"{path}: not replaced, because this is no Zarr store",
            hint="choose another name, or remove it yourself",
        )
    if os.path.lexists(path) and not overwrite:  # a link that leads nowhere is taken, too
        raise OutputExistsError(f"{path} exists already", hint=hint)


def is_dangling(path: Path) -> bool:
    """Tell whether a path is a link that leads nowhere."""
    return path.is_symlink() and not path.exists()


def refuse_remote_output(path: Path) -> None:
    """Refuse an address where the output is a file or a folder; raises OutputError."""
    if is_remote(path):
        raise OutputError(
            f"{as_location(path)}: this output cannot be written to an address",
            hint="write it to a disk, then copy it with a program such as aws or rclone",
        )


def refuse_file_as_folder(folder: Path) -> None:
    """Refuse a file where the output is a folder.

    Raises
    ------
    OutputExistsError
        If `folder` is a file.
    OutputError
        If the system cannot tell, or it is an address.
    """
    refuse_remote_output(folder)
    with explain_errors(folder):
        is_taken = folder.is_file() or is_dangling(folder)
    if is_taken:
        raise OutputExistsError(
            f"{folder}: this is a file or a broken link, the output is a folder",
            hint="choose another folder with --out",
        )


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder where the file system can, to the disk."""
    is_folder = path.is_dir()
    if os.name == "nt" and is_folder:
        return  # Windows cannot open a folder, and flushes its entries by itself
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (is_folder and error.errno in _FOLDERS_NOT_FLUSHED):
            raise
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Flush a file, or a folder with all its contents, to the disk."""
    for inner in path.rglob("*"):
        sync(inner)
    sync(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except OSError as error:
            error.filename = str(path)  # rmtree gives the last part of the inner name only
            raise
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def ensure_parent(path: Path) -> Iterator[None]:
    """Make the folder of `path`; if the block raises, remove the new folders that are empty."""
    new = [folder for folder in path.parents if not folder.exists()]  # the innermost first
    try:
        with explain_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # no longer empty
            for folder in new:
                folder.rmdir()
        raise


def publish(part: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a complete, flushed file or folder to its final name.

    Parameters
    ----------
    part : Path
        ``<path>.part``, a file or a folder.
    path : Path
        The final name. A rename cannot replace a folder, so an existing folder is moved to
        ``<path>.part.old`` first; see `recover`.
    overwrite : bool
        Whether an existing output may be replaced.

    Raises
    ------
    OutputExistsError
        If the path exists and must not be replaced.
    """
    check_output_path(path, overwrite=overwrite)
    try:
        if path.is_dir():
            path.rename(sibling(part, "old"))
        part.replace(path)
        sync(path.parent)
    finally:
        recover(path)


def recover(path: Path) -> None:
    """Finish a replacement: remove the old folder, or put it back if the new one is missing."""
    old = sibling(path, "part.old")
    if path.exists():
        remove(old)
    elif old.exists():
        old.rename(path)


def temporary_paths(path: Path) -> list[Path]:
    """List the paths beside an output that `atomic_path` writes and removes."""
    return [sibling(path, "part"), sibling(path, "part.old")]


@contextlib.contextmanager
def atomic_path(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path, which becomes `path` if the block ends without an error.

    Parameters
    ----------
    path : Path
        The final path. Its folder is created if it is missing.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        ``<name>.part`` in the same folder, for the block to write. After the block it is renamed,
        or deleted if the block raised.

    Raises
    ------
    OutputExistsError
        If the path exists and must not be replaced.
    OutputError
        If it cannot be written.
    """
    check_output_path(path, overwrite=overwrite)
    part = sibling(path, "part")
    with explain_errors(path), ensure_parent(path):
        remove(part)  # of a run that was killed
        try:
            yield part
            sync_tree(part)
            publish(part, path, overwrite=overwrite)  # checks again: the path may exist by now
        except BaseException:
            with contextlib.suppress(OSError):  # the first error says more
                remove(part)
            raise


def read_json(path: Path) -> Any:
    """Read a small JSON file in UTF-8; raises OSError, and ValueError as `parse_json` does."""
    return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that sfseg wrote, and that others may have damaged.

    Raises
    ------
    ValueError
        If it is not JSON, or so deep that functions that call themselves would fail.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON: nested too deeply") from error
    level = [value]
    for _ in range(_JSON_LEVELS):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError("JSON: nested too deeply")
    return value


def _inside(value: Any) -> Iterable[Any]:
    """Return what is directly in a list or a mapping."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; raises as `atomic_path` does."""
    with atomic_path(path, overwrite=overwrite) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all; raises as `atomic_path` does."""
    write_bytes(path, text.encode(), overwrite=overwrite)
