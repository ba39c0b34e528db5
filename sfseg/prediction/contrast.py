"""Tell whether a map looks as if dark and bright were swapped in the image.

A network that sees membranes as it learnt them marks most of the lines that are darker than what is
around them. Where dark and bright are swapped, the dark lines are gaps between membranes, and it
marks few of them. Networks that learnt bright membranes mark bright lines. So the measure is the
share of the lines that are marked, dark or bright ones, whichever is larger.

Few are also marked where the image is hard, or membranes are thin. So where a tile is doubtful, it
is predicted with dark and bright swapped, too: the contrast is wrong if more lines are marked then.
The journal has the errors: it holds under noise, blur, and changes of the grey values.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import ndimage

from sfseg.prediction.tiles import Rectangle
from sfseg.prediction.windows import Window
from sfseg.types import AnyArray, Probability

MARKED_SHARE = 0.42
"""With a smaller share of marked lines the map is doubtful. Most right ones have 0.45 to 0.75."""

TRIED_EVERY = 8
"""One tile in so many, and the first one, may be predicted swapped: that takes time."""

SMALLEST_PX = 128**2
"""Fewer pixels of tissue are not judged: they may hold a single cell."""

_MEASURED_PX = 512  # side of the square in the middle of a tile: so it takes no time
_LINE_BINS, _AROUND_BINS = 3, 11  # in bins of 2x2 pixels: a membrane, and what is around it
_NEARLY_ALL = 0.99


def measure_lines(window: Window, keep: Rectangle, probability: Probability) -> dict[str, float]:
    """Measure the lines in the middle of a tile, and how much of them the map marks.

    Parameters
    ----------
    window : Window
        What the tile read.
    keep : tuple of slice
        Its core; see `Tile.keep`.
    probability : ndarray of float32, shape (Y, X) of `keep`
        Interior probability of the core.

    Returns
    -------
    dict of str to float
        ``dark`` and ``bright``, the sums of squared contrasts of lines; ``dark_marked`` and
        ``bright_marked``, weighted with the probability of membrane. They add up over tiles.
    """
    middle = tuple(_middle(length) for length in probability.shape)
    pixels = window.normalisation.cut_off(window.pixels[keep][middle])
    grey = window.normalisation.levels.standardise(_bin(pixels))  # so: few numbers are normalised
    membrane = 1 - _bin(probability[middle])
    empty = None if window.empty is None else _bin(window.empty[keep][middle]) > 0
    if empty is not None:
        grey[empty] = 0
    around, line = (ndimage.uniform_filter(grey, side) for side in (_AROUND_BINS, _LINE_BINS))
    contrast = line - around
    if empty is not None:
        contrast[empty] = 0
    squares, is_dark = contrast * contrast, contrast < 0
    facts = {}
    for name, lines in (("dark", squares * is_dark), ("bright", squares * ~is_dark)):
        facts[name] = float(lines.sum())
        facts[f"{name}_marked"] = float((lines * membrane).sum())
    return facts


def is_doubtful(facts: Mapping[str, float]) -> bool:
    """Tell whether a tile with these `measure_lines` looks as if dark and bright were swapped."""
    return _marked_share([facts]) < MARKED_SHARE


def compare_swapped(as_is: Mapping[str, float], swapped: Mapping[str, float]) -> dict[str, float]:
    """Compare how much of the lines of a tile is marked, and is if dark and bright are swapped.

    Parameters
    ----------
    as_is, swapped : mapping of str to float
        The results of `measure_lines` for the two maps of the tile.

    Returns
    -------
    dict of str to float
        ``tried_as_is`` and ``tried_swapped``, the two shares. They add up over tiles.
    """
    return {"tried_as_is": _marked_share([as_is]), "tried_swapped": _marked_share([swapped])}


def _marked_share(facts: Sequence[Mapping[str, float]]) -> float:
    """Return the share of the dark lines that are marked, or of the bright ones if it is larger."""
    shares = []
    for name in ("dark", "bright"):
        lines = sum(fact.get(name, 0.0) for fact in facts)
        marked = sum(fact.get(f"{name}_marked", 0.0) for fact in facts)
        shares.append(marked / lines if lines else 1.0)
    return max(shares)


def _middle(length: int) -> slice:
    """Return the middle of a side, of an even length."""
    measured = min(length, _MEASURED_PX) // 2 * 2
    start = (length - measured) // 2
    return slice(start, start + measured)


def _bin(pixels: AnyArray) -> AnyArray:
    """Take the mean of each 2x2 pixels: noise counts less, and it is four times as fast."""
    pairs = np.add(pixels[::2], pixels[1::2], dtype=np.float32)
    binned: AnyArray = (pairs[:, ::2] + pairs[:, 1::2]) / np.float32(4)
    return binned


def contrast_warning(
    tiles: Iterable[Mapping[str, float]], pixels: float, interior_share: float, *, inverted: bool
) -> str | None:
    """Return a warning if few of the lines are marked; None if the map looks right.

    It also looks right if tiles were predicted swapped, and did not mark more.

    Parameters
    ----------
    tiles : iterable of mapping
        The facts of all tiles, with those of `measure_lines` and, of some, of `compare_swapped`;
        older ones may lack them.
    pixels : float
        Number of pixels of tissue.
    interior_share : float
        Mean of the interior probability.
    inverted : bool
        Whether ``--invert-image`` was given.

    Returns
    -------
    str or None
        One sentence, which names the option.
    """
    facts = list(tiles)
    share = _marked_share(facts)
    as_is, swapped = (
        sum(fact.get(name, 0.0) for fact in facts) for name in ("tried_as_is", "tried_swapped")
    )
    was_tried = any("tried_swapped" in fact for fact in facts)
    if pixels < SMALLEST_PX or share >= MARKED_SHARE or (was_tried and swapped <= as_is):
        return None
    found, remedy = (
        ("dark", "leave --invert-image out") if inverted else ("bright", "try --invert-image")
    )
    if interior_share > _NEARLY_ALL:  # it may as well be an image without membranes
        return f"hardly any membrane is found: if membranes are {found} in this image, {remedy}"
    return f"the map looks as if membranes were {found} in this image: {remedy}"
