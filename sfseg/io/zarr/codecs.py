"""The codecs of a Zarr array: which are safe, and how much larger they make the stored bytes.

A codec is a mapping as in the metadata of format 2 or 3.
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
"""Codecs that turn bytes into numbers. Zarr has others: ``pickle`` runs code.

bz2 and lzma are not among them: their memory cannot be known in advance.
"""

_MOST_OF_ONE = 8
"""One byte becomes a float64 of 8 bytes, or its bits become 8 bools."""


def name(codec: Codec) -> str:
    """Return the name of a codec, the same for format 2 and 3."""
    return str(codec.get("id", codec.get("name"))).removeprefix("numcodecs.")


def expansion_ratio(what: str, codecs: Sequence[Codec], *, nested: bool = False) -> int:
    """Refuse codecs that are not known to be safe; return how much larger the others make bytes.

    Parameters
    ----------
    what : str
        The store, for the message.
    codecs : sequence of mappings
        In the order of writing.
    nested : bool
        Whether they are the codecs of the chunks within a shard.

    Returns
    -------
    int
        The most bytes of pixels that one unpacked byte becomes.

    Raises
    ------
    StackError
        If a codec is unknown; if two unpack, or the one that unpacks is not the last, so that the
        stored bytes cannot be measured; or if filters make more than 8 bytes of one, or anything
        but numbers.
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
    """Tell whether the codec that unpacks is the last; a checksum at the end may follow it."""
    *others, last = codecs
    is_sum = name(last) == _SUM and _settings(last).get("location", "end") == "end"
    return name(others[-1] if is_sum and unpacking != SHARDING else last) == unpacking


def _most_of_one(codec: Codec) -> float:
    """Return the most bytes that a codec makes of one; infinity if it makes no numbers."""
    if name(codec) == _BITS:
        return _MOST_OF_ONE
    settings = _settings(codec)
    # the ratio of the type in memory (made) to the type in the chunk (stored)
    made = np.dtype(settings.get("decode_dtype") or settings.get("dtype") or "u1")
    stored = np.dtype(settings.get("encode_dtype") or settings.get("astype") or made)
    # with a list of factors each number would become a whole array
    plain = all(isinstance(settings.get(key, 0), int | float) for key in ("scale", "offset"))
    if not plain or not all(each.kind in "biuf" and each.itemsize <= 8 for each in (made, stored)):
        return math.inf
    return max(1, made.itemsize // stored.itemsize)


def _settings(codec: Codec) -> Codec:
    """Return the settings of a codec: in format 3 they are in ``configuration``."""
    return {**codec, **(codec.get("configuration") or {})}


def _unsafe(what: str, found: str) -> StackError:
    """Make the error for chunks that may do harm."""
    return StackError(
        f"{what}: chunks stored with {found} are not known to be safe",
        hint="store it with blosc, zstd or gzip, and without filters",
    )
