"""Files that are either whole or not there.

Whatever sfseg writes is written to ``<name>.part`` in the same folder, flushed to the disk,
renamed, and the folder flushed as well, so that neither a crash nor a power cut leaves half a
file under the final name.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sfseg.errors import OutputExistsError


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse an output path that is taken.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or if it is a folder.
    """
    if path.is_dir():
        raise OutputExistsError(
            f"{path}: expected the name of a file, found a folder",
            hint=f"name a file in it: {path / 'name.tif'}",
        )
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path}: expected no file yet, found one",
            hint="give another name, or --overwrite to replace it",
        )


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps their entries without being asked
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    """
    refuse_existing(path, overwrite=overwrite)
    new = [folder for folder in path.parents if not folder.exists()]  # the innermost first
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        refuse_existing(path, overwrite=overwrite)  # something may have come in the meantime
        part.replace(path)
        sync(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another file may have come into it
            for folder in new:
                folder.rmdir()
        raise


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; see `atomic_path` for what it raises."""
    with atomic_path(path, overwrite=overwrite) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all; see `atomic_path`."""
    write_bytes(path, text.encode(), overwrite=overwrite)
