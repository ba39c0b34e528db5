"""Take the wanted files, and nothing else, out of a zip archive that nobody vouches for."""

import itertools
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from sfseg.catalogue import DataFile
from sfseg.errors import FetchError

_MEMBERS = 10_000
_RATIO = 500  # of sizes unpacked to packed; a binary membrane map reaches about 60
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError)


def extract(archive: Path, files: Sequence[DataFile], folder: Path) -> None:
    """Extract the files of a dataset that a zip archive has.

    Parameters
    ----------
    archive : Path
        The archive. The files may lie in folders of it.
    files : sequence of DataFile
        What to look for; the names are ours, so nothing is written but ``folder / file.name``.
    folder : Path
        Where to put them.

    Raises
    ------
    FetchError
        If the archive is damaged, or has anything in it that an honest one does not have.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            for complaint in _complaints(members):
                raise FetchError(f"{archive.name}: expected an honest archive, found {complaint}")
            for file in files:
                for member in _members_of(file, members, archive.name):
                    target = folder / file.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(member) as packed, target.open("wb") as out:
                        shutil.copyfileobj(packed, out)
    except _DAMAGES as error:
        raise FetchError(f"{archive.name}: expected a whole zip archive, found {error}") from error


def _members_of(
    file: DataFile, members: Sequence[zipfile.ZipInfo], archive: str
) -> list[zipfile.ZipInfo]:
    """Return the member that is the file, if there is one."""
    tail = PurePosixPath(file.name).parts
    found = [m for m in members if PurePosixPath(m.filename).parts[-len(tail) :] == tail]
    if len(found) > 1:
        raise FetchError(f"{archive}: expected one {file.name}, found {len(found)}")
    for member in found:
        if member.file_size > min(file.limit_bytes, _RATIO * max(1, member.compress_size)):
            raise FetchError(
                f"{archive}: expected about {file.size_bytes:,} bytes of {file.name}, "
                f"found {member.file_size:,} packed into {member.compress_size:,}"
            )
    return found


def _complaints(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Say what an archive has that an honest one does not have."""
    if len(members) > _MEMBERS:
        yield f"{len(members):,} members"
    for member in members:
        name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
        if re.match(r"[/\\]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name) or "\0" in name:
            yield f"a member called {name!r}"
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"{name!r}, which is neither a file nor a folder"
        if member.flag_bits & 1 or member.compress_type not in _METHODS:
            yield f"{name!r}, which is encrypted or packed in an unusual way"
    folded = [member.filename.casefold() for member in members]
    if len(set(folded)) < len(folded):
        yield "two members of one name"
    spans = sorted((m.header_offset, m.header_offset + 30 + m.compress_size) for m in members)
    if spans and spans[0][0] < 0:
        yield "a member before its beginning"
    if any(before[1] > after[0] for before, after in itertools.pairwise(spans)):
        yield "members that overlap"
