"""Files made to do harm, and samples of the mutated ones: read right, or refused in clear words."""

import functools
import io
import json
import os
import struct
import threading
import time
import zlib

import h5py
import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from sfseg.errors import StackError
from sfseg.io import jpeg, open_stack
from sfseg.io.tiff import ifd
from tests.trust import cases, formats, readers, reference, tiffs
from tests.trust.tiffs import pack, tags

noise = np.random.default_rng(0).integers(0, 200, (32, 32)).astype("u1")


def read(source, **options):
    """All pixels of a source."""
    with open_stack(source, **options) as stack:
        return stack.read()


def refused(source, **options):
    """The text of the error that opening and reading a source raises."""
    with pytest.raises(StackError) as caught:
        read(source, **options)
    cases.require_clear(caught.value)
    return str(caught.value)


# --- samples of the full counts


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the workers are forked")
@pytest.mark.parametrize(("row", "count"), [(tiffs, 300), (readers, 120), (formats, 60)])
def test_a_file_is_read_right_or_refused(row, count):
    found = row.run(count, seed=1)
    assert found.failures == []
    assert found.held == found.tried == count


def test_a_broken_promise_is_reported_with_what_repeats_it(monkeypatch):
    late, now = [0.0], time.monotonic
    monkeypatch.setattr(cases.time, "monotonic", lambda: now() + late[0])

    def check(index, _folder):
        if index == 1:
            os.kill(os.getpid(), 9)
        if index == 2:
            raise KeyError("lost")
        if index == 3:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        if index == 4:
            late[0] = cases.WAITS_S + 1
        return "read"

    found = cases.row("some", check, 6, 7)
    assert (found.held, found.tried) == (2, 6)
    assert found.failures[0] == "seed 7, case 1: the process ended with -9"
    assert found.failures[1].startswith("seed 7, case 2: KeyError: 'lost'")
    assert found.failures[2].startswith("seed 7, case 3: left open")
    assert "301.0 s by the clock" in found.failures[3]


def test_the_second_reader_reads_what_tifffile_wrote():
    known = 0
    for kind in tiffs.KINDS:
        data, pixels = tiffs.sound(kind)
        tiff = reference.parse(data)
        try:
            found = np.stack([reference.read(tiff, page) for page in range(len(tiff.pages))])
        except reference.UnknownError:
            continue
        np.testing.assert_array_equal(found, pixels[: len(found)], err_msg=kind)
        known += 1
    assert known > 12


# --- TIFF


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_a_page_made_by_hand_is_good(tmp_path, order, big):
    start = len(pack([tags(32, 0, 0)], order=order, big=big))
    entries = [
        (
            code,
            kind,
            n,
            value << 8 * ((8 if big else 4) - {3: 2, 4: 4}[kind]) if order == ">" else value,
        )
        for code, kind, n, value in tags(32, start, 1024)
    ]
    (tmp_path / "a.tif").write_bytes(pack([entries], noise.tobytes(), order=order, big=big))
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], noise)


HOSTILE = {
    "a width of 2^32 - 1": ({"t256": (4, 1, 2**32 - 1)}, "needs 137438953440 bytes of pixels"),
    "an image of 2^62 pixels": (
        {"t256": (4, 1, 2**31), "t257": (4, 1, 2**31)},
        "1 of 67108864 strips or tiles are listed",
    ),
    "no rows": ({"t257": (4, 1, 0)}, "an image of 0x32 has no pixels"),
    "pixels beyond the end": ({"t273": (4, 1, 2**31)}, "the pixels end at byte"),
    "2^32 - 1 strips": ({"t273": (4, 2**32 - 1, 8)}, "tag 273 is damaged"),
    "strips without bytes": ({"t279": (4, 1, 0)}, "some strips or tiles are left out"),
    "no strips": ({"t279": (4, 0, 0)}, "0 of 1 strips or tiles are listed"),
    "rows in a strip 0": ({"t278": (4, 1, 0)}, "rowsperstrip=0"),
    "tiles of 0": ({"t322": (4, 1, 0), "t323": (4, 1, 0)}, "cannot be read"),
    "tiles of 2^31": (
        {"t322": (4, 1, 2**31), "t323": (4, 1, 2**31)},
        "needs 4611686018427387904 bytes",
    ),
    "bits 13 of 8": ({"t258": (4, 1, 13)}, "needs 1664 bytes of pixels"),
    "bits 2^31": ({"t258": (4, 1, 2**31)}, "pixels of 2147483648 bits"),
    "floats of 8 bits": ({"t339": (3, 1, 3)}, "8 bits and sample format 3"),
    "a predictor of floats for bytes": (
        {"t259": (3, 1, 8), "t317": (3, 1, 3)},
        "the pixels cannot be read",
    ),
    "an unknown compression": ({"t259": (3, 1, 34712)}, "compression 34712 cannot be read"),
    "the camera's compression": ({"t259": (3, 1, 6)}, "compression 6 cannot be read"),
    "2^31 samples": ({"t277": (4, 1, 2**31)}, "needs 2199023255552 bytes of pixels"),
    "a size in words": ({"t256": (2, 4, 32)}, "tag 256 is damaged"),
    "a size in floats": ({"t277": (11, 1, 1)}, "tag 277 is damaged"),
    "a MetaMorph stack": ({"t33629": (4, 9, 8)}, "this is a MetaMorph stack"),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("big", [False, True])
def test_a_page_that_asks_for_what_is_not_there_is_refused(tmp_path, what, big):
    changed, found = HOSTILE[what]
    start = len(pack([tags(32, 0, 0, **changed)], big=big))
    page = tags(32, start, 1024, **changed)
    (tmp_path / "a.tif").write_bytes(pack([page], noise.tobytes(), big=big))
    assert found in refused(tmp_path / "a.tif")


def test_a_tag_of_2_to_the_64_values_is_refused(tmp_path):
    page = tags(32, 300, 1024, t273=(16, 2**64 - 1, 2**63))
    (tmp_path / "a.tif").write_bytes(pack([page], bytes(4096), big=True))
    assert "tag 273 is damaged" in refused(tmp_path / "a.tif")


def test_a_tag_that_is_there_twice_is_refused(tmp_path):
    page = sorted([*tags(32, 200, 1024), (256, 4, 1, 16)])
    (tmp_path / "a.tif").write_bytes(pack([page], bytes(2000)))
    assert "tag 256 is there twice" in refused(tmp_path / "a.tif")


def test_more_pages_than_any_stack_has_are_refused_without_reading_them(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    page = [(256, 4, 1, 1)]  # of no pixels: the chain alone takes no time to check, nor memory
    path.write_bytes(pack([page] * 50_001))
    assert "there are more than 50000 pages" in refused(path)
    monkeypatch.setenv("SFSEG_TRUST_INPUT", "1")
    assert "page 1: " in refused(path)


def test_pages_that_share_a_strip_are_refused(tmp_path):
    count = 2000
    start = len(pack([tags(32, 0, 0)] * count))
    (tmp_path / "a.tif").write_bytes(pack([tags(32, start, 1024)] * count, noise.tobytes()))
    assert f"two strips or tiles overlap at byte {start}" in refused(tmp_path / "a.tif")


def test_tags_that_share_their_bytes_are_refused(tmp_path):
    shared = [(code, 2, 9000, 8) for code in range(40000, 40050)]
    (tmp_path / "a.tif").write_bytes(pack([tags(32, 1000, 1024) + shared], bytes(20_000)))
    assert "the tags up to page 1 overlap" in refused(tmp_path / "a.tif")


def test_a_page_within_a_page_is_not_a_section(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise, subifds=2, photometric="minisblack", metadata=None)
        writer.write(noise[::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)
        writer.write(noise[::4, ::4], subfiletype=1, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), noise[None])


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits", "jpeg"])
def test_pixels_that_end_early_are_refused(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise, compression=compression, metadata=None)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        start, count, tag = page.dataoffsets[0], page.databytecounts[0], page.tags[279].valueoffset
    data = path.read_bytes()
    for short in (1, 5, count // 4, count // 2, count - 1):
        left = bytearray(data)
        left[start + count - short : start + count] = bytes(short)
        struct.pack_into("<I", left, tag, count - short)
        path.write_bytes(left)
        try:
            np.testing.assert_array_equal(read(path)[0], noise)
        except StackError:
            continue
        assert short <= 5  # an end mark, or a sum, was lost: all pixels were there


def lzw_without_end(data):
    """Encode as TIFF 6.0 says, but for the code for the end; up to 3000 bytes."""
    table, width, bits, size = {bytes([n]): n for n in range(256)}, 9, 256, 9
    table[b"clear"], table[b"end"], known = 256, 257, b""
    for value in data:
        longer = known + bytes([value])
        if longer not in table:
            bits, size = bits << width | table[known], size + width
            table[longer] = len(table)
            width = (len(table)).bit_length()
            longer = bytes([value])
        known = longer
    bits, size = bits << width | table[known], size + width
    return (bits << -size % 8).to_bytes(-(-size // 8), "big")


def test_lzw_without_the_code_for_the_end_is_read_right(tmp_path):
    for seed in range(40):  # the last code ends at any of the bits of a byte
        draw = np.random.default_rng(seed)
        pixels = draw.integers(0, 1 + draw.integers(1, 200), (32, 32)).astype("u1")
        packed = lzw_without_end(pixels.tobytes())
        for lost in (0, 1, 2):
            start = len(pack([tags(32, 0, 0, t259=(3, 1, 5))]))
            page = tags(32, start, len(packed) - lost, t259=(3, 1, 5))
            (tmp_path / "a.tif").write_bytes(pack([page], packed[: len(packed) - lost]))
            if lost:
                refused(tmp_path / "a.tif")
            else:
                np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], pixels)


def test_a_bomb_is_read_when_the_person_trusts_it(tmp_path, monkeypatch):
    packed = imagecodecs.zstd_encode(bytes(12_000**2))
    start = len(pack([tags(12_000, 0, 0, t259=(3, 1, 50000))]))
    page = tags(12_000, start, len(packed), t259=(3, 1, 50000))
    (tmp_path / "a.tif").write_bytes(pack([page], packed))
    assert "hint: set SFSEG_TRUST_INPUT=1" in refused(tmp_path / "a.tif")
    monkeypatch.setenv("SFSEG_TRUST_INPUT", "1")
    with open_stack(tmp_path / "a.tif") as stack:
        assert not stack.window(0, slice(0, 9), slice(0, 9)).any()


# --- PNG and JPEG


def png(width, height, depth, colour, rows, *others):
    """A PNG; other chunks go before its pixels."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *others, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_large_png_is_no_bomb(tmp_path):
    # Pillow alone refuses 179 million pixels, and warns of 89 million
    side = 14_000
    rows = np.zeros((side, side + 1), "u1")
    rows[:, 1::64] = np.random.default_rng(0).integers(0, 9, rows[:, 1::64].shape)
    (tmp_path / "a.png").write_bytes(png(side, side, 8, 0, rows.tobytes()))
    with open_stack(tmp_path / "a.png") as stack:
        assert stack.shape == (1, side, side)


def test_a_png_bomb_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(60_000, 60_000, 8, 0, bytes(1000)))
    assert "bytes decode to 3600000000, over 10000 times" in refused(tmp_path / "a.png")


@pytest.mark.parametrize(("depth", "colour", "bytes_of_one"), [(8, 0, 1), (16, 0, 2), (8, 6, 4)])
def test_a_picture_over_1_gib_is_refused_for_it_is_decoded_whole(
    tmp_path, depth, colour, bytes_of_one
):
    side = 2**15 // int(bytes_of_one**0.5)
    filling = (b"tEXt", bytes(2**30 // 10_000 + 2000))  # so that it is no bomb by its ratio
    (tmp_path / "a.png").write_bytes(
        png(2**30 // bytes_of_one // side, side, depth, colour, b"", filling)
    )
    axes = "YXS" if colour else None
    with open_stack(tmp_path / "a.png", axes=axes) as stack:
        assert stack.shape[1] == side
    (tmp_path / "a.png").write_bytes(
        png(2**30 // bytes_of_one // side + 1, side, depth, colour, b"", filling)
    )
    found = "one strip, tile, chunk or picture has"
    assert found in refused(tmp_path / "a.png", axes=axes)


def test_a_png_with_one_wrong_bit_is_refused(tmp_path):
    data = png(8, 2, 8, 0, bytes(range(18)))
    (tmp_path / "a.png").write_bytes(data)
    for place in range(8, len(data)):
        changed = bytearray(data)
        changed[place] ^= 16
        (tmp_path / "a.png").write_bytes(changed)
        refused(tmp_path / "a.png")


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_are_not_cut_to_8(tmp_path, colour, samples):
    pixels = np.random.default_rng(0).integers(0, 2**16, (2, 5, samples)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    (tmp_path / "a.png").write_bytes(png(5, 2, 16, colour, rows))
    colours = pixels[..., : samples - 1] if samples in (2, 4) else pixels
    found = read(tmp_path / "a.png", axes="YXS")[0]
    np.testing.assert_array_equal(found, np.rint(colours.mean(axis=-1)))
    (tmp_path / "a.png").write_bytes(png(5, 2, 16, colour, rows[:-9]))
    assert "the pixels cannot be read" in refused(tmp_path / "a.png", axes="YXS")


def test_an_animation_is_refused(tmp_path):
    images = [Image.fromarray(noise), Image.fromarray(255 - noise)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:])
    assert "this is an animation" in refused(tmp_path / "a.png")


def test_colours_of_print_are_refused(tmp_path):
    Image.fromarray(noise).convert("CMYK").save(tmp_path / "a.jpg")
    assert "(CMYK)" in refused(tmp_path / "a.jpg", axes="YXS")


def test_a_file_that_only_begins_like_a_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG" + bytes(100))
    assert "this is not an image" in refused(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    refused(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}, {"quality": 10}],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read_whole_or_refused(tmp_path, options, mode):
    file = io.BytesIO()
    Image.fromarray(noise).resize((131, 97)).convert(mode).save(file, "JPEG", **options)
    data, path, axes = file.getvalue(), tmp_path / "a.jpg", "YXS" if mode == "RGB" else None
    path.write_bytes(data + b"trailing")
    whole = read(path, axes=axes)
    assert whole.shape == (1, 97, 131)
    for lost in (40, 200):
        path.write_bytes(data[: -2 - lost] + data[-2:])
        assert "too few pixels for 97x131" in refused(path, axes=axes)
    path.write_bytes(data[:-300] + b"\xff\xd9" + data[-298:])
    refused(path, axes=axes)


def test_the_end_of_a_jpeg_is_not_looked_for_in_what_lies_in_it():
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", comment=b"\xff\xd9 is no end")
    data = file.getvalue()
    assert jpeg.frame(data, "a").end == len(data) - 2
    assert jpeg.frame(data, "a")[1:3] == (32, 32)


# --- HDF5 and Zarr


@pytest.fixture
def pipe(tmp_path):
    """A pipe that nobody writes to: who opens it waits for ever."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("link", ["soft", "external", "soft to external", "loop"])
def test_links_are_followed_within_the_file_only(tmp_path, pipe, link):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/raw"] = noise
        file["external"] = h5py.ExternalLink(str(pipe), "raw")
        file["soft"] = h5py.SoftLink("/group/raw")
        file["soft to external"] = h5py.SoftLink("external")
        file["loop"] = h5py.SoftLink("/loop")
        file["group/up"] = h5py.SoftLink("/soft")
    if link == "soft":
        np.testing.assert_array_equal(read(f"{tmp_path}/a.h5:/soft")[0], noise)
        np.testing.assert_array_equal(read(f"{tmp_path}/a.h5:/group/up")[0], noise)
    else:
        assert "the pixels lie in another file" in refused(f"{tmp_path}/a.h5:/{link}")


def test_datasets_with_pixels_elsewhere_are_refused(tmp_path, pipe):
    virtual = h5py.VirtualLayout((32, 32), "u1")
    virtual[:] = h5py.VirtualSource(pipe, "raw", (32, 32))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("virtual", virtual)
        file.create_dataset("external", (32, 32), "u1", external=[(str(pipe), 0, 1024)])
        file.create_dataset("never", (32, 32), "u1", chunks=(16, 16))
    assert "the pixels lie in another file" in refused(f"{tmp_path}/a.h5:/virtual")
    assert "the pixels lie in another file" in refused(f"{tmp_path}/a.h5:/external")
    assert "the file has 0 of 1024 bytes of pixels" in refused(f"{tmp_path}/a.h5:/never")


@pytest.mark.parametrize("size", [1, 1023, 1025, 30_000_000])
@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_a_chunk_of_too_few_or_too_many_bytes_is_refused(tmp_path, compression, size):
    # HDF5 makes pixels of the memory behind it, or unpacks it all
    packed = bytes(size)
    if compression is not None:
        packed = zlib.compress(packed) if compression == "gzip" else imagecodecs.lzf_encode(packed)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (32, 32), "compression": compression, "shuffle": True}
        raw = file.create_dataset("raw", (32, 32), "u1", **options)
        raw.id.write_direct_chunk((0, 0), packed)
    refused(f"{tmp_path}/a.h5:/raw")


@pytest.mark.parametrize("options", [{"scaleoffset": 0}])
def test_filters_that_trust_the_file_are_refused_unless_allowed(tmp_path, options, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=noise, chunks=(16, 16), **options)
    assert "the filter 6" in refused(f"{tmp_path}/a.h5:/raw")
    monkeypatch.setenv("SFSEG_TRUST_INPUT", "1")
    np.testing.assert_array_equal(read(f"{tmp_path}/a.h5:/raw")[0], noise)


def store(path, **options):
    """Make a Zarr array of one chunk, and give its one file of pixels."""
    array = zarr.create_array(path, shape=(32, 32), dtype="u1", **{"chunks": (32, 32)} | options)
    array[...] = noise
    return path / ("0.0" if options.get("zarr_format") == 2 else "c/0/0")


BOMBS = {
    "gzip": (zarr.codecs.GzipCodec(), lambda zeros: numcodecs.GZip(9).encode(zeros)),
    "blosc": (zarr.codecs.BloscCodec(), lambda zeros: numcodecs.Blosc().encode(zeros)),
    "zstd": (zarr.codecs.ZstdCodec(), lambda zeros: numcodecs.Zstd().encode(zeros)),
}


@pytest.mark.parametrize("codec", BOMBS)
@pytest.mark.parametrize("sharded", [False, True])
def test_a_chunk_that_unpacks_to_far_more_than_it_should_is_refused(tmp_path, codec, sharded):
    compressor, encode = BOMBS[codec]
    options = {"chunks": (16, 16), "shards": (32, 32)} if sharded else {}
    chunk = store(tmp_path / "a.zarr", compressors=compressor, **options)
    bomb = encode(np.zeros(70_000_000, "u1"))
    if sharded:
        index = struct.pack("<QQ", 0, len(bomb)) * 4
        bomb = bytes(bomb) + bytes(numcodecs.CRC32C().encode(index))
    chunk.write_bytes(bomb)
    assert "a chunk unpacks to more than 67108864 bytes" in refused(tmp_path / "a.zarr")


def test_a_chunk_that_says_it_goes_on_beyond_its_end_is_refused(tmp_path):
    # Blosc reads on, and the process may end there
    chunk = store(tmp_path / "a.zarr", compressors=zarr.codecs.BloscCodec())
    data = bytearray(chunk.read_bytes())
    data[12:16] = struct.pack("<I", len(data) + 2**28)
    chunk.write_bytes(data)
    assert f"a chunk has {len(data)} of its " in refused(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("way", ["link", "pipe"])
def test_chunks_are_files_of_the_store(tmp_path, pipe, version, way):
    chunk = store(tmp_path / "a.zarr", zarr_format=version)
    other = pipe if way == "pipe" else chunk.rename(tmp_path / "secret")
    chunk.unlink(missing_ok=True)
    chunk.symlink_to(other)
    assert "is not a file of this store" in refused(tmp_path / "a.zarr")


def test_what_is_unpacked_twice_is_refused(tmp_path):
    twice = [zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()]
    store(tmp_path / "a.zarr", compressors=twice)
    assert "the codec gzip in zstd" in refused(tmp_path / "a.zarr")


def filtered(path, data, filters, *, compressor=None, **changed):
    """An array of format 2 of one chunk, whose bytes are given."""
    told = {"zarr_format": 2, "shape": [32, 32], "chunks": [32, 32], "dtype": "|u1", "order": "C"}
    told |= {"compressor": compressor, "fill_value": 0, "filters": filters}
    path.mkdir()
    (path / ".zarray").write_text(json.dumps(told | changed))
    (path / "0.0").write_bytes(data)
    return path


HUGE = "|S4000000"
FILTERS = {
    "texts": [{"id": "astype", "encode_dtype": "|u1", "decode_dtype": HUGE}],
    "texts of sums": [{"id": "delta", "dtype": HUGE, "astype": "|u1"}],
    "records": [{"id": "delta", "dtype": "(1000,)f8", "astype": "|u1"}],
    "complex numbers": [{"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<c16"}],
    "an array of each": [
        {"id": "fixedscaleoffset", "scale": [[1]] * 1000, "offset": 0, "dtype": "|u1"}
    ],
    "another array": [
        {"id": "fixedscaleoffset", "scale": 1, "offset": [[1]] * 1000, "dtype": "|u1"}
    ],
    "eight times eight": [{"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<f8"}] * 2,
    "bits of bits": [{"id": "packbits"}] * 2,
}


@pytest.mark.parametrize("what", FILTERS)
@pytest.mark.parametrize("compressor", [None, {"id": "zlib", "level": 1}])
def test_filters_that_expand_their_input_are_refused(tmp_path, what, compressor):
    data = bytes(16) if compressor is None else zlib.compress(bytes(16))
    path = filtered(tmp_path / "a.zarr", data, FILTERS[what], compressor=compressor)
    assert "filters that make more than 8 bytes of one, or no numbers" in refused(path)


@pytest.mark.parametrize(
    "filters",
    [
        [numcodecs.AsType("<f8", "|u1"), numcodecs.BitRound(9)],
        [numcodecs.FixedScaleOffset(0, 0.5, "<f8", "<u2"), numcodecs.Delta("<u2")],
        [numcodecs.Delta("|u1", "<i2"), numcodecs.Shuffle(2)],
    ],
)
def test_filters_of_numbers_are_undone(tmp_path, filters):
    dtype = np.dtype(getattr(filters[0], "dtype", "|u1"))
    pixels = data = noise.astype(dtype) * 2
    for each in filters:
        data = each.encode(data)
    told = [each.get_config() for each in filters]
    packed = zlib.compress(bytes(np.ascontiguousarray(data).view("u1")))
    path = tmp_path / "a.zarr"
    filtered(path, packed, told, compressor={"id": "zlib", "level": 1}, dtype=dtype.str)
    np.testing.assert_array_equal(read(path)[0], pixels)


def test_what_is_unpacked_is_what_lies_in_the_file(tmp_path):
    # else a small size is read there, and another one unpacked
    bomb = b"\0\0\x10\x10" + bytes(100)
    assert struct.unpack("<I", bomb[:4])[0] > 2**28
    hidden = bytes(numcodecs.Delta("u1").encode(np.frombuffer(bomb, "u1")))
    delta = {"id": "delta", "dtype": "|u1"}
    path = filtered(tmp_path / "a.zarr", hidden, [{"id": "lz4"}, delta])
    assert "the codec delta after lz4" in refused(path)
    path = filtered(
        tmp_path / "b.zarr", bytes(8) + bomb, [{"id": "lz4"}, {"id": "crc32c", "location": "start"}]
    )
    assert "the codec crc32c after lz4" in refused(path)
    whole = bytes(numcodecs.CRC32C().encode(numcodecs.LZ4().encode(noise)))
    path = filtered(tmp_path / "c.zarr", whole, [{"id": "lz4"}, numcodecs.CRC32C().get_config()])
    np.testing.assert_array_equal(read(path)[0], noise)


@pytest.mark.parametrize("place", ["codecs", "index_codecs"])
def test_an_index_that_is_not_at_the_end_of_the_file_is_refused(tmp_path, place):
    store(tmp_path / "a.zarr", chunks=(16, 16), shards=(32, 32))
    told = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    if place == "codecs":
        told["codecs"].append({"name": "crc32c"})
    else:
        moved = {"name": "numcodecs.crc32c", "configuration": {"location": "start"}}
        told["codecs"][0]["configuration"]["index_codecs"][1] = moved
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(told))
    found = "codec crc32c after sharding" if place == "codecs" else "index of 4 chunks in a file"
    assert found in refused(tmp_path / "a.zarr")


def test_a_huge_array_with_little_in_the_store_is_refused(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(10**5,) * 3, dtype="u1", chunks=(1, 64, 64)
    )
    array[0, :64, :64] = 1
    assert "over 10000 times as many" in refused(tmp_path / "a.zarr")


@pytest.mark.parametrize("source", ["ftp://127.0.0.1:9/a.zarr", "file:///etc/hostname", "a.tif|b"])
def test_addresses_that_are_no_store_are_never_opened(source):
    assert "there is no such file" in refused(source)


def test_the_bytes_of_tags_are_counted_once_for_each_page(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([noise] * 4), photometric="minisblack", ome=True)
    found = ifd.walk(tmp_path / "a.tif", "a.tif")
    assert len(found) == 4
    assert sum(page.value_bytes for page in found) < (tmp_path / "a.tif").stat().st_size


def test_every_case_is_the_same_each_time():
    make = functools.partial(tiffs.make, seed=5)
    assert [make(i) for i in range(20)] == [make(i) for i in range(20)]
