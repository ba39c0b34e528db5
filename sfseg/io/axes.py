"""Tell sections, rows and columns of an array apart: from the file or the user, never guessed.

A dimension has a letter: Y and X for rows and columns; Z, T, I, Q and P for pages, which are
sections; S (samples, as in RGB) and C (channels), which become grey only when the person names
them. Any other letter comes from a file's metadata and is refused until the person renames it.
"""

from dataclasses import dataclass

import numpy as np

from sfseg.errors import OptionError, StackError
from sfseg.types import AnyArray, describe_shape, format_shape

SECTIONS = "ZTIQP"
_GREY = "SC"
_MAX_SAMPLES = 4


@dataclass(frozen=True)
class Layout:
    """Where sections, rows and columns lie in a file's array.

    Parameters
    ----------
    letters : str
        One letter for each dimension.
    shape : tuple of int
        Lengths of the dimensions.
    alike : str
        The dimension of samples or channels of a grey image: all have the values of the first.
    """

    letters: str
    shape: tuple[int, ...]
    alike: str = ""

    @property
    def sections(self) -> int | None:
        """The dimension that counts the sections; None where the array is one section."""
        pages = [i for i, letter in enumerate(self.letters) if letter in SECTIONS]
        return max(pages, key=lambda i: self.shape[i], default=None)

    @property
    def stack_shape(self) -> tuple[int, int, int]:
        """Shape of the stack, (Z, Y, X)."""
        count = 1 if self.sections is None else self.shape[self.sections]
        return count, self.shape[self.letters.index("Y")], self.shape[self.letters.index("X")]

    def box(self, index: int, rows: slice, columns: slice) -> tuple[slice, ...]:
        """Say where a window of a section lies in the array.

        Parameters
        ----------
        index : int
            The section, from 0.
        rows, columns : slice
            The window, with a start and a stop each.

        Returns
        -------
        tuple of slice
            A start and a stop for each dimension.
        """
        box = [slice(0, n) for n in self.shape]
        box[self.letters.index("Y")], box[self.letters.index("X")] = rows, columns
        if self.sections is not None:
            box[self.sections] = slice(index, index + 1)
        if self.alike:
            box[self.letters.index(self.alike)] = slice(0, 1)
        return tuple(box)

    def grey(self, pixels: AnyArray) -> AnyArray:
        """Turn a window of one section into a grey image.

        Parameters
        ----------
        pixels : ndarray
            The pixels of a `box`, with all dimensions of the array.

        Returns
        -------
        ndarray, shape (Y, X)
            Samples and channels averaged, and rounded where the type is an integer. The last of 2
            or 4 samples is opacity, as in PNG and TIFF, and left out.
        """
        if "S" in self.letters and pixels.shape[self.letters.index("S")] in (2, 4):
            axis = self.letters.index("S")
            pixels = pixels.take(range(pixels.shape[axis] - 1), axis)
        # (Y, X) to the end, all other dimensions into one: (samples and channels, Y, X)
        planes = np.moveaxis(pixels, (self.letters.index("Y"), self.letters.index("X")), (-2, -1))
        planes = planes.reshape(-1, *planes.shape[-2:])
        if len(planes) == 1:
            return np.asarray(planes[0])
        grey = planes.mean(axis=0)
        return np.asarray(np.rint(grey) if pixels.dtype.kind in "iu" else grey, pixels.dtype)


def resolve_axes(
    name: str, shape: tuple[int, ...], found: str, given: str | None, *, alike: str = ""
) -> Layout:
    """Find out which dimension of an array is which.

    Parameters
    ----------
    name : str
        The file, for messages.
    shape : tuple of int
        Shape of the file's array.
    found : str
        Letters from the file's metadata, one for each dimension; empty without metadata.
    given : str or None
        Letters from the person; they override the file's. Leading dimensions of length 1 may be
        left out.
    alike : str
        The letter of samples or channels that have all the same values; the first is read.

    Returns
    -------
    Layout
        The layout; at most one dimension of sections is longer than 1.

    Raises
    ------
    StackError
        If the array is empty, or its dimensions are ambiguous.
    OptionError
        If the given letters do not fit the array.
    """
    if 0 in shape:
        raise StackError(
            f"{name}: an array of {format_shape(shape)} has no pixels",
            hint="check the program that wrote the file",
        )
    letters = found if given is None else _fit(name, shape, given.upper())
    long = [letter for letter, n in zip(letters, shape, strict=False) if n > 1]
    pages = [letter for letter in long if letter in SECTIONS]
    others = [letter for letter in long if letter not in SECTIONS + "YX" + alike]
    known = letters.count("Y") == letters.count("X") == 1
    if not known or len(pages) > 1 or (given is None and others):
        # leave out the pages before the first long dimension: Q=1 says nothing
        first = next(
            (i for i, n in enumerate(shape) if n > 1 or letters[i : i + 1] in ("Y", "X")), 0
        )
        raise StackError(
            f"{name}: an array of {format_shape(shape[first:])} "
            f"({letters[first:] or 'no axes in the file'}) is not one stack of grey sections",
            hint=_advice(shape[first:], letters[first:] if known else "", pages, paged=first > 0),
        )
    return Layout(letters, shape, alike)


def _fit(name: str, shape: tuple[int, ...], given: str) -> str:
    """Check the person's letters against the array and fill in the dimensions left out."""
    hint = "give --axes one letter for each dimension, for example ZYX or YXS"
    if len(set(given)) < len(given) or not {"Y", "X"} <= set(given) <= set(SECTIONS + _GREY + "YX"):
        raise OptionError(
            f"{name}: the axes {given!r} are not Y, X and any of Z, T, I, Q, P, C, S, each once",
            hint=hint,
        )
    left_out = len(shape) - len(given)
    if left_out < 0 or any(n > 1 for n in shape[:left_out]):
        raise OptionError(
            f"{name}: the axes {given!r} do not fit an array of {format_shape(shape)}",
            hint=hint,
        )
    return "Q" * left_out + given


def _advice(shape: tuple[int, ...], letters: str, pages: list[str], *, paged: bool) -> str:
    """Name the option that makes an ambiguous array clear; `paged` if the file can hold pages."""
    if len(pages) > 1:
        return (
            f"save one of {' and '.join(pages)} to a file of its own, "
            "or name one of them C in --axes to average it"
        )
    if not letters:
        example = "TZCYX"[-len(shape) :] if len(shape) <= 5 else "ZYX"
        return f"say what the dimensions are, one letter each, for example --axes {example}"
    # a letter that no option takes is a channel
    averaged = "".join(each if each in SECTIONS + _GREY + "YX" else "C" for each in letters)
    average = f"--axes {averaged} to average its samples or channels to grey"
    if not pages and letters[0] not in "YX":
        return f"--axes Z{letters[1:]} if {letters[0]} counts sections, {average}"
    if paged and letters == "YXS":  # tifffile takes sections 3 or 4 pixels wide for colours
        count, rows, columns = shape
        return f"{average}, --axes ZYX if it is {describe_shape((count, rows, columns))}"
    return average


def usual_letters(shape: tuple[int, ...]) -> str:
    """Return the letters of an array without metadata, as in HDF5 and Zarr, or an empty text.

    Two dimensions are (Y, X) and three are (Z, Y, X), as everywhere in this field. An array whose
    last dimension is so short that it may be samples has no letters.
    """
    is_plain = len(shape) in (2, 3) and shape[-1] > _MAX_SAMPLES
    return "ZYX"[-len(shape) :] if is_plain else ""
