"""Read DM3 and DM4, the files of Gatan's Digital Micrograph: a tree of tags.

References
----------
G. Jefferis, "Digital Micrograph 3 file format" and C. Boothroyd, "DM4": the tree of tags is
described in www.er-c.org/cbb/info/dmformat
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.io.flat import FlatSource, Layout
from sfseg.io.guards import translate_errors
from sfseg.types import VoxelSize

_VERSIONS = {3: ("i", 4), 4: ("q", 8)}
_GROUP, _DATA = 20, 21
_IMAGE, _UTF_16 = "Data", 4
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_NUMBERS = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "B"}
_NUMBERS |= {11: "q", 12: "Q"}
_PIXELS = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}
"""Types of images that are real numbers, or 0 and 1."""

_MOST_TAGS, _MOST_DEPTH, _MOST_WORDS, _MOST_TEXT = 1_000_000, 32, 10_000, 1000
_DAMAGED = "copy or download the file again; it may be damaged"
_SAVE = "save the image in Digital Micrograph as real numbers or as TIFF"

Tree = dict[str, Any]


@dataclass(frozen=True)
class _Numbers:
    """An array in the file: where it begins, its type and length."""

    start: int
    code: int
    count: int


def is_dm(head: bytes) -> bool:
    """Tell whether a file is DM3 or DM4: a version, and an order of bytes that is 0 or 1."""
    version = int.from_bytes(head[:4], "big")
    if version not in _VERSIONS or len(head) < 16:
        return False
    at = 4 + _VERSIONS[version][1]
    return int.from_bytes(head[at : at + 4], "big") in (0, 1)


def open_dm(path: Path, name: str) -> FlatSource:
    """Open a DM3 or DM4 file; see `sfseg.io.sources.ArraySource`.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.

    Returns
    -------
    FlatSource
        The image that the file shows, to be closed; not its small preview.

    Raises
    ------
    StackError
        If it is damaged or cut short, holds no image, or one of colours or complex numbers.
    """
    with translate_errors(name):
        with path.open("rb") as file:
            reader = _TagReader(file, path.stat().st_size, name)
            tree = reader.read()
        image = _find_image(tree)
        if image is None:
            raise StackError(f"{name}: the file holds no image", hint=_SAVE)
        pixels, code = image[_IMAGE], int(image["DataType"])
        sizes = [int(size) for size in _values(image["Dimensions"])]
        if code not in _PIXELS or not isinstance(pixels, _Numbers):
            raise StackError(f"{name}: pixels of DM type {code} are no grey values", hint=_SAVE)
        stored = np.dtype(reader.order + _PIXELS[code])
        held_bytes = pixels.count * struct.calcsize(f"={_NUMBERS[pixels.code]}")
        if math.prod(sizes) * stored.itemsize != held_bytes:
            raise StackError(
                f"{name}: an image of {'x'.join(map(str, sizes))} does not fill {held_bytes} bytes",
                hint=_DAMAGED,
            )
        letters = "XYZ"[: len(sizes)][::-1] if len(sizes) in (2, 3) else ""
        layout = Layout(pixels.start, tuple(sizes[::-1]), stored, letters, _voxel_size(image))
    return FlatSource(path, name, layout)


def _values(group: Any) -> list[Any]:
    """List the members of a group."""
    return list(group.values()) if isinstance(group, Mapping) else []


def _find_image(tree: Tree) -> Mapping[str, Any] | None:
    """Return the image that the file shows, else the last: previews come first."""
    images: list[Mapping[str, Any] | None] = [
        each.get("ImageData") for each in _values(tree.get("ImageList"))
    ]
    shown = [each.get("ImageRef") for each in _values(tree.get("ImageSourceList"))]
    if shown and isinstance(shown[0], int) and 0 <= shown[0] < len(images):
        return images[shown[0]]
    return images[-1] if images else None


def _voxel_size(image: Mapping[str, Any]) -> VoxelSize | None:
    """Return nm along (z, y, x), where the calibrations have units of length."""
    axes = _values(image.get("Calibrations", {}).get("Dimension"))
    sides = [float(axis["Scale"]) * voxels.nm_per_unit(str(axis["Units"])) for axis in axes]
    x, y, z = (*sides, math.nan, math.nan, math.nan)[:3]
    return voxels.checked(z, y, x)


class _TagReader:
    """Reads the tree of tags of a file.

    Parameters
    ----------
    file : binary file
        The open file.
    file_bytes : int
        Its size.
    name : str
        The file, for messages.
    """

    def __init__(self, file: IO[bytes], file_bytes: int, name: str) -> None:
        self._file, self._file_bytes, self._name, self._tags = file, file_bytes, name, 0
        (version,) = struct.unpack(">i", file.read(4))
        self._word, self._word_bytes = _VERSIONS[version]
        self._has_sizes = version == max(_VERSIONS)
        _, is_little = self._word_of(), struct.unpack(">i", file.read(4))[0]
        self.order = "<" if is_little else ">"

    def read(self) -> Tree:
        """Read all tags; arrays stay in the file."""
        return self._group(0)

    def _word_of(self) -> int:
        """Read a length: they are big-endian in both orders."""
        return int(struct.unpack(f">{self._word}", self._file.read(self._word_bytes))[0])

    def _group(self, depth: int) -> Tree:
        """Read a group; members without a name get a number."""
        self._file.read(2)  # whether it is sorted, and open
        count = self._word_of()
        if depth > _MOST_DEPTH or not 0 <= count <= _MOST_TAGS:
            raise self._damaged()
        group: Tree = {}
        for number in range(count):
            self._tags += 1
            kind, name_bytes = struct.unpack(">BH", self._file.read(3))
            name = self._file.read(name_bytes).decode("latin-1") or str(number)
            if self._tags > _MOST_TAGS or kind not in (_GROUP, _DATA):
                raise self._damaged()
            if self._has_sizes:
                self._word_of()
            group[name] = self._group(depth + 1) if kind == _GROUP else self._data(name)
        return group

    def _data(self, name: str) -> Any:
        """Read the value of a tag; for an array, where it lies."""
        mark, count = self._file.read(4), self._word_of()
        if mark != b"%%%%" or not 0 < count <= _MOST_WORDS:
            raise self._damaged()
        code, *words = (self._word_of() for _ in range(count))
        if code in _NUMBERS:
            return self._number(code)
        if code == _STRUCT:
            return [self._number(each) for each in words[3::2]]
        if code == _STRING:
            return self._file.read(min(words[0], _MOST_TEXT)).decode("latin-1")
        if code == _ARRAY:
            return self._array(words, is_text=name != _IMAGE)
        raise self._damaged()

    def _number(self, code: int) -> Any:
        """Read a number."""
        kind = f"{self.order}{_NUMBERS[code]}"
        return struct.unpack(kind, self._file.read(struct.calcsize(kind)))[0]

    def _array(self, words: list[int], *, is_text: bool) -> Any:
        """Step over an array; short ones of 16-bit numbers are texts, but not an image."""
        code, *of_struct, count = words
        codes = of_struct[3::2] if code == _STRUCT else [code]
        item_bytes = sum(struct.calcsize(f"={_NUMBERS[each]}") for each in codes)
        start = self._file.tell()
        if not 0 <= count * item_bytes <= self._file_bytes - start:
            raise self._damaged()
        if is_text and code == _UTF_16 and count <= _MOST_TEXT:
            data = self._file.read(count * item_bytes)
            return data.decode("utf-16-le" if self.order == "<" else "utf-16-be", "replace")
        self._file.seek(count * item_bytes, 1)
        return _Numbers(start, code, count)

    def _damaged(self) -> StackError:
        """Make the error for a tree that makes no sense."""
        return StackError(
            f"{self._name}: the tags near byte {self._file.tell()} make no sense", hint=_DAMAGED
        )
