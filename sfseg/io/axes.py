"""Tell sections, rows and columns of an array apart: from the file or the user, never guessed.

A dimension has a letter: Y and X for rows and columns; Z, T, I, Q and P for pages, which are
sections; S (samples, as in RGB) and C (channels), which become grey only when the person names
them. Any other letter comes from a file's metadata and is refused until the person renames it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sfseg.errors import OptionError, StackError
from sfseg.types import AnyArray, describe_shape, format_shape

SECTIONS = "ZTIQP"
_GREY = "SC"
_UNKNOWN = "?"
_UNSAID = f"QI{_UNKNOWN}"
"""Letters of dimensions that a file does not explain; tifffile calls pages Q and I."""

_MAX_SAMPLES = 4
"""A last dimension this short may be red, green, blue and opacity."""

_SPARE = "QPIT"
_NAMES = {
    "Z": ("z", "depth", "plane", "section", "slice"),
    "Y": ("y", "row", "height"),
    "X": ("x", "col", "column", "width"),
    "C": ("c", "channel"),
    "T": ("t", "time"),
    "S": ("s", "sample"),
}
_LETTERS = {name: letter for letter, names in _NAMES.items() for name in names}


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


def letters_of_names(names: Sequence[object]) -> str:
    """Turn the names that a file gives its dimensions into letters.

    Parameters
    ----------
    names : sequence
        A name for each dimension, such as ``z``, ``rows`` or ``channel``; anything but a text is
        no name.

    Returns
    -------
    str
        A letter for each, ``?`` where the name is unknown; empty unless rows and columns are there.

    Examples
    --------
    >>> letters_of_names(["x", "y", "z"]), letters_of_names(["dim_0", "dim_1"])
    ('XYZ', '')
    """
    words = [name.casefold().strip() if isinstance(name, str) else "" for name in names]
    letters = [_LETTERS.get(word) or _LETTERS.get(word.rstrip("s"), _UNKNOWN) for word in words]
    known = [letter for letter in letters if letter != _UNKNOWN]
    is_plain = {"Y", "X"} <= set(known) and len(set(known)) == len(known)
    return "".join(letters) if is_plain else ""


def _conventional(shape: tuple[int, ...]) -> str:
    """Return the letters of an array whose file says nothing; empty where they are not certain.

    Two dimensions are (Y, X) and three are (Z, Y, X), as everywhere in this field, unless the last
    may be samples. Dimensions of length 1 are left out first where there are more.
    """
    long = list(range(len(shape)))
    if len(shape) > 3 or shape[-1:] == (1,):
        long = [i for i in long if shape[i] > 1]
    if len(long) not in (2, 3) or shape[long[-1]] <= _MAX_SAMPLES:
        return ""
    names = dict(zip(reversed(long), "XYZ", strict=False))
    return "".join(names.get(i, "Q") for i in range(len(shape)))


def resolve_axes(
    name: str,
    shape: tuple[int, ...],
    found: str,
    given: str | None,
    *,
    alike: str = "",
    option: str = "--axes",
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
    option : str
        What the person gives letters with, for messages.

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
    if given is None:
        letters = found or _conventional(shape)
    else:
        letters = _fit(name, shape, given.upper(), option)
        _refuse_samples(name, shape, found, letters, option)
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
            hint=_advice(
                shape[first:], letters[first:] if known else "", pages, option, paged=first > 0
            ),
        )
    return Layout(letters, shape, alike)


def describe_conflict(found: str, layout: Layout, option: str = "--axes") -> str:
    """Say that the person's letters contradict the file's; empty where they do not.

    Parameters
    ----------
    found : str
        Letters from the file's metadata; empty without.
    layout : Layout
        How the array is read.
    option : str
        What the person gave the letters with.

    Returns
    -------
    str
        A sentence, or an empty text.
    """
    if len(found) != len(layout.letters):
        return ""
    pairs = zip(found, layout.letters, layout.shape, strict=True)
    if all(n == 1 or said in _UNSAID or _role(said) == _role(read) for said, read, n in pairs):
        return ""
    return f"the file says that its axes are {found}, {option} reads them as {layout.letters}"


def _role(letter: str) -> str:
    """Return what a dimension is for: sections, grey, Y or X."""
    return next((letters for letters in (SECTIONS, _GREY) if letter in letters), letter)


def _fit(name: str, shape: tuple[int, ...], given: str, option: str) -> str:
    """Check the person's letters against the array and fill in the dimensions left out."""
    if len(set(given)) < len(given) or not {"Y", "X"} <= set(given) <= set(SECTIONS + _GREY + "YX"):
        raise OptionError(
            f"{name}: the axes {given!r} are not Y, X and any of Z, T, I, Q, P, C, S, each once",
            hint=f"give {option} one letter for each dimension, for example ZYX or YXS",
        )
    left_out = len(shape) - len(given)
    if left_out < 0 or any(n > 1 for n in shape[:left_out]):
        raise OptionError(
            f"{name}: the axes {given!r} do not fit an array of {format_shape(shape)}",
            hint=f"give {option} {len(shape)} letters, one for each dimension",
        )
    return "Q" * left_out + given


def _refuse_samples(
    name: str, shape: tuple[int, ...], found: str, letters: str, option: str
) -> None:
    """Refuse colours where the file says rows or columns: a grey file beside one of colours."""
    said = [was for was, read in zip(found, letters, strict=False) if read == "S"]
    if said and said[0] in "YX":
        first = next(i for i, n in enumerate(shape) if n > 1 or found[i] in "YX")
        own = "".join("Z" if letter in _UNSAID else letter for letter in found[first:])
        raise OptionError(
            f"{name}: the axes {letters!r} do not fit an array of {format_shape(shape[first:])}, "
            f"whose axes are {own}",
            hint=f"{option} {own}",
        )


def _advice(
    shape: tuple[int, ...], letters: str, pages: list[str], option: str, *, paged: bool
) -> str:
    """Name the option that makes an ambiguous array clear; `paged` if the file can hold pages."""
    if len(pages) > 1:
        return (
            f"save one of {' and '.join(pages)} to a file of its own, "
            f"or name one of them C in {option} to average it"
        )
    # a letter that no option takes is a channel
    averaged = "".join(each if each in SECTIONS + _GREY + "YX" else "C" for each in letters)
    if not letters or len(set(averaged)) < len(averaged):
        readings = ", ".join(list(_readings(shape, option))[:2])
        return readings or "save one stack of sections (Z, Y, X) to a file of its own"
    average = f"{option} {averaged} to average its samples or channels to grey"
    if not pages and letters[0] not in "YX":
        return f"{option} Z{averaged[1:]} if {letters[0]} counts sections, {average}"
    if paged and letters == "YXS":  # tifffile takes sections 3 or 4 pixels wide for colours
        count, rows, columns = shape
        return f"{average}, {option} ZYX if it is {describe_shape((count, rows, columns))}"
    return average


def _readings(shape: tuple[int, ...], option: str) -> Iterator[str]:
    """List what an array without axes may be, the fewest channels first, each with its letters."""
    long = [i for i, n in enumerate(shape) if n > 1]
    if len(long) not in (2, 3, 4) or len(shape) - len(long) > len(_SPARE):
        return
    # no channels are the last choice of three dimensions, and the only one of two
    by_length = sorted(long, key=lambda i: shape[i])
    channels: dict[int, list[int | None]] = {2: [None], 3: [by_length[0], None], 4: [*by_length]}
    for channel in channels[len(long)]:
        of_stack = [i for i in long if i != channel]
        roles: dict[int | None, str] = {channel: "C"}
        roles |= zip(reversed(of_stack), "XYZ", strict=False)
        spare = iter(_SPARE)
        letters = "".join(roles[i] if i in roles else next(spare) for i in range(len(shape)))
        count, rows, columns = [1, 1, *(shape[i] for i in of_stack)][-3:]
        samples = "" if channel is None else f" with {shape[channel]} channels, to average"
        yield f"{option} {letters} if it is {describe_shape((count, rows, columns))}{samples}"
