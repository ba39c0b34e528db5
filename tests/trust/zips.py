"""Zip archives of the toy dataset: hostile ones, broken ones, and honest ones that look unusual.

A hostile one differs from an honest one by its hostility alone: its files are the right ones.
"""

import io
import random
import re
import stat
import struct
import tempfile
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.trust.small import write_toy

with tempfile.TemporaryDirectory() as _folder:
    WANTED = write_toy(Path(_folder))
    VOLUME, LABELS = ((Path(_folder) / file.name).read_bytes() for file in WANTED)
GOOD = (("volume.tif", VOLUME), ("labels.tif", LABELS))
OTHER = GOOD[1:]
"""What is needed beside a volume that is hostile itself."""

CENTRAL, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"

Member = tuple[str | zipfile.ZipInfo, bytes]


def packed(*members: Member, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Pack (name or ZipInfo, body) pairs."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # duplicate names are the point
        archive.comment = comment
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


def streamed(*members: Member) -> bytes:
    """Pack as into a pipe: sizes stand behind each member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a pipe")

    buffer = Pipe()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


def of_kind(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o644) << 16
    return info


def patched(data: bytes, mark: bytes, at: int, new: bytes, nth: int = 0) -> bytes:
    """Replace bytes of the n-th record that begins with a mark."""
    start = -1
    for _ in range(nth + 1):
        start = data.index(mark, start + 1)
    return data[: start + at] + new + data[start + at + len(new) :]


def both(data: bytes, local: int, central: int, new: bytes) -> bytes:
    """Replace bytes before a member and in the directory, alike."""
    return patched(patched(data, LOCAL, local, new), CENTRAL, central, new)


def with_name(name: bytes, body: bytes) -> bytes:
    """Give a member a name that `zipfile` would not write."""
    return packed(("n" * len(name), body), *OTHER).replace(b"n" * len(name), name)


def moved(data: bytes, by: int) -> bytes:
    """Tell all places in an archive as if something stood before it."""
    at = data.index(CENTRAL)
    for nth in range(data.count(CENTRAL)):
        start = [found.start() for found in re.finditer(CENTRAL, data)][nth]
        (offset,) = struct.unpack_from("<I", data, start + 42)
        data = patched(data, CENTRAL, 42, struct.pack("<I", offset + by), nth)
    return patched(data, END, 16, struct.pack("<I", at + by))


def prefixed(*, knows: bool) -> bytes:
    """Begin with something else, as what unpacks itself does; the directory may know of it."""
    data, prefix = packed(*GOOD), b"#!/bin/sh\nexit\n"
    return prefix + (moved(data, len(prefix)) if knows else data)


def overlapping() -> bytes:
    """Two entries of the directory that share one member, as in a quine bomb."""
    return patched(packed(*GOOD, ("other.bin", b"x")), CENTRAL, 42, struct.pack("<I", 0), nth=2)


def nested_overlap() -> bytes:
    """A member within the bytes of another one."""
    inner = packed(GOOD[0], method=zipfile.ZIP_STORED)
    member = inner[: inner.index(CENTRAL)]
    data = packed(("quine.bin", member), *GOOD, method=zipfile.ZIP_STORED)
    at = data.index(LOCAL, 4)
    return patched(data, CENTRAL, 42, struct.pack("<I", at), nth=1)


def two_directories() -> bytes:
    """Two archives in one; the end speaks of the second, whose places are those in the whole."""
    first = packed(("volume.tif", b"\0" * 1024))
    return first + moved(packed(*GOOD), len(first))


def hidden_directory() -> bytes:
    """A directory that the end does not mention, between the members and the one that counts."""
    data = packed(*GOOD)
    at = data.index(CENTRAL)
    entries = data[at : data.index(END)]
    return patched(data[:at] + entries + data[at:], END, 16, struct.pack("<I", at + len(entries)))


def with_zip64(entries: int, size: int, offset: int) -> bytes:
    """An end of the large kind, beside one of the small kind that says something else."""
    data = packed(*GOOD)
    at = data.index(END)
    large = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    return data[:at] + large + locator + data[at:]


def extra64(size: int) -> bytes:
    """A member that tells its sizes elsewhere, and wrongly."""
    data = packed(*GOOD)
    extra = struct.pack("<2H2Q", 1, 16, size, size)
    start = data.index(CENTRAL)
    name_end = start + 46 + len("volume.tif")
    data = data[:name_end] + extra + data[name_end:]
    data = patched(data, CENTRAL, 20, b"\xff" * 8)
    data = patched(data, CENTRAL, 30, struct.pack("<H", len(extra)))
    return patched(data, END, 12, struct.pack("<I", data.index(END) - start))


def bomb(size: int, told: int | None = None) -> bytes:
    """A volume that is good and then continues in zeros."""
    data = packed(("volume.tif", VOLUME.ljust(size, b"\0")), *OTHER)
    return data if told is None else both(data, 22, 24, struct.pack("<I", told))


def nested_bomb() -> bytes:
    """Bombs within bombs; the outermost is called like the wanted file."""
    data = packed(("volume.tif", b"\0" * 1_000_000))
    for _ in range(3):
        data = packed(("volume.tif", data), *((f"{n}.zip", data) for n in range(16)))
    return packed(("volume.tif", data), *OTHER)


CAFE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}.tif"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "climbs out": lambda: packed(*GOOD, ("../evil.txt", b"x")),
    "climbs out from within": lambda: packed(*GOOD, ("a/b/../../../evil.txt", b"x")),
    "climbs out to the wanted name": lambda: packed(("../volume.tif", VOLUME), *OTHER),
    "climbs out the Windows way": lambda: packed(*GOOD, ("..\\evil.txt", b"x")),
    "is absolute": lambda: packed(*GOOD, ("/tmp/evil.txt", b"x")),
    "is absolute and wanted": lambda: packed(("/volume.tif", VOLUME), *OTHER),
    "has a drive": lambda: packed(*GOOD, ("C:/evil.txt", b"x")),
    "has a drive and no folder": lambda: packed(*GOOD, ("C:evil.txt", b"x")),
    "is a network path": lambda: packed(*GOOD, ("\\\\host\\evil.txt", b"x")),
    "has NUL in a name": lambda: with_name(b"volume.tif\0.txt", VOLUME),
    "is a symlink": lambda: packed((of_kind("volume.tif", stat.S_IFLNK), VOLUME), *OTHER),
    "has a symlink": lambda: packed(*GOOD, (of_kind("link", stat.S_IFLNK), b"/etc")),
    "writes through a symlink": lambda: packed(
        (of_kind("x", stat.S_IFLNK), b"/tmp"), ("x/volume.tif", VOLUME), *OTHER
    ),
    "is a device": lambda: packed((of_kind("volume.tif", stat.S_IFCHR), VOLUME), *OTHER),
    "has a block device": lambda: packed(*GOOD, (of_kind("disk", stat.S_IFBLK), b"")),
    "has a pipe": lambda: packed(*GOOD, (of_kind("pipe", stat.S_IFIFO), b"")),
    "has a socket": lambda: packed(*GOOD, (of_kind("socket", stat.S_IFSOCK), b"")),
    "has a file of no kind": lambda: packed(*GOOD, (of_kind("odd", 0o030000), b"")),
    "has one name twice": lambda: packed(*GOOD, ("a.txt", b"1"), ("a.txt", b"2")),
    "has names that differ in case": lambda: packed(*GOOD, ("Volume.TIF", VOLUME)),
    "has names that differ in composition": lambda: packed(
        *GOOD, (CAFE, b"1"), (unicodedata.normalize("NFD", CAFE), b"2")
    ),
    "has names that differ in width": lambda: packed(
        *GOOD, ("\N{FULLWIDTH LATIN SMALL LETTER V}olume.tif", b"")
    ),
    "is packed with lzma": lambda: packed(*GOOD, method=zipfile.ZIP_LZMA),
    "is packed with bzip2": lambda: packed(*GOOD, method=zipfile.ZIP_BZIP2),
    "is packed in two ways": lambda: patched(packed(*GOOD), LOCAL, 8, struct.pack("<H", 0)),
    "tells two sizes of a member": lambda: patched(packed(*GOOD), LOCAL, 22, b"\7\0\0\0"),
    "tells two packed sizes of a member": lambda: patched(packed(*GOOD), LOCAL, 18, b"\7\0\0\0"),
    "tells two sums of a member": lambda: patched(packed(*GOOD), LOCAL, 14, b"abcd"),
    "has 20,000 members": lambda: packed(*GOOD, *((f"{n}", b"") for n in range(20_000))),
    "begins with something else": lambda: prefixed(knows=False),
    "begins with something else and knows it": lambda: prefixed(knows=True),
    "ends with something else": lambda: packed(*GOOD) + b"more",
    "has a whole archive in its comment": lambda: packed(
        ("x", b""), comment=packed(*GOOD, comment=b".")
    ),
    "has two directories": two_directories,
    "has a directory that its end does not mention": hidden_directory,
    "counts too many members": lambda: patched(packed(*GOOD), END, 8, b"\3\0\3\0"),
    "counts too few members": lambda: patched(packed(*GOOD), END, 8, b"\1\0\1\0"),
    "is on several disks": lambda: patched(packed(*GOOD), END, 4, b"\1\0\1\0"),
    "has a large end that says the same": lambda: with_zip64(
        2, packed(*GOOD).index(END) - packed(*GOOD).index(CENTRAL), packed(*GOOD).index(CENTRAL)
    ),
}
"""What an archive may not be, although its files could be taken out of it and are right."""

BROKEN: dict[str, Callable[[], bytes]] = {
    "has the file twice": lambda: packed(*GOOD, GOOD[0]),
    "has the file in two folders": lambda: packed(*GOOD, ("copy/volume.tif", VOLUME)),
    "has members that overlap": overlapping,
    "has a member within another": nested_overlap,
    "is a bomb": lambda: bomb(50_000_000),
    "is a bomb within the size": lambda: packed(("volume.tif", b"\0" * 1_000_000), *OTHER),
    "is a bomb of bombs": nested_bomb,
    "is a bomb that tells a small size": lambda: bomb(50_000_000, len(VOLUME)),
    "tells a larger size": lambda: both(packed(*GOOD), 22, 24, struct.pack("<I", 2 * len(VOLUME))),
    "tells a size of 4 GiB": lambda: both(packed(*GOOD), 22, 24, struct.pack("<I", 2**32 - 2)),
    "tells a packed size beyond its end": lambda: both(
        packed(*GOOD), 18, 20, struct.pack("<I", 10**6)
    ),
    "tells sizes of 2^63 elsewhere": lambda: extra64(2**63),
    "tells sizes of 2^64 - 1 elsewhere": lambda: extra64(2**64 - 1),
    "is encrypted": lambda: both(packed(*GOOD), 6, 8, b"\1\0"),
    "is encrypted in its directory only": lambda: patched(packed(*GOOD), CENTRAL, 8, b"\1\0"),
    "is packed in an unknown way": lambda: both(packed(*GOOD), 8, 10, struct.pack("<H", 99)),
    "tells two names of a member": lambda: patched(packed(*GOOD), LOCAL, 30, b"V"),
    "tells two lengths of a name": lambda: patched(packed(*GOOD), LOCAL, 26, b"\7\0"),
    "tells a wrong sum": lambda: both(packed(*GOOD), 14, 16, b"abcd"),
    "has an end in its comment": lambda: packed(*GOOD, comment=END + b"\0" * 18 + b"rest"),
    "has a directory at the wrong place": lambda: patched(packed(*GOOD), END, 16, b"\0\0\0\0"),
    "has a directory beyond its end": lambda: patched(packed(*GOOD), END, 16, b"\0\0\0\x7f"),
    "has a directory of 2 GiB": lambda: patched(packed(*GOOD), END, 12, b"\0\0\0\x7f"),
    "is the last of 65,535 disks": lambda: patched(packed(*GOOD), END, 4, b"\xff\xff\xff\xff"),
    "has a large end that says nothing": lambda: with_zip64(0, 0, 0),
    "has a large end of 2^63 members": lambda: with_zip64(2**63, 2**63, 2**63),
    **{
        f"is cut at {share:.0%}": lambda share=share: (d := packed(*GOOD))[: int(len(d) * share)]
        for share in (0.1, 0.5, 0.9, 0.99)
    },
    "is cut in its body": lambda: packed(*GOOD, method=zipfile.ZIP_STORED).replace(
        VOLUME, VOLUME[9:]
    ),
    "has a damaged body": lambda: packed(*GOOD, method=zipfile.ZIP_STORED).replace(
        VOLUME, VOLUME[:9000] + bytes(9) + VOLUME[9009:]
    ),
    "has a body that is not packed": lambda: both(
        packed(*GOOD, method=zipfile.ZIP_STORED), 8, 10, struct.pack("<H", 8)
    ),
    "is a tar archive": lambda: b"volume.tif".ljust(257, b"\0") + b"ustar\0" + b"00" * 500,
    "is no archive": lambda: b"<html>not found</html>",
    "is only an end": lambda: END + b"\0" * 18,
    "is empty": lambda: b"",
}
"""What has not the right files, or more of them or larger ones, or what `zipfile` refuses as well:
some of these only in some versions of Python.
"""

HONEST: dict[str, Callable[[], bytes]] = {
    "is packed": lambda: packed(*GOOD),
    "is stored": lambda: packed(*GOOD, method=zipfile.ZIP_STORED),
    "has a comment": lambda: packed(*GOOD, comment=b"238a567ae843f7c03e5cc5d3f233cd3f93f0da17"),
    "was written into a pipe": lambda: streamed(("a/", b""), *GOOD, ("z.txt", b"z")),
    "has folders and other files": lambda: packed(
        ("a/", b""), ("a/volume.tif", VOLUME), ("a/b.py", b"x"), *OTHER
    ),
    "has empty files": lambda: packed(("a/.keep", b""), *GOOD, ("b/.keep", b"")),
    "has names that are not ASCII": lambda: packed((CAFE, b"1"), *GOOD),
}


def mutated(seed: int) -> bytes:
    """Change a few bytes of an honest archive, more of them where it tells of itself, or cut it."""
    rng = random.Random(seed)
    data = bytearray(packed(("x/volume.tif", VOLUME), ("x/labels.tif", LABELS)))
    told = [*range(40), *range(data.index(CENTRAL), len(data))]
    for _ in range(rng.randint(1, 3)):
        data[rng.choice([rng.randrange(len(data)), rng.choice(told)])] = rng.randrange(256)
    return bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
