"""Turn and mirror images as their orientation tag says, window by window."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sfseg.types import AnyArray, VoxelSize

if TYPE_CHECKING:
    from sfseg.io.sources import ArraySource

UPRIGHT = 1

# TIFF 6.0, page 36: what is done to the stored image, in this order:
# swap rows and columns, mirror top to bottom, mirror left to right
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def as_orientation(value: object) -> int:
    """Return the value of an orientation tag; 1, upright, for one that TIFF does not know."""
    return value if isinstance(value, int) and value in _STEPS else UPRIGHT


class TurnedSource:
    """An array whose sections are shown turned or mirrored; see `sfseg.io.sources.ArraySource`.

    Parameters
    ----------
    source : ArraySource
        The array as it is stored, with Y and X among its letters.
    orientation : int
        The value of the tag, 1 to 8.
    """

    def __init__(self, source: "ArraySource", orientation: int) -> None:
        self._source = source
        self._swap, *self._mirror = _STEPS[orientation]
        self._places = source.letters.index("Y"), source.letters.index("X")
        self.letters, self.dtype, self.channel = source.letters, source.dtype, source.channel
        self.is_parallel = source.is_parallel
        self.decoding_bytes = getattr(source, "decoding_bytes", 0)
        self.shape = self._swapped(source.shape)
        self.voxel_size_nm: VoxelSize | None = source.voxel_size_nm
        if self._swap and source.voxel_size_nm is not None:
            z, y, x = source.voxel_size_nm
            self.voxel_size_nm = z, x, y
        self.notes = (*source.notes, f"it is turned as its orientation tag, {orientation}, says")

    def _swapped(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Swap what belongs to rows and to columns, if the image is turned."""
        rows, columns = self._places
        swapped = list(values)
        if self._swap:
            swapped[rows], swapped[columns] = swapped[columns], swapped[rows]
        return tuple(swapped)

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        stored, steps = list(box), [slice(None)] * len(box)
        for place, mirror in zip(self._places, self._mirror, strict=True):
            if mirror:
                length, span = self.shape[place], box[place]
                stored[place] = slice(length - span.stop, length - span.start)
                steps[place] = slice(None, None, -1)
        pixels = self._source.read(self._swapped(tuple(stored)))
        if self._swap:
            pixels = np.swapaxes(pixels, *self._places)
        return np.asarray(pixels[tuple(steps)])

    def close(self) -> None:
        """Close the file."""
        self._source.close()
