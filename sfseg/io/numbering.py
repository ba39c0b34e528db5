"""The numbers in the names of section files: their order, and which are missing."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_MOST_NAMED = 12
_MAX_RANGE = 10**6

Key = tuple[list[tuple[int, float | str]], str, str]


def composed(text: str) -> str:
    """Write a text in the one Unicode form (NFC) in which equal names are equal."""
    return unicodedata.normalize("NFC", text)


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Sort 2 before 10 and 1.25 before 1.5, and files of one name by their folders."""
    decimals = _has_decimals(paths)
    return sorted(paths, key=lambda path: _key(path, decimals=decimals))


def _key(path: Path, *, decimals: bool) -> Key:
    """Make the key of a name: a number is (0, value), a text (1, text)."""
    name = composed(path.name).casefold()
    parts = re.split(r"(\d+(?:\.\d+)?)" if decimals else r"(\d+)", name)
    values: list[tuple[int, float | str]] = []
    for number, part in enumerate(parts):  # every second part is a number
        values.append((0, float(part) if "." in part else int(part)) if number % 2 else (1, part))
    return values, path.name, str(path)


def _has_decimals(paths: Sequence[Path]) -> bool:
    """Tell whether the names hold numbers like 1.5 and 1.25, not counters like 1.9 and 1.10."""
    fractions: list[str] = []
    for path in paths:
        numbers = re.findall(r"\d+(?:\.\d+)*", composed(path.name))
        if any(number.count(".") > 1 for number in numbers):  # a date, or a version
            return False
        fractions += [number.partition(".")[2] for number in numbers if "." in number]
    # with as many digits each, both ways of counting agree; a decimal does not end in 0
    return len({len(each) for each in fractions}) > 1 and not any(
        len(each) > 1 and each.endswith("0") for each in fractions
    )


def section_numbers(paths: Sequence[Path]) -> tuple[int, ...] | None:
    """Find the number of each section in the names of its files.

    Parameters
    ----------
    paths : sequence of Path
        The files.

    Returns
    -------
    tuple of int or None
        The only number in the names, or the only one that differs; no number is there twice. None
        where the names differ in more.

    Examples
    --------
    >>> section_numbers([Path("w2_s007.tif"), Path("w2_s008.tif")])
    (7, 8)
    """
    split = [re.split(r"(\d+)", composed(path.stem).casefold()) for path in paths]
    if not split or len({tuple(parts[::2]) for parts in split}) > 1:
        return None
    columns = list(zip(*([int(part) for part in parts[1::2]] for parts in split), strict=True))
    if len(columns) > 1:
        columns = [column for column in columns if len(set(column)) > 1]
    if len(columns) != 1 or len(set(columns[0])) < len(paths):
        return None
    return columns[0]


def pair_numbers(
    ours: Sequence[int] | None, theirs: Sequence[int] | None
) -> list[tuple[int, int]] | None:
    """Pair two series of sections by their numbers.

    Parameters
    ----------
    ours, theirs : sequence of int or None
        The numbers in the names of each side; None where they have none.

    Returns
    -------
    list of (int, int) or None
        Indices from 0 of the sections with equal numbers, in the order of `ours`. None where
        positions pair them: a side has no numbers, no number is equal, or one side counts from 0
        and the other from 1.

    Examples
    --------
    >>> pair_numbers([1, 2, 3], [1, 2, 4]), pair_numbers([0, 1], [1, 2])
    ([(0, 0), (1, 1)], None)
    """
    if not ours or not theirs:
        return None
    counts_from = {min(ours), min(theirs)}
    if counts_from == {0, 1} and len({b - a for a, b in zip(ours, theirs, strict=False)}) == 1:
        return None
    places = {number: index for index, number in enumerate(theirs)}
    return [(i, places[number]) for i, number in enumerate(ours) if number in places] or None


def missing_numbers(numbers: Sequence[int]) -> tuple[int, ...]:
    """List the numbers that are missing in a series with few gaps.

    Examples
    --------
    >>> missing_numbers([1, 2, 4, 5]), missing_numbers([10, 20, 40]), missing_numbers([3, 900])
    ((3,), (30,), ())
    """
    ordered = sorted(numbers)
    distances = [b - a for a, b in pairwise(ordered)]
    step = min(distances, default=0)
    gaps = sum(distance > step for distance in distances)
    # numbers that leap about, like times, count no sections
    if 2 * gaps >= len(ordered) or any(distance % step for distance in distances):
        return ()
    if step == 0 or ordered[-1] - ordered[0] > _MAX_RANGE * step:
        return ()
    whole = range(ordered[0], ordered[-1] + 1, step)
    return tuple(sorted(set(whole).difference(ordered)))


def list_numbers(numbers: Sequence[int]) -> str:
    """Write numbers in words, runs as ranges: 3, 5-7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join(words[:_MOST_NAMED]) + (", ..." if len(words) > _MOST_NAMED else "")
