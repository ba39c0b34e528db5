"""Image files for the tests of `sfseg.io`, and how they are read."""

import struct

import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import StackError

VOXEL = (50.0, 4.6, 4.0)
SHAPE = (3, 50, 70)


def noise(shape, dtype="uint8", seed=0):
    """Random pixels over the range of a type."""
    generator, native = np.random.default_rng(seed), np.dtype(dtype).newbyteorder("=")
    if native.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    top = np.iinfo(native).max
    return generator.integers(0, top, shape, dtype=native, endpoint=True).astype(dtype)


def read(source, **options):
    """All pixels of a source."""
    with io.open_stack(source, **options) as stack:
        return stack.read()


def refused(source, **options):
    """The text of the StackError that opening and reading a source raises."""
    with pytest.raises(StackError) as caught:
        read(source, **options)
    assert caught.value.hint
    return str(caught.value)


@st.composite
def windows(draw, shape=SHAPE):
    """A section, and rows and columns of it."""
    parts = []
    for length in shape[1:]:
        start = draw(st.integers(0, length - 1))
        parts.append(slice(start, draw(st.integers(start + 1, length))))
    return draw(st.integers(0, shape[0] - 1)), *parts


def assert_windows_of(stack, pixels, wanted):
    """Each window is what the section has there."""
    for index, rows, columns in wanted:
        found = stack.window(index, rows, columns)
        assert found.dtype == stack.dtype
        np.testing.assert_array_equal(found, pixels[index, rows, columns])
        np.testing.assert_array_equal(stack.section(index), pixels[index])


def pages_of(path):
    """Where the pages of a TIFF and their first strips lie, as tifffile finds them."""
    with tifffile.TiffFile(path) as tif:
        return [(page.offset, page.dataoffsets[0], page.databytecounts[0]) for page in tif.pages]


def described(path, pixels, description):
    """A TIFF of a page for each section whose first page has a description."""
    with tifffile.TiffWriter(path) as writer:
        for section in pixels:
            options = {"description": description, "metadata": None}
            writer.write(section, photometric="minisblack", **options)
            description = None
    return path


def tiny_tiff(width, height, data, *, compression=1, bits=8):
    """A little TIFF of one strip that may declare what it does not hold."""
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, compression), (262, 3, 1),
        (273, 4, 134), (277, 3, 1), (278, 4, height), (279, 4, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return header.ljust(134, b"\0") + data
