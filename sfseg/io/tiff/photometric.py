"""Show the numbers of a TIFF's pages as image programs do: palettes, and min-is-white.

Images are read as they are shown. Labels are too where they show only black and white; else they
number cells, and their numbers stay.
"""

import numpy as np
import tifffile

from sfseg.types import AnyArray

_MIN_IS_WHITE, _PALETTE = 0, 3
_PHOTOMETRIC, _COLORMAP = 262, 320
_MAX_INDEX_BITS = 16


def is_special(page: tifffile.TiffPage) -> bool:
    """Tell whether the numbers of a page are not what it shows."""
    return is_inverted(page) or colour_table(page) is not None


def is_inverted(page: tifffile.TiffPage) -> bool:
    """Tell whether 0 is shown white."""
    # tifffile gives 0 where the tag is missing
    is_said = page.photometric == _MIN_IS_WHITE and _PHOTOMETRIC in page.tags
    return is_said and page.samplesperpixel == 1


def lacks_palette(page: tifffile.TiffPage) -> bool:
    """Tell whether the numbers of a page name entries of a palette that is not there."""
    return _has_palette(page) and colour_table(page) is None


def _has_palette(page: tifffile.TiffPage) -> bool:
    return page.photometric == _PALETTE and page.samplesperpixel == 1


def colour_table(page: tifffile.TiffPage) -> AnyArray | None:
    """Return the palette of a page; None where there is none, or none that fits its numbers.

    Returns
    -------
    ndarray of uint8 or uint16, shape (entries, 3)
        Red, green and blue. Pages of up to 8 bits have tables of 8 bits.
    """
    bits = page.bitspersample
    whole = page.dtype is not None and page.dtype.kind in "ub"
    if not _has_palette(page) or not whole or bits > _MAX_INDEX_BITS or _COLORMAP not in page.tags:
        return None
    table = np.asarray(page.tags[_COLORMAP].value)
    if table.shape != (3, 2**bits) or table.dtype.kind not in "ui":
        return None
    if bits <= 8:  # TIFF has 16 bits, but some programs write 8
        table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    return np.ascontiguousarray(table.T)


def is_grey(table: AnyArray) -> bool:
    """Tell whether all entries of a palette are grey."""
    return bool((table[:, :1] == table).all())


def is_inverting(table: AnyArray) -> bool:
    """Tell whether a palette shows 0 white and the largest number black, evenly between."""
    return bool((table == np.arange(len(table))[::-1, np.newaxis]).all())


def shown(page: tifffile.TiffPage, pixels: AnyArray) -> AnyArray:
    """Turn the numbers of a page into grey values.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page; a palette is grey.
    pixels : ndarray
        Some of its numbers.

    Returns
    -------
    ndarray, shape as pixels
        Grey values; the type is that of the numbers, or of the palette.
    """
    table = colour_table(page)
    if table is not None:
        return np.asarray(table[:, 0][pixels.astype(np.intp, copy=False)])
    if not is_inverted(page):
        return pixels
    if pixels.dtype.kind == "f":
        return 1 - pixels
    if pixels.dtype.kind == "u":  # 12 bits may lie in 16
        return np.asarray(pixels.dtype.type(2**page.bitspersample - 1) - pixels)
    return np.asarray(~pixels)


def shows_black_and_white(page: tifffile.TiffPage, pixels: AnyArray) -> bool:
    """Tell whether some numbers of a page are shown as black and white only."""
    table = colour_table(page)
    if table is not None:
        used = table[np.unique(pixels).astype(np.intp)]
        return is_grey(used) and bool(np.isin(used, (0, np.iinfo(table.dtype).max)).all())
    white = 2**page.bitspersample - 1 if pixels.dtype.kind == "u" else 1
    return bool(np.isin(shown(page, pixels), (0, white)).all())
