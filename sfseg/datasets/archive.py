"""Extract the files of a dataset, and nothing else, from a zip archive that may be hostile."""

import itertools
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sfseg.datasets.dataset import DataFile
from sfseg.errors import FetchError

_MEMBERS = 10_000
_RATIO = 500  # unpacked to packed size; a binary membrane map reaches about 60
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError),
    *(OverflowError, LookupError),
)
_END = struct.Struct("<4s4H2LH")  # end of the archive: mark, disks, entries, directory, comment
_LOCAL = struct.Struct("<4s5H3L2H")  # header before a member; fields as in the directory
_DESCRIPTORS: tuple[int, ...] = (0, 12, 16, 20, 24)
"""Possible sizes of the data descriptor that follows a streamed member."""

_NO_GAP: tuple[int, ...] = (0,)
_STREAMED, _ELSEWHERE = 8, 2**32 - 1  # flag; a size that another field holds


def extract(archive: Path, files: Sequence[DataFile], folder: Path) -> None:
    """Extract the files of a dataset from a zip archive, as far as it has them.

    Parameters
    ----------
    archive : Path
        The archive. The files may lie in folders of it.
    files : sequence of DataFile
        The files to look for. Their names are ours, so only ``folder / file.name`` is written.
    folder : Path
        The folder to write to.

    Raises
    ------
    FetchError
        If the archive is damaged, or looks like an attack: paths that leave the folder, links, a
        zip bomb, entries that can be read in two ways.
    """
    try:
        with archive.open("rb") as file_, zipfile.ZipFile(file_) as opened:
            members = opened.infolist()
            for complaint in itertools.chain(_complaints(members), _misfits(file_, opened)):
                raise FetchError(f"{archive.name}: this archive is not safe to unpack: {complaint}")
            for file in files:
                for member in _members_of(file, members, archive.name):
                    _unpack(opened, member, folder / file.name)
    except _DAMAGES as error:
        raise FetchError(f"{archive.name}: this zip archive is damaged: {error}") from error


def _unpack(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member to a file; `zipfile` checks its checksum."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as packed, target.open("wb") as out:
        shutil.copyfileobj(packed, out)
        if out.tell() != member.file_size:
            raise zipfile.BadZipFile(
                f"{out.tell():,} bytes of {member.orig_filename!r} instead of {member.file_size:,}"
            )


def _members_of(
    file: DataFile, members: Sequence[zipfile.ZipInfo], archive: str
) -> list[zipfile.ZipInfo]:
    """Return the member that is the file, or an empty list."""
    tail = PurePosixPath(file.name).parts
    found = [m for m in members if PurePosixPath(m.filename).parts[-len(tail) :] == tail]
    if len(found) > 1:
        raise FetchError(f"{archive}: {len(found)} members are called {file.name}")
    for member in found:
        if member.file_size > min(file.limit_bytes, _RATIO * max(1, member.compress_size)):
            raise FetchError(
                f"{archive}: {file.name} is too large: {member.file_size:,} bytes, packed into "
                f"{member.compress_size:,}; about {file.size_bytes:,} are normal"
            )
    return found


def _complaints(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield each sign of an attack in the names, kinds and number of the members."""
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
    folded = [_fold(member.orig_filename) for member in members]
    if len(set(folded)) < len(folded):
        yield "two members of one name"


def _fold(name: str) -> str:
    """Return a form that is equal for names that some file systems treat as one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _misfits(file: BinaryIO, opened: zipfile.ZipFile) -> Iterator[str]:
    """Yield each place where an archive can be read in two ways: a byte must have one meaning.

    Members, directory and end must follow each other without a gap, from the first byte to the
    last. The header before a member must agree with the directory.
    """
    start = opened.start_dir
    end = file.seek(0, 2) - _END.size - len(opened.comment)
    file.seek(max(0, end))
    mark, *disks, here, entries, length, at, _ = _END.unpack(file.read(_END.size))
    if mark != b"PK\5\6" or any(disks) or not here == entries == len(opened.filelist):
        yield "several disks, or something after its end"
    if at != start or start + length != end:
        yield "something before or between its parts, or more than 4 GiB"
    if b"PK\5\6" in opened.comment:
        yield "another end in its comment"
    place, gaps = 0, _NO_GAP
    for member in sorted(opened.filelist, key=lambda member: member.header_offset):
        if member.header_offset - place not in gaps:
            yield f"a gap or an overlap before {member.orig_filename!r}"
        place, gaps = _measure(file, member)
    if start - place not in gaps:
        yield "a gap or an overlap before its directory"


def _measure(file: BinaryIO, member: zipfile.ZipInfo) -> tuple[int, tuple[int, ...]]:
    """Return where a member ends, and how many bytes may follow it.

    Raises
    ------
    BadZipFile
        If the header before the member does not agree with the directory.
    """
    file.seek(member.header_offset)
    mark, _, flags, method, _, _, *sizes, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    text = file.read(name).decode("utf-8" if flags & 0x800 else "cp437")
    known = (member.CRC, member.compress_size, member.file_size)
    streamed = bool(flags & _STREAMED)
    # A streamed member has zeros here: its checksum and sizes follow it in a descriptor.
    placeholders = {_ELSEWHERE, 0} if streamed else {_ELSEWHERE}
    same = all(ours in {theirs, *placeholders} for ours, theirs in zip(sizes, known, strict=True))
    if (
        (mark, method, text) != (b"PK\3\4", member.compress_type, member.orig_filename)
        or (flags ^ member.flag_bits) & ~_STREAMED
        or not same
    ):
        raise zipfile.BadZipFile(f"two different headers for {member.orig_filename!r}")
    end = member.header_offset + _LOCAL.size + name + extra + member.compress_size
    return end, _DESCRIPTORS if streamed else _NO_GAP
