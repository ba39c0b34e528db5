"""What pages of several predictions share: which go together, and the grey values under them."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sfseg import __version__
from sfseg.errors import OptionError, ShapeMismatchError
from sfseg.io import Stack
from sfseg.report import browser
from sfseg.report.browser import Browser
from sfseg.report.colours import find_span, stretch
from sfseg.report.page import write_page
from sfseg.types import AnyArray, Shape

MOST_PREDICTIONS = 8
"""As many as a chart has colours."""


class Files(NamedTuple):
    """What a page is made of."""

    predictions: Sequence[str]
    names: Sequence[str]
    """The predictions, as the page calls them."""
    truth: str
    image: str | None
    """The grey values."""

    @classmethod
    def gather(
        cls,
        predictions: Sequence[str],
        numbers: Sequence[Sequence[int]],
        truth: str,
        image: Stack | None,
    ) -> "Files":
        """Name the files; refuse predictions that one page cannot show: see `require_alike`."""
        require_alike(predictions, numbers)
        return cls(predictions, short_names(predictions), truth, image.name if image else None)


def write_together(
    path: Path,
    template: str,
    files: Files,
    sections: Browser,
    *,
    command: str,
    overwrite: bool,
    **values: Any,
) -> tuple[str, ...]:
    """Write a page of scores; its template extends `scored.html`, and prints the values, too.

    Returns what is not shown, or shown smaller.
    """
    write_page(
        path,
        template,
        overwrite=overwrite,
        scripts=["sort.js", *browser.SCRIPTS],
        styles=browser.STYLES,
        version=__version__,
        date=datetime.date.today().isoformat(),
        browser=sections.render(),
        called=sections.data["words"],
        command=command,
        **files._asdict(),
        **values,
    )
    return sections.notes


def require_alike(predictions: Sequence[str], numbers: Sequence[Sequence[int]]) -> None:
    """Refuse predictions that one page cannot show together.

    Parameters
    ----------
    predictions : sequence of str
        Their files.
    numbers : sequence of sequence of int
        The numbers of the sections of each.

    Raises
    ------
    OptionError
        If there are too many.
    ShapeMismatchError
        If they differ in their sections.
    """
    if len(predictions) > MOST_PREDICTIONS:
        raise OptionError(
            f"--report: a page shows up to {MOST_PREDICTIONS} files, not {len(predictions)}",
            hint="write a page for some of them",
        )
    for name, own in zip(predictions, numbers, strict=True):
        if own != numbers[0]:
            raise ShapeMismatchError(
                f"{name}: its sections are not those of {predictions[0]}, so one page cannot show "
                "both",
                hint="write a page for each",
            )


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names of files without their folders, where these still differ."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else list(names)


class ImageReader:
    """Read grey values of the sections that are scored, with the contrast of the stack.

    Parameters
    ----------
    image : Stack
        The grey values.
    numbers, shape
        See `find_sections`.
    """

    def __init__(self, image: Stack, numbers: Sequence[int], shape: Shape) -> None:
        self._image = image
        self._indices = find_sections(image, numbers, shape)
        samples = {self._indices[i * (len(self._indices) - 1) // 2] for i in range(3)}
        self._span = find_span(np.stack([image.section(index) for index in samples]))

    def read(self, index: int) -> AnyArray:
        """Return a section, by its index in `numbers`, as grey values of uint8."""
        return stretch(self._image.section(self._indices[index]), self._span)


def find_sections(image: Stack, numbers: Sequence[int], shape: Shape) -> list[int]:
    """Find the sections of grey values that belong to those that are scored; refuse others.

    Parameters
    ----------
    image : Stack
        The grey values.
    numbers : sequence of int
        The numbers of the sections that are scored.
    shape : tuple of int
        (Z, Y, X) of the whole prediction.

    Raises
    ------
    ShapeMismatchError
        If the shape is neither that of the prediction, nor that of the sections that are scored.
    """
    if image.shape == shape:
        return [number - 1 for number in numbers]
    if image.shape == (len(numbers), *shape[1:]):
        return list(range(len(numbers)))
    raise ShapeMismatchError(
        f"{image.name}: the shape {image.shape} does not match that of the prediction, {shape}",
        hint="give --image the stack that was predicted from",
    )
