"""Predict the planes along y and along x of a stack into maps beside its output.

The maps lie in the folder ``<name>.part.planes``, in float32. Each is an output of its own, which
can be resumed. The sections are predicted last, and averaged with both; then the folder goes.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from sfseg.config import PredictConfig
from sfseg.errors import START_AGAIN, ResumeError
from sfseg.io import Stack, open_stack
from sfseg.io.turned import turn_stack
from sfseg.prediction.jobs import Job
from sfseg.prediction.plan import slab_bytes
from sfseg.prediction.planes import AXES, BACK, config_of_planes, planes_along
from sfseg.prediction.run import OnTile, PredictResult, TileRecord
from sfseg.prediction.tile_writer import OtherMap
from sfseg.system.files import remove, sibling
from sfseg.types import Say

FOLDER = "part.planes"
"""Ending of the folder of the maps."""

PredictStack = Callable[[Job, Stack, PredictConfig, OnTile], PredictResult]


def folder_of(output: Path) -> Path:
    """Return the folder of the maps, beside an output that is not complete."""
    return sibling(output, FOLDER)


def settle_earlier_maps(output: Path, config: PredictConfig) -> None:
    """Remove the maps that an earlier run left, unless this one resumes it.

    Raises
    ------
    ResumeError
        If an interrupted run had ``--planes``, and this one, which resumes it, has not.
    """
    if not config.resume:
        remove(folder_of(output))
    elif not config.planes and folder_of(output).exists():
        raise ResumeError(
            f"{output}: the interrupted run had --planes",
            hint=f"add --planes to continue it, or {START_AGAIN}",
        )


def predict_plane_maps(
    job: Job, stack: Stack, config: PredictConfig, predict: PredictStack, report: OnTile, say: Say
) -> Iterator[PredictResult]:
    """Predict the planes along y, then those along x; yield the result of each.

    Parameters
    ----------
    job : Job
        Input and output of the whole run.
    stack : Stack
        The open input.
    config : PredictConfig
        How to predict.
    predict : callable
        Predicts a stack into a map, or finds that this is done.
    report : callable
        Called as by `sfseg.prediction.predict.predict_job`, with the time left for all planes.
    say : callable
        Called with lines of text for the person who waits.
    """
    for left, axis in zip((2, 1), AXES, strict=True):
        say(f"planes along {axis}, {3 - left} of 3")
        output = folder_of(job.output) / f"{axis}.tif"
        planes = planes_along(axis, stack, config)
        reported = partial(report_whole, report, left)
        yield predict(Job(job.source, output), planes, config_of_planes(config), reported)
    say("sections, 3 of 3")


def report_whole(report: OnTile, left: int, record: TileRecord) -> None:
    """Report a tile; the time left is that of all planes, which take about the same along each."""
    seconds = record.seconds_left
    if seconds:
        seconds *= 1 + left * record.total / (record.total - record.done)
    report(replace(record, seconds_left=seconds))


@contextlib.contextmanager
def open_plane_maps(output: Path, config: PredictConfig) -> Iterator[list[OtherMap]]:
    """Open both maps, turned back to the axes of the stack."""
    with contextlib.ExitStack() as opened:
        maps: list[OtherMap] = []
        for axis, order in BACK.items():
            stack = opened.enter_context(open_stack(folder_of(output) / f"{axis}.tif"))
            maps.append(turn_stack(stack, order, slab_bytes(config) // len(BACK)).window)
        yield maps
