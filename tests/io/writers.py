"""Files of the formats that no library here writes: DM3 and DM4, N5, precomputed volumes."""

import gzip
import itertools
import json
import struct
import zlib

import imagecodecs
import numpy as np

CHUNK = (2, 16, 32)


def pieces(shape, chunk):
    """The chunks of an array: their numbers, and where they lie."""
    for index in itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunk, strict=True))):
        corners = zip(index, chunk, shape, strict=True)
        yield index, tuple(slice(i * c, min(i * c + c, n)) for i, c, n in corners)


def lz4(data):
    """Two blocks as Java's LZ4BlockOutputStream writes them, one of them plain, and the end."""
    half = len(data) // 2
    packed = bytes(imagecodecs.lz4_encode(data[half:]))
    head = struct.Struct("<8sBIII").pack
    first = head(b"LZ4Block", 0x10, half, half, 0) + data[:half]
    second = head(b"LZ4Block", 0x20, len(packed), len(data) - half, 0) + packed
    return first + second + head(b"LZ4Block", 0x10, 0, 0, 0)


PACK = {
    "raw": bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "lz4": lz4,
    "zstd": lambda data: bytes(imagecodecs.zstd_encode(data)),
    "blosc": lambda data: bytes(imagecodecs.blosc_encode(data)),
}


def n5(store, pixels, kind="gzip", *, path="volumes/raw", full=False, **attributes):
    """Write an array as N5; `full` writes whole chunks at the ends."""
    folder = store / path
    folder.mkdir(parents=True)
    (store / "attributes.json").write_text('{"n5": "2.5.1"}')
    chunk = CHUNK[-pixels.ndim :]
    compression = {"type": "gzip", "useZlib": True} if kind == "zlib" else {"type": kind}
    found = {"dimensions": pixels.shape[::-1], "blockSize": chunk[::-1]}
    found |= {"dataType": pixels.dtype.name, "compression": compression} | attributes
    (folder / "attributes.json").write_text(json.dumps(found))
    for index, place in pieces(pixels.shape, chunk):
        part = pixels[place]
        if full:
            part = np.pad(part, [(0, c - n) for c, n in zip(chunk, part.shape, strict=True)])
        data = part.astype(part.dtype.newbyteorder(">")).tobytes()
        file = folder.joinpath(*map(str, index[::-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        header = struct.pack(f">HH{part.ndim}I", 0, part.ndim, *part.shape[::-1])
        file.write_bytes(header + PACK[kind](data))
    return f"{store}:/{path}"


def precomputed(
    store,
    pixels,
    *,
    encoding="raw",
    packed=False,
    suffix="",
    offset=(0, 0, 0),
    key="4_4_50",
    **info,
):
    """Write (C, Z, Y, X) or (Z, Y, X) as a precomputed volume; `packed` with gzip."""
    volume = pixels if pixels.ndim == 4 else pixels[None]
    scale = {"key": key, "size": volume.shape[:0:-1], "resolution": [4, 4.6, 50]}
    scale |= {"chunk_sizes": [CHUNK[::-1]], "encoding": encoding, "voxel_offset": offset}
    found = {"@type": "neuroglancer_multiscale_volume", "type": "image", "scales": [scale | info]}
    found |= {"data_type": pixels.dtype.name, "num_channels": len(volume)}
    (store / key).mkdir(parents=True)
    (store / "info").write_text(json.dumps(found))
    for _, place in pieces(volume.shape[1:], CHUNK):
        part = volume[(slice(None), *place)]
        spans = [f"{p.start + o}-{p.stop + o}" for p, o in zip(place[::-1], offset, strict=True)]
        data = part.tobytes()
        if encoding == "jpeg":
            data = bytes(imagecodecs.jpeg8_encode(part.reshape(-1, part.shape[-1]), level=100))
        path = store / key / f"{'_'.join(spans)}{suffix}"
        path.write_bytes(gzip.compress(data) if packed else data)
    return store


def dm(pixels, *, version=3, order="<", scale=4.0, unit="nm", code=None, sizes=None, preview=True):
    """A DM3 or DM4 file with a preview and an image."""
    word = {3: "i", 4: "q"}[version]
    codes = {"u1": 6, "i2": 1, "f4": 2, "u2": 10, "i4": 7, "f8": 12}
    numbers = {"u1": 10, "i2": 2, "f4": 6, "u2": 4, "i4": 3, "f8": 7}

    def w(*values):
        return struct.pack(f">{len(values)}{word}", *values)

    def tag(name, kind, body):
        size = w(len(body)) if version == 4 else b""
        return struct.pack(">BH", kind, len(name)) + name.encode() + size + body

    def group(name, *members):
        return tag(name, 20, content(*members))

    def content(*members):
        return b"\1\0" + w(len(members)) + b"".join(members)

    def value(name, kind, number):
        sign = {"i": 3, "I": 5, "f": 6}[kind]
        return tag(name, 21, b"%%%%" + w(1, sign) + struct.pack(order + kind, number))

    def text(name, words):
        data = words.encode("utf-16-le" if order == "<" else "utf-16-be")
        return tag(name, 21, b"%%%%" + w(3, 20, 4, len(words)) + data)

    def image(array, found):
        key = array.dtype.str[1:]
        data = np.ascontiguousarray(array, array.dtype.newbyteorder(order)).tobytes()
        axes = [group("", value("Scale", "f", scale), text("Units", unit)) for _ in array.shape]
        lengths = sizes or array.shape[::-1]
        return group(
            "",
            group(
                "ImageData",
                group("Calibrations", group("Dimension", *axes)),
                tag("Data", 21, b"%%%%" + w(3, 20, numbers[key], array.size) + data),
                value("DataType", "I", found or codes[key]),
                group("Dimensions", *(value("", "I", n) for n in lengths)),
            ),
        )

    images = [image(np.zeros((4, 4), "i4"), 23)] * preview + [image(pixels, code)]
    body = content(
        text("Name", "a cell"),
        tag("Box", 21, b"%%%%" + w(7, 15, 0, 2, 0, 3, 0, 3) + struct.pack(f"{order}2i", 1, 2)),
        group("ImageList", *images),
        group("ImageSourceList", group("", value("ImageRef", "I", len(images) - 1))),
    )
    return struct.pack(">i", version) + w(len(body)) + struct.pack(">i", order == "<") + body
