"""The codecs of a Zarr array: which are safe, and how much they make of what is stored.

A codec is a mapping as the metadata of format 2 or 3 have it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfseg.errors import StackError
from sfseg.io.chunks import COMPRESSORS

Codec = Mapping[str, Any]

SHARDING = "sharding_indexed"
_SUM, _BITS = "crc32c", "packbits"
_UNPACKING = COMPRESSORS | {SHARDING}
_KNOWN = _UNPACKING | {_SUM, _BITS, "bytes", "transpose"}
_KNOWN |= {"astype", "bitround", "delta", "fixedscaleoffset", "quantize", "shuffle"}
"""Codecs that make numbers of bytes; Zarr has others, and ``pickle`` runs what it finds.

Of bz2 and lzma nobody can tell how much memory they take.
"""

_MOST_OF_ONE = 8
"""Bytes of a float64 made of one byte, or of as many bools made of its bits."""


def name(codec: Codec) -> str:
    """Give the name of a codec."""
    return str(codec.get("id", codec.get("name"))).removeprefix("numcodecs.")


def expansion_ratio(what: str, codecs: Sequence[Codec], *, nested: bool = False) -> int:
    """Refuse codecs that are not known to be safe, and tell how much larger the others make bytes.

    Parameters
    ----------
    what : str
        The store, for the message.
    codecs : sequence of mappings
        In the order of writing.
    nested : bool
        Whether they are those of the chunks within a shard.

    Returns
    -------
    int
        How many bytes of pixels are made of one unpacked byte at most.

    Raises
    ------
    StackError
        If one is unknown; if one unpacks what was unpacked, or what is not as it lies in the file,
        where it is measured; or if filters make more than 8 bytes of one, or anything but numbers.
    """
    names = [name(codec) for codec in codecs]
    strange = set(names) - _KNOWN
    unpacking = [each for each in names if each in _UNPACKING]
    if strange or len(unpacking) > 1 or (nested and SHARDING in names):
        found = min(strange) if strange else " in ".join(unpacking)
        raise _unsafe(what, f"the codec {found}")
    if unpacking and not _is_last(unpacking[0], codecs):
        raise _unsafe(what, f"the codec {names[-1]} after {unpacking[0]}")
    most = math.prod(_most_of_one(codec) for codec in codecs)
    if most > _MOST_OF_ONE:
        raise _unsafe(
            what, f"filters that make more than {_MOST_OF_ONE} bytes of one, or no numbers"
        )
    return int(most)


def _is_last(unpacking: str, codecs: Sequence[Codec]) -> bool:
    """Tell whether what unpacks comes last; the sum at the end of a compressed chunk may follow."""
    *others, last = codecs
    is_sum = name(last) == _SUM and _settings(last).get("location", "end") == "end"
    return name(others[-1] if is_sum and unpacking != SHARDING else last) == unpacking


def _most_of_one(codec: Codec) -> float:
    """Count the bytes that a codec makes of one; infinity where it makes anything but numbers."""
    if name(codec) == _BITS:
        return _MOST_OF_ONE
    told = _settings(codec)
    made = np.dtype(told.get("decode_dtype") or told.get("dtype") or "u1")
    stored = np.dtype(told.get("encode_dtype") or told.get("astype") or made)
    # of a list of factors each number would become an array
    plain = all(isinstance(told.get(key, 0), int | float) for key in ("scale", "offset"))
    if not plain or not all(each.kind in "biuf" and each.itemsize <= 8 for each in (made, stored)):
        return math.inf
    return max(1, made.itemsize // stored.itemsize)


def _settings(codec: Codec) -> Codec:
    """Give what a codec is told."""
    return {**codec, **(codec.get("configuration") or {})}


def _unsafe(what: str, found: str) -> StackError:
    """Make the error that chunks are stored in a way that may do harm."""
    return StackError(
        f"{what}: expected chunks stored in a way known to be safe, found {found}",
        hint="store it with blosc, zstd or gzip, and without filters",
    )
