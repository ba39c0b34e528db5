"""Find where a membrane map is wrong: each merge and split, its place, and its cost in V_Rand."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import OptionError
from sfseg.io import as_path
from sfseg.scoring.drawing import draw_mistakes, write_drawn
from sfseg.scoring.mistakes import Found, Mistake, SmallErrors, find_mistakes
from sfseg.scoring.pair import Pair
from sfseg.scoring.score import choose_workers, score_known, split_ignored
from sfseg.scoring.thresholds import THRESHOLDS
from sfseg.system.sharing import Share
from sfseg.system.threads import ordered
from sfseg.types import AnyArray, Number, Progress, Segments


@dataclass(frozen=True, eq=False)
class SectionErrors:
    """The errors of one section, and what they are found in.

    Attributes
    ----------
    section : int
        Its number.
    truth, segments : ndarray of int32, shape (Y, X)
        True cells and predicted segments as they are scored, from 1; 0 is membrane, or not known,
        or a line between segments. Segments grow into what is not known.
    known : ndarray of bool, shape (Y, X), or None
        Where the truth is known; None = everywhere.
    errors : tuple of Mistake
        Largest cost first.
    small : SmallErrors
        The errors that are not listed.
    """

    section: int
    truth: Segments
    segments: Segments
    known: AnyArray | None
    errors: tuple[Mistake, ...]
    small: SmallErrors

    def draw(self) -> NDArray[np.uint8]:
        """Draw the errors: 1 and 2 where they are, 3 and 4 what is merged and cut off.

        Returns
        -------
        ndarray of uint8, shape (Y, X)
            1: where merged cells meet, across the hole in the membrane. 2: where the parts of a
            split cell meet, along the false membrane. 3: cells that are merged into a larger one.
            4: parts that are cut off from the rest of their cell. 5: not known. 0: all else.
        """
        return draw_mistakes(self.truth, self.segments, self.errors, self.known)


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors of a map at one threshold; see `find_errors`.

    Attributes
    ----------
    threshold : float
        Where the map is cut.
    v_rand : float
        V_Rand of the stack there: the mean over its sections.
    listed : tuple of Mistake
        The errors, largest cost first.
    small_by_section : tuple of SmallErrors
        The errors of each section that cost too little to be listed.
    pair : Pair
        The map and the labels.
    """

    threshold: float
    v_rand: float
    listed: tuple[Mistake, ...]
    small_by_section: tuple[SmallErrors, ...]
    pair: Pair

    def __repr__(self) -> str:
        return (
            f"Errors({len(self.listed)} at threshold {self.threshold:.1f}, "
            f"and {self.small.count} small ones)"
        )

    @property
    def small(self) -> SmallErrors:
        """The errors that cost too little to be listed, of all sections."""
        count = sum(each.count for each in self.small_by_section)
        return SmallErrors(count, sum(each.cost for each in self.small_by_section))

    def sections(self) -> Iterator[SectionErrors]:
        """Yield each section with its errors, and with the cells and segments they are found in."""
        yield from map(self.section, range(len(self.small_by_section)))

    def section(self, index: int) -> SectionErrors:
        """Return one section, from 0; see `sections`."""
        number = self.pair.numbers[index]
        cut = self.pair.cut(index, self.threshold)
        return SectionErrors(
            number,
            cut.truth,
            cut.segments,
            self.pair.known_in(index),
            tuple(each for each in self.listed if each.section == number),
            self.small_by_section[index],
        )

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the errors as a label image, for any viewer; see `SectionErrors.draw`.

        Parameters
        ----------
        path : str or Path
            The file, which ends in .tif or .zarr. It has a section for each one of the map. Those
            that are not scored are 5. A TIFF has colours; `open_stack` reads its numbers with
            ``labels=True``.
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        OutputExistsError, OutputError, StackError, MissingExtraError
            As `sfseg.write_stack` does.
        """
        write_drawn(
            as_path(path, "write"),
            (section.draw() for section in self.sections()),
            self.pair.numbers,
            (self.pair.depth, *self.pair.labels.shape[1:]),
            voxel_size_nm=self.pair.voxel_size_nm,
            overwrite=overwrite,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the errors as plain values, in the order of the JSON output."""
        errors = [each.as_dict() for each in self.listed]
        return {"errors": errors, "small_errors": asdict(self.small)}


def find_errors(
    prediction: AnyArray,
    labels: AnyArray,
    *,
    threshold: float | None = None,
    ignore: Number | None = None,
    workers: int | None = None,
    names: tuple[str, str] = ("prediction", "labels"),
    progress: Progress = lambda *_: None,
) -> Errors:
    """Find each merge and each split of a membrane map: where it is, and what it costs.

    Parameters
    ----------
    prediction, labels, ignore, workers, names
        As for `sfseg.score`.
    threshold : float, optional
        Where to cut the map; default is the `v_rand_threshold` of `sfseg.score`.
    progress : callable
        Called with the number of sections searched and that of all, at the start and after each.

    Returns
    -------
    Errors
        See Notes.

    Raises
    ------
    ShapeMismatchError, StackError, NonFiniteError
        As `sfseg.score` does.
    OptionError
        If the threshold is not from 0 to below 1.

    Notes
    -----
    The true cells and the predicted segments are those that `sfseg.score` counts. A *merge* is a
    segment with pixels of several cells. A *split* is a cell with pixels in several segments.

    The cost of a merge is how much V_Rand of the stack, the mean over its sections, would rise if
    this segment was cut into the parts that lie in different cells. The cost of a split is how much
    it would rise if the parts of this cell were glued together. Before, they are cut out of their
    segments. What this alone gains is the cost of merges, and is not counted.

    The places are where the parts meet when they grow within their segment, or their cell: across
    the hole in a membrane, or along a false membrane.

    Almost every membrane lies a little beside the true one, which makes a small merge and a small
    split. So an error is listed if its cost in V_Rand of its section, times the pixels in cells of
    this section, is at least 100. In a section of 512x512 this is about 0.0005. The others are
    counted.

    Costs of several errors do not add up exactly, as V_Rand is a ratio. The lines between segments
    cost a little, too: the rest up to 1.
    """
    labels, known = split_ignored(labels, ignore, names[1])
    if threshold is not None and not 0 <= threshold <= THRESHOLDS[-1]:
        raise OptionError(
            f"threshold: must be from 0 to below 1, not {threshold:g}",
            hint="leave it out: the threshold of the best V_Rand is taken",
        )
    scores = score_known(prediction, labels, known, workers=workers, names=names)  # checks all
    threshold = scores.v_rand_threshold if threshold is None else threshold
    pair = Pair.from_arrays(prediction, labels, known, names)
    return find_pair_errors(pair, threshold, workers=workers, progress=progress)


def find_pair_errors(
    pair: Pair,
    threshold: float,
    *,
    workers: int | None = None,
    share: Share = ordered,
    progress: Progress = lambda *_: None,
) -> Errors:
    """Find the errors of a map that has been scored; see `find_errors`."""
    found, depth = [], len(pair.numbers)
    progress(0, depth)
    search = partial(_search_section, pair, threshold)
    for section in share(search, range(depth), choose_workers(workers)):
        found.append(section)
        progress(len(found), depth)
    return Errors(
        threshold,
        float(np.mean([section.v_rand for section in found])),
        _rank(found),
        tuple(SmallErrors(each.small.count, each.small.cost / depth) for each in found),
        pair,
    )


def _search_section(pair: Pair, threshold: float, index: int) -> Found:
    """Find the errors of one section, from 0."""
    return find_mistakes(pair.cut(index, threshold), pair.numbers[index])


def _rank(found: Sequence[Found]) -> tuple[Mistake, ...]:
    """Give the errors of all sections their ids, and their cost in the mean over sections."""
    errors = [
        replace(mistake, cost=mistake.cost / len(found))
        for section in found
        for mistake in section.mistakes
    ]
    errors.sort(key=lambda each: (-each.cost, each.section, each.kind, each.y, each.x))
    return tuple(replace(mistake, id=number) for number, mistake in enumerate(errors, 1))
