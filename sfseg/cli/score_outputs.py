"""The files of `sfseg score`: what it reads, and the picture and the page that it writes."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sfseg.cli.checks import require_stack_name
from sfseg.cli.console import say
from sfseg.cli.progress import progress
from sfseg.errors import OptionError, ShapeMismatchError
from sfseg.types import Number

PAGES = (".html", ".htm")


class ScoreFiles(NamedTuple):
    """Predictions and the truth, and how they are read."""

    predictions: Sequence[str]
    truth: str
    ignore: Number | None
    axes: str | None
    label_axes: str | None


class ScoreOutputs(NamedTuple):
    """What is written beside the tables."""

    errors: Path | None
    report: Path | None
    image: str | None
    """The grey values of the page."""
    command: str
    overwrite: bool
    worst: int | None
    """Splits of cells, and as many merges, that are listed."""


def require_outputs(
    errors: Path | None, report: Path | None, inputs: Sequence[str], *, overwrite: bool
) -> None:
    """Refuse outputs that exist, are inputs, or have a name of another kind of file."""
    from sfseg.io.outputs import require_output

    if errors is not None:
        require_stack_name("--errors", errors, "uint8")
        require_output(errors, inputs, overwrite=overwrite)
    if report is not None:
        if report.suffix.lower() not in PAGES:
            raise OptionError(
                f"--report: the name of a page ends in .html, not {report.name}",
                hint=f"--report {report.with_suffix('.html')}",
            )
        require_output(report, inputs, overwrite=overwrite)


def require_fitting(
    predictions: Sequence[str],
    *,
    errors: Path | None,
    report: Path | None,
    image: str | None,
    axes: str | None,
    labels: bool,
) -> None:
    """Refuse options that do not go together, and grey values of another size than the map.

    `labels` says whether the predictions are read as numbers of cells.
    """
    if errors is not None and len(predictions) > 1:
        raise OptionError(
            f"--errors: it draws the errors of one file, not of {len(predictions)}",
            hint="score one file at a time, or write a page: --report score.html",
        )
    if image is None:
        return
    if report is None:
        raise OptionError("--image: the grey values are for a page", hint="add --report score.html")
    from sfseg.io import open_stack

    with (
        open_stack(image, axes=axes) as grey,
        open_stack(predictions[0], axes=axes, labels=labels) as found,
    ):
        if grey.shape[1:] != found.shape[1:]:
            raise ShapeMismatchError(
                f"{image}: the shape {grey.shape} does not match {predictions[0]}, {found.shape}",
                hint="give --image the stack that was predicted from",
            )


def write_page(
    write: Callable[..., tuple[str, ...]],
    path: Path,
    judged: Sequence[object],
    outputs: ScoreOutputs,
    axes: str | None,
) -> None:
    """Call what writes a page, with the grey values; say what it does not show."""
    from sfseg.io import open_stack

    grey = open_stack(outputs.image, axes=axes) if outputs.image else None
    with progress(f"writing {path}"), grey or contextlib.nullcontext():
        notes = write(
            path, judged, image=grey, command=outputs.command, overwrite=outputs.overwrite
        )
    say(f"page for the web browser: {path}")
    for note in notes:
        say(note)
