"""Measure how much a chunk unpacks to: the libraries notice too late, or not at all.

Zarr compares the size of a chunk with the declared size after it has taken the memory. HDF5 never
compares, and makes pixels of whatever the memory held before.
"""

import struct
import zlib

import imagecodecs

from sfseg.errors import StackError
from sfseg.io.guards import SMALL_BYTES, refuse_untrusted

COMPRESSORS = frozenset({"blosc", "gzip", "lz4", "zlib", "zstd"})
"""Compressors whose unpacked size `refuse_bomb_chunk` can find."""

_DEFLATE_RATIO = 1032
"""Most bytes that deflate makes of one; zlib's technical details, Maximum Expansion Factor."""

_ANY_WRAPPER = zlib.MAX_WBITS | 32
_STEP_BYTES = 2**22
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def refuse_bomb_chunk(what: str, compressor: str, data: bytes, chunk_bytes: int) -> None:
    """Refuse a chunk that unpacks to far more bytes than its pixels have.

    Parameters
    ----------
    what : str
        The file, for the message.
    compressor : str
        One of `COMPRESSORS`.
    data : bytes
        The chunk as it is stored.
    chunk_bytes : int
        Size of its pixels; stored, they may be eight times as large.

    Raises
    ------
    StackError
        If it unpacks to more than 64 MiB and eight times its pixels, or is cut short.
    IndexError, RuntimeError, struct.error, zlib.error
        If it is damaged.
    """
    most = max(SMALL_BYTES, 8 * chunk_bytes)
    if compressor == "blosc":
        size = _blosc_bytes(what, data)
    elif compressor == "lz4":
        (size,) = struct.unpack_from("<I", data)
    elif compressor == "zstd":
        size = _zstd_bytes(data, most)
    else:
        size = deflate_bytes(data, most) if len(data) * _DEFLATE_RATIO > most else 0
    if size > most:
        refuse_untrusted(what, f"a chunk unpacks to more than {most} bytes")


def _blosc_bytes(what: str, data: bytes) -> int:
    """Read the size that a chunk of Blosc declares; Blosc itself would read beyond its end."""
    # header: 4 bytes of versions and flags, then unpacked size, block size, stored size
    size, _, stored = struct.unpack_from("<4xIII", data)
    if stored > len(data):
        raise StackError(
            f"{what}: a chunk has {len(data)} of its {stored} bytes",
            hint="copy or download the store again; it may be damaged",
        )
    return int(size)


def _zstd_bytes(data: bytes, most: int) -> int:
    """Read the size that the first frame declares, as Zarr does, else unpack; RFC 8878."""
    # frame: 4 bytes magic, 1 byte flags, window (unless single) and dictionary, then the size
    flags = data[4]
    single = flags >> 5 & 1
    size_bytes = (single, 2, 4, 8)[flags >> 6]
    if not data.startswith(_ZSTD) or size_bytes == 0:
        return len(imagecodecs.zstd_decode(data, out=most))
    at = 6 - single + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(data[at : at + size_bytes], "little")


def deflate_bytes(data: bytes, most: int) -> int:
    """Count the bytes that zlib or gzip data unpack to, without keeping them.

    Parameters
    ----------
    data : bytes
        One stream of zlib, or those of gzip one after the other.
    most : int
        Where counting may stop.

    Returns
    -------
    int
        The size, or one over `most`.

    Raises
    ------
    zlib.error
        If the data are damaged.
    """
    size = 0
    while data and size <= most:
        stream = zlib.decompressobj(_ANY_WRAPPER)
        while data and not stream.eof and size <= most:
            size += len(stream.decompress(data, _STEP_BYTES))
            data = stream.unconsumed_tail
        data = stream.unused_data if stream.unused_data.startswith(_GZIP) else b""
    return size
