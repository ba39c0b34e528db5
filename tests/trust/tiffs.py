"""Mutated TIFFs: each is read right or refused, soon, in little memory, and leaves nothing.

A *wrong success* is a file that is read although

* the stack has another number of sections, rows or columns than the pages in the chain declare;
* a second reader, which knows most of the files here, finds other pixels or cannot find them;
* reading it again, or by windows, gives other pixels;
* it was only lengthened, or not changed at all, and is not what it was.
"""

import functools
import io
import math
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.io import open_stack
from sfseg.io import stack as stacks
from tests.trust import cases, reference
from tests.trust.mutations import BLIND, NASTY, Mutation, grow, mutate
from tests.trust.rows import Row

_BARE = {"photometric": "minisblack", "metadata": None}
_PAGED = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
_NAMED = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    270,
    273,
    274,
    277,
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
)
_NAMED = (*_NAMED, 330, 339, 347, 32997, 34665, 33629)

_GREY = np.repeat(np.arange(256, dtype="u2")[None] * 257, 3, axis=0)

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("u1", _BARE),
    "big-endian": ("u2", _BARE | {"byteorder": ">"}),
    "bigtiff": ("u2", _BARE | {"bigtiff": True}),
    "big-endian bigtiff": ("f4", _BARE | {"bigtiff": True, "byteorder": ">"}),
    "strips": ("u1", _BARE | {"rowsperstrip": 5}),
    "tiles": ("u2", _BARE | {"tile": (16, 16)}),
    "imagej": ("u2", {"imagej": True, "metadata": {"axes": "ZYX"}}),
    "imagej in one page": ("u1", _PAGED | {"imagej": True, "truncate": True}),
    "ome": ("u1", _PAGED | {"ome": True}),
    "shaped": ("f4", _PAGED),
    "shaped in one page": ("u1", _PAGED | {"truncate": True}),
    "lzw": ("u1", _BARE | {"compression": "lzw", "rowsperstrip": 7}),
    "lzw predicted": ("u2", _BARE | {"compression": "lzw", "predictor": True}),
    "deflate": ("u1", _BARE | {"compression": "zlib", "rowsperstrip": 7}),
    "deflate tiles": ("u2", _BARE | {"compression": "zlib", "predictor": True, "tile": (16, 16)}),
    "deflate floats": ("f4", _BARE | {"compression": "zlib", "predictor": True}),
    "zstd": ("u2", _BARE | {"compression": "zstd", "bigtiff": True}),
    "packbits": ("u1", _BARE | {"compression": "packbits", "rowsperstrip": 3}),
    "jpeg": ("u1", _BARE | {"compression": "jpeg"}),
    "jpeg tiles": ("u1", _BARE | {"compression": "jpeg", "tile": (16, 16)}),
    "volume": ("u1", _BARE | {"volumetric": True, "tile": (2, 16, 16)}),
    "min is white": ("u2", _BARE | {"photometric": "miniswhite"}),
    "turned": ("u1", _BARE | {"extratags": [(274, 3, 1, 6, False)]}),
    "palette": ("u1", _BARE | {"photometric": "palette", "colormap": _GREY, "bitspersample": 8}),
    "deflate ome": ("u1", _PAGED | {"ome": True, "compression": "zlib", "bigtiff": True}),
}


@functools.cache
def sound(kind: str) -> tuple[bytes, np.ndarray]:
    """Make a good file of a kind, and its pixels as they are read."""
    dtype, options = KINDS[kind]
    noise = np.random.default_rng(len(kind)).integers(0, 50, (3, 22, 27))
    noise[:, 5:12] = 7  # so that it can be compressed
    file = io.BytesIO()
    tifffile.imwrite(file, noise.astype(dtype), **options)
    shown = np.rot90(noise, -1, axes=(1, 2)) if kind == "turned" else noise
    return file.getvalue(), 65535 - shown.astype(dtype) if "white" in kind else shown.astype(dtype)


def _entries(data: bytearray) -> tuple[reference.Tiff, list[reference.Entry]]:
    tiff = reference.parse(bytes(data))
    return tiff, [entry for page in tiff.pages for entry in page]


def tag(data: bytearray, draw: Random) -> None:
    """Change the code, the type, the count or the value of a tag."""
    tiff, entries = _entries(data)
    if not entries:
        return
    entry = draw.choice(entries)
    field = draw.choice((0, 2, 4, 4, 12 if tiff.big else 8, 12 if tiff.big else 8))
    size = 2 if field < 4 else 8 if tiff.big else 4
    old = int.from_bytes(data[entry.at + field :][:size], _order(tiff))
    usual = (
        _NAMED if field == 0 else range(19) if field == 2 else (*NASTY, len(data), old + 1, old * 2)
    )
    new = draw.choice([*usual, max(0, old - 1)]) % 256**size
    data[entry.at + field : entry.at + field + size] = new.to_bytes(size, _order(tiff))


def value(data: bytearray, draw: Random) -> None:
    """Change one of the values of a tag that has several."""
    tiff, entries = _entries(data)
    long = [entry for entry in entries if entry.count > 1 and entry.kind in (3, 4, 16)]
    if long:
        entry = draw.choice(long)
        size = {3: 2, 4: 4, 16: 8}[entry.kind]
        at = entry.values_at + size * draw.randrange(min(entry.count, 50))
        new = draw.choice((*NASTY, len(data), 8)) % 256**size
        data[at : at + size] = new.to_bytes(size, _order(tiff))


def twin(data: bytearray, draw: Random) -> None:
    """Write one tag over another, of the same page or not."""
    tiff, entries = _entries(data)
    if entries:
        size = 20 if tiff.big else 12
        one, other = draw.choice(entries), draw.choice(entries)
        data[other.at : other.at + size] = data[one.at : one.at + size]


def link(data: bytearray, draw: Random) -> None:
    """Change where a page is said to be."""
    tiff = reference.parse(bytes(data))
    size, at = 8 if tiff.big else 4, draw.choice(tiff.links)
    others = [int.from_bytes(data[place : place + size], _order(tiff)) for place in tiff.links]
    new = draw.choice((*others, *others, 0, 8, len(data), draw.randrange(len(data) + 1), *NASTY))
    data[at : at + size] = (new % 256**size).to_bytes(size, _order(tiff))


def _order(tiff: reference.Tiff) -> Any:
    return "big" if tiff.order == ">" else "little"


KNOWING: tuple[Mutation, ...] = (*BLIND, tag, tag, tag, tag, value, value, twin, link)


def make(index: int, seed: int) -> tuple[str, bytes, bool]:
    """Make the file of an index: its kind, its bytes, and whether its pixels must be unchanged."""
    draw = Random(f"{seed} {index}")
    kind = draw.choice(list(KINDS))
    whole, _ = sound(kind)
    if index % 50 == 0:
        return kind, whole, True
    if index % 50 == 1:
        data = bytearray(whole)
        grow(data, draw)
        return kind, bytes(data), True
    return kind, mutate(whole, draw, KNOWING), False


def check(index: int, folder: Path, seed: int) -> str:
    """Try one file; see `tests.trust.cases.Check`."""
    kind, data, unchanged = make(index, seed)
    path = folder / "a.tif"
    path.write_bytes(data)
    try:
        with open_stack(path) as stack:
            pixels = stack.read()
            require_windows(stack, pixels, Random(index))
        with open_stack(path) as stack:
            np.testing.assert_array_equal(stack.read(), pixels)
    except StackError as error:
        if unchanged:
            raise
        cases.require_clear(error)
        return "refused"
    finally:
        assert [each.name for each in folder.iterdir()] == ["a.tif"]
        assert path.read_bytes() == data
    if unchanged and "jpeg" not in kind:
        np.testing.assert_array_equal(pixels, sound(kind)[1])
    require_right(data, pixels)
    return "read"


def require_windows(stack: stacks.Stack, pixels: np.ndarray, draw: Random) -> None:
    """Refuse windows that are not what the section has there."""
    for _ in range(3):
        parts = []
        for length in stack.shape[1:]:
            start = draw.randrange(length)
            parts.append(slice(start, draw.randint(start + 1, length)))
        section = draw.randrange(len(pixels))
        found = stack.window(section, *parts)
        np.testing.assert_array_equal(found, pixels[section, parts[0], parts[1]])


def require_right(data: bytes, pixels: np.ndarray) -> None:
    """Compare what was read with what the file declares, and with the second reader."""
    tiff = reference.parse(data)
    sizes = {tiff.size(page) for page in range(len(tiff.pages))}
    assert len(sizes) == 1, f"read pages of the sizes {sizes}"
    ((rows, columns),) = sizes
    depth = tiff.values(0, 32997, (1,))[0]
    declared = len(tiff.pages) * rows * columns * depth
    frames, rest = divmod(pixels.size, declared)
    samples = tiff.values(0, 277, (1,))[0]
    in_one_page = (len(tiff.pages) == 1 and b"images=" in data) or b'{"shape"' in data
    assert rest == 0, f"read {pixels.shape}, the pages hold {declared}"
    assert frames == 1 or in_one_page or samples > 1, f"read {frames} times the pages"
    try:
        known = np.stack([reference.read(tiff, page) for page in range(len(tiff.pages))])
    except reference.UnknownError:
        return
    if frames != 1:
        _require_following(tiff, known, pixels)
        return
    known = known.astype(pixels.dtype)
    if pixels.shape == known.shape:
        pages = [sorted(map(bytes, stack)) for stack in (pixels, known)]
        assert pages[0] == pages[1], "read other pixels than the second reader"
    else:
        np.testing.assert_array_equal(np.sort(pixels, axis=None), np.sort(known, axis=None))


def _require_following(tiff: reference.Tiff, known: np.ndarray, pixels: np.ndarray) -> None:
    """Compare images that follow the first without pages of their own."""
    offset = tiff.values(0, 273)[0]
    bits = tiff.values(0, 258)[0]
    kind = {1: "u", 2: "i", 3: "f"}[tiff.values(0, 339, (1,))[0]]
    stored = np.frombuffer(tiff.data, f"{tiff.order}{kind}{bits // 8}", pixels.size, offset)
    depth = pixels.size // math.prod(tiff.size(0))
    stored = reference.show(tiff, 0, stored.reshape(depth, *tiff.size(0)))
    np.testing.assert_array_equal(pixels.ravel(), stored.astype(pixels.dtype).ravel())
    np.testing.assert_array_equal(pixels.ravel()[: known.size], known.ravel())


def run(count: int, seed: int) -> Row:
    """Try so many files."""
    trial: Callable[[int, Path], str] = functools.partial(check, seed=seed)
    return cases.row("mutated TIFFs", trial, count, seed)


Tag = tuple[int, int, int, int]
"""Code, type, number of values, and a value or where the values are."""


def pack(
    pages: list[list[Tag]], tail: bytes = b"", *, order: str = "<", big: bool = False
) -> bytes:
    """Build a TIFF of pages one after the other, and something behind them."""
    if big:
        head, count, entry, link_to, start, values = "HHHQ", "Q", "HHQQ", "Q", 16, (43, 8, 0, 16)
    else:
        head, count, entry, link_to, start, values = "HI", "H", "HHII", "I", 8, (42, 8)
    parts, at = [b"II" if order == "<" else b"MM", struct.pack(order + head, *values)], start
    for number, tags in enumerate(pages, start=1):
        parts.append(struct.pack(order + count, len(tags)))
        parts += [struct.pack(order + entry, *each) for each in tags]
        at += struct.calcsize(order + count) + len(tags) * struct.calcsize(order + entry)
        at += struct.calcsize(order + link_to)
        parts.append(struct.pack(order + link_to, at if number < len(pages) else 0))
    return b"".join(parts) + tail


def tags(side: int, offset: int, stored: int, **changed: tuple[int, int, int]) -> list[Tag]:
    """List the tags of a page of one strip of bytes; ``t273=(type, count, value)`` changes one."""
    usual = {
        256: (4, 1, side), 257: (4, 1, side), 258: (4, 1, 8), 259: (4, 1, 1), 262: (4, 1, 1),
        273: (4, 1, offset), 277: (4, 1, 1), 278: (4, 1, side), 279: (4, 1, stored),
    }  # fmt: skip
    usual |= {int(code[1:]): entry for code, entry in changed.items()}
    return [(code, *entry) for code, entry in sorted(usual.items())]
