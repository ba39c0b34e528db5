"""Ways to damage the bytes of a file, drawn from a generator."""

from collections.abc import Callable
from random import Random

Mutation = Callable[[bytearray, Random], None]

NASTY = (
    0,
    1,
    2,
    3,
    7,
    255,
    256,
    2**15,
    2**16 - 1,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
"""Numbers that programs trip over."""


def _place(data: bytearray, draw: Random) -> int:
    return draw.randrange(len(data)) if data else 0


def _block(data: bytearray, draw: Random) -> slice:
    """Choose a part, more often a short one."""
    start = _place(data, draw)
    length = draw.choice((1, 2, 4, 8, 16, 64, 256, len(data) // 4 + 1))
    return slice(start, min(len(data), start + length))


def flip(data: bytearray, draw: Random) -> None:
    """Flip some bits."""
    for _ in range(draw.choice((1, 1, 2, 8)) if data else 0):
        data[_place(data, draw)] ^= 1 << draw.randrange(8)


def overwrite(data: bytearray, draw: Random) -> None:
    """Write zeros, ones or noise over a part."""
    part = _block(data, draw)
    length = part.stop - part.start
    data[part] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))


def cut(data: bytearray, draw: Random) -> None:
    """Cut the end off."""
    del data[_place(data, draw) :]


def remove(data: bytearray, draw: Random) -> None:
    """Take a part out."""
    del data[_block(data, draw)]


def copy(data: bytearray, draw: Random) -> None:
    """Copy a part over another, or between."""
    part, place = _block(data, draw), _place(data, draw)
    piece = bytes(data[part])
    data[place : place + draw.choice((0, len(piece)))] = piece


def number(data: bytearray, draw: Random) -> None:
    """Write a nasty number somewhere."""
    size, place = draw.choice((1, 2, 4, 8)), _place(data, draw)
    value = draw.choice((*NASTY, len(data), len(data) - 1)) % 256**size
    data[place : place + size] = value.to_bytes(size, draw.choice(("little", "big")))


def grow(data: bytearray, draw: Random) -> None:
    """Put something at the end."""
    data += draw.choice((bytes(1000), draw.randbytes(100), bytes(data)))


BLIND: tuple[Mutation, ...] = (flip, flip, overwrite, cut, remove, copy, number, grow)
"""Those that know nothing of the format."""


def mutate(whole: bytes, draw: Random, known: tuple[Mutation, ...] = BLIND) -> bytes:
    """Damage a file once, or a few times."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        draw.choice(known)(data, draw)
    return bytes(data)
