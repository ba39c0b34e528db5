"""Several threads read one stack: they decode at the same time, and get what one thread gets."""

import threading
from concurrent.futures import ThreadPoolExecutor

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import StackError
from sfseg.io import pictures
from sfseg.io.tiff import strips
from tests.io.files import noise

SHAPE = (6, 40, 50)
PATIENCE_S = 20


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def written(folder, kind, pixels):
    """Write a stack as a compressed TIFF or as a folder of files; return what to open."""
    if kind == "stack.tif":
        tifffile.imwrite(folder / kind, pixels, compression="deflate", rowsperstrip=16)
        return folder / kind
    for number, section in enumerate(pixels):
        if kind == "png":
            imageio.imwrite(folder / f"{number}.png", section)
        else:
            tifffile.imwrite(folder / f"{number}.tif", section, compression="deflate")
    return folder


@pytest.mark.parametrize("kind", ["stack.tif", "tif", "png"])
def test_two_sections_are_decoded_at_the_same_time(tmp_path, monkeypatch, pool, kind):
    both = threading.Barrier(2, timeout=PATIENCE_S)
    owner, name = (pictures, "_decode") if kind == "png" else (strips.ChunkReader, "_decode_chunk")
    decode = getattr(owner, name)

    def wait_for_the_other(*call):
        both.wait()
        return decode(*call)

    monkeypatch.setattr(owner, name, wait_for_the_other)
    pixels = noise(SHAPE)[:2]
    with io.open_stack(written(tmp_path, kind, pixels)) as stack:
        np.testing.assert_array_equal(list(pool.map(stack.section, range(2))), pixels)


@pytest.mark.parametrize("kind", ["stack.tif", "tif", "png"])
def test_many_threads_read_what_is_in_the_file(tmp_path, pool, kind):
    pixels = noise(SHAPE)
    wanted = np.random.default_rng(3).integers(0, (6, 20, 25), (200, 3)).tolist()

    def is_right(corner):
        section, row, column = corner
        rows, columns = slice(row, 2 * row + 1), slice(column, 2 * column + 1)
        window = stack.window(section, rows, columns)
        return np.array_equal(window, pixels[section, rows, columns])

    with io.open_stack(written(tmp_path, kind, pixels)) as stack:
        assert all(pool.map(is_right, wanted))


def test_a_strip_that_all_threads_want_is_decoded_once(tmp_path, monkeypatch, pool):
    decode, decoded = strips.ChunkReader._decode_chunk, []

    def count(reader, page, index):
        decoded.append((page.index, index))
        return decode(reader, page, index)

    monkeypatch.setattr(strips.ChunkReader, "_decode_chunk", count)
    with io.open_stack(written(tmp_path, "stack.tif", noise(SHAPE))) as stack:
        list(pool.map(stack.section, [0, 0, 0, 0, 1, 1, 1, 1]))
    assert sorted(decoded) == [(section, strip) for section in range(2) for strip in range(3)]


def test_each_thread_learns_that_a_strip_is_damaged(tmp_path, pool):
    path = written(tmp_path, "stack.tif", noise(SHAPE))
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[1], tif.pages[0].databytecounts[1]
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes([255]) * count + data[start + count :])
    with io.open_stack(path) as stack:
        for call in [pool.submit(stack.section, 0) for _ in range(8)]:
            with pytest.raises(StackError, match="page 1: the pixels cannot be read"):
                call.result()
        np.testing.assert_array_equal(stack.section(1), noise(SHAPE)[1])


def test_files_of_a_folder_that_nobody_reads_are_closed(tmp_path, monkeypatch, pool):
    decoded, read, close = set(), pictures.PictureSource.read, pictures.PictureSource.close

    def note_read(source, box):
        decoded.add(source)
        return read(source, box)

    def note_close(source):
        decoded.discard(source)
        close(source)

    monkeypatch.setattr(pictures.PictureSource, "read", note_read)
    monkeypatch.setattr(pictures.PictureSource, "close", note_close)
    with io.open_stack(written(tmp_path, "png", noise(SHAPE))) as stack:
        list(pool.map(stack.section, [*range(6)] * 3))
        stack.section(0)
        assert len(decoded) == 1
    assert not decoded
