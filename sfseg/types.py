"""The words of the field, as types and constants.

Glossary, for code, messages and docs:

* *section*: one image, shape (Y, X); numbered from 1 in messages and options.
* *stack*: sections on top of each other, shape (Z, Y, X).
* *interior probability*: float32 from 0 to 1; 1 = inside a cell, 0 = membrane.
* *map*: the interior probability of a stack, or what is written instead: a mask or segments.
* *labels*: the truth; inside sfseg uint8, 255 = inside a cell, 0 = membrane.
* *instances*: labels that number the cells, 0 = membrane: the true segments.
* *segments*: int32; cells with numbers from 1, 0 = border.
* *cells*: uint32; numbers of cells that continue from section to section, 0 = membrane.
* *profile*: what one section shows of a cell.
* *tile*: a rectangle of a section that is predicted at once.
* *core*: the part of a tile whose result is kept.
* *halo*: the margin of a tile that the network needs to see, in pixels.
* *window*: the pixels of a tile, core and halo; mirrored beyond the section.
* *engine*: the software that runs the network: PyTorch, its compiler, or OpenVINO.
* *patch*: a square of a section for training.
* *batch*: several patches or tiles together, shape (B, C, Y, X).
* *recipe*: all choices of how a network is trained; see `sfseg.recipes`.
* *run*: one training or prediction, with all its interruptions.
* *record*: the facts about an output, in a file beside it; or a report of progress.
* *state*: all that a training run needs to resume bit for bit.
* *teacher*: a network whose maps serve as labels for another one.
* *split*: the half of V_Rand or V_Info that is low if true cells are split.
* *merge*: the half that is low if true cells are merged.
"""

import re
from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import OptionError

T = TypeVar("T")

AnyArray = NDArray[Any]
Normalised = NDArray[np.float32]
Probability = NDArray[np.float32]
Segments = NDArray[np.int32]

Shape = tuple[int, int, int]
"""Sections, rows, columns: (Z, Y, X)."""

VoxelSize = tuple[float, float, float]
"""Nanometres along (z, y, x); z is NaN if a file gives only the size of its pixels."""

PixelSize = tuple[float, float]
"""Nanometres along (y, x)."""

Say = Callable[[str], None]
"""Called with one line of text at a time: progress in words, and warnings."""

Progress = Callable[[int, int], None]
"""Called before the first and after each step, with the number of steps done and that of all."""

Number = int | float

LabelKind = Literal["interior", "membrane", "instances"]
"""The meaning of labels other than 0: inside of cells, membrane, or numbers of cells."""

Rescale = Literal["auto", "none"]
"""Whether sections are resampled to another pixel size, where that helps; or never."""

INTERIOR = 255
"""Value of an interior pixel in 8-bit labels and binary output; membrane is 0."""

PLAUSIBLE_INTERIOR = (0.5, 0.97)
"""Share of the pixels that are inside cells; the known datasets have 0.7 to 0.9."""


def kind_of(value: object) -> str:
    """Name the type of a value with its article, for example ``an int``."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def format_shape(shape: Sequence[int]) -> str:
    """Write a shape of any dimensions: 30x512x512."""
    return "x".join(map(str, shape))


def describe_shape(shape: Shape) -> str:
    """Write a shape in words: 30 sections of 512x512."""
    sections, height, width = shape
    return f"{format_count(sections, 'section')} of {height}x{width}"


def format_count(count: int, noun: str) -> str:
    """Write a number of things: 1 section, 30 sections."""
    return f"{count} {noun}{'s' * (count != 1)}"


def voxel_as_json(voxel_size_nm: VoxelSize | None) -> list[float | None] | None:
    """Write a voxel size as JSON, which has no NaN: an unknown length becomes None."""
    if voxel_size_nm is None:
        return None
    return [length if isfinite(length) else None for length in voxel_size_nm]


def parse_sections(text: str, count: int) -> tuple[int, ...]:
    """Turn a list of section numbers into indices.

    Parameters
    ----------
    text : str
        Section numbers from 1 and ranges of them, as in ``"1-24"`` or ``"1,3,10-12"``.
    count : int
        Number of sections in the stack.

    Returns
    -------
    tuple of int
        Indices from 0, ascending, each once.

    Raises
    ------
    OptionError
        If the text is not such a list or names a section outside the stack.

    Examples
    --------
    >>> parse_sections("1-3,7", count=30)
    (0, 1, 2, 6)
    """
    indices: set[int] = set()
    for item in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
        if match is None:
            raise OptionError(
                f"sections {text!r}: {item!r} is not a number or a range",
                hint="write it like 1-24 or 1,3,10-12",
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise OptionError(
                f"sections {text!r}: the larger number of {item} is first",
                hint=f"write it like {last}-{first}",
            )
        if not 1 <= first <= last <= count:
            raise OptionError(
                f"sections {text!r}: {item} is not within the stack",
                hint=f"choose from 1 to {count}: the stack has {format_count(count, 'section')}",
            )
        indices.update(range(first - 1, last))
    return tuple(sorted(indices))


def both(one: Callable[[T], None], other: Callable[[T], None]) -> Callable[[T], None]:
    """Return a function that passes what it is called with to two others, one after the other."""

    def call(value: T) -> None:
        one(value)
        other(value)

    return call


def format_time(seconds: float) -> str:
    """Write a duration as 45 s, 12:03 or 1:02:03."""
    hours, minutes = divmod(round(seconds) // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{round(seconds) % 60:02}"
    return f"{minutes}:{round(seconds) % 60:02}" if minutes else f"{round(seconds)} s"


def format_sections(indices: Sequence[int]) -> str:
    """Write section indices as `parse_sections` reads them.

    Parameters
    ----------
    indices : sequence of int
        Indices from 0.

    Returns
    -------
    str
        Section numbers from 1, runs as ranges.

    Examples
    --------
    >>> format_sections((0, 1, 2, 6))
    '1-3,7'
    """
    runs: list[list[int]] = []
    for number in sorted(index + 1 for index in indices):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def name_sections(indices: Sequence[int]) -> str:
    """Name sections, given by their indices from 0: section 3, sections 1-3,7."""
    return f"section{'s' * (len(indices) > 1)} {format_sections(indices)}"


def as_pixel_size(value: object) -> PixelSize | None:
    """Turn a number, or two of them for (y, x), into a pixel size; None stays None.

    Raises
    ------
    OptionError
        If it is neither, or not above 0.
    """
    if value is None:
        return None
    given = tuple(value) if isinstance(value, Sequence) else (value, value)
    numbers = [v for v in given if isinstance(v, int | float) and 0 < v < inf]
    if len(given) != 2 or len(numbers) != 2 or isinstance(value, str):
        raise OptionError(
            f"pixel size: must be one number of nm above 0, or two for Y and X, not {value!r}",
            hint="write it like 4, or like 4,5",
        )
    return float(numbers[0]), float(numbers[1])


def parse_pixel_size(text: str | None) -> PixelSize | None:
    """Read a pixel size in nm, as in ``"4"``, or ``"4,5"`` for (y, x); None stays None.

    Raises
    ------
    OptionError
        If it is not one.

    Examples
    --------
    >>> parse_pixel_size("4,5")
    (4.0, 5.0)
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return as_pixel_size(text)
    return as_pixel_size(numbers[0] if len(numbers) == 1 else numbers)


def as_voxel_size(value: object) -> VoxelSize | None:
    """Turn three numbers of nm for (z, y, x) into a voxel size; None stays None.

    Raises
    ------
    OptionError
        If it is no such triple, or one of them is not above 0.
    """
    if value is None:
        return None
    given = tuple(value) if isinstance(value, Sequence) else (value,)
    numbers = [float(v) for v in given if isinstance(v, int | float) and 0 < v < inf]
    if len(given) != 3 or len(numbers) != 3:
        raise OptionError(
            f"voxel size: must be three numbers of nm above 0, for Z, Y and X, not {value!r}",
            hint="write it like 50,4,4",
        )
    return numbers[0], numbers[1], numbers[2]


def parse_voxel_size(text: str | None) -> VoxelSize | None:
    """Read a voxel size in nm, as in ``"50,4,4"`` for (z, y, x); None stays None.

    Raises
    ------
    OptionError
        If it is not one.

    Examples
    --------
    >>> parse_voxel_size("50,4,4")
    (50.0, 4.0, 4.0)
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return as_voxel_size(text)
    return as_voxel_size(numbers)


def format_pixel_size(size_nm: PixelSize) -> str:
    """Write a pixel size: 4 nm, or 4x5 nm."""
    height, width = (f"{length:.3g}" for length in size_nm)
    return f"{width} nm" if height == width else f"{height}x{width} nm"
