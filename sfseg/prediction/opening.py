"""Open the input and the unfinished output of a prediction; refuse a damaged list of tiles."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.errors import START_AGAIN, ResumeError
from sfseg.prediction.engines import ENGINES
from sfseg.prediction.engines.engine import Quantisation
from sfseg.prediction.jobs import Job
from sfseg.prediction.plane_maps import folder_of
from sfseg.prediction.resumable import ResumableOutput
from sfseg.types import Say


@contextlib.contextmanager
def open_source(job: Job, config: PredictConfig, say: Say) -> Iterator[io.Stack]:
    """Open the input as the options say, and say how it is read."""
    with add_file_name(job.source):
        opened = open_as_said(job.source, config)
    with opened as stack:
        for note in stack.notes:
            say(f"warning: {job.source}: {note}")
        yield stack


def open_as_said(source: str, config: PredictConfig) -> io.Stack:
    """Open an input with the axes, the pixel size and the polarity of the options."""
    opened = io.open_stack(source, axes=config.axes).with_pixel_size(config.pixel_size)
    return opened.inverted() if config.invert_image else opened


@contextlib.contextmanager
def add_file_name(source: str) -> Iterator[None]:
    """Add the name of the input to an OSError without a file name: a failed read has none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or source
        raise


@contextlib.contextmanager
def tell_what_is_kept(
    opening: contextlib.AbstractContextManager[ResumableOutput], output: Path, say: Say
) -> Iterator[ResumableOutput]:
    """Open an output; if the block raises, say how to continue, where that is possible."""
    work = None
    try:
        with opening as work:
            yield work
    except BaseException:
        if work is not None and (work.can_resume or folder_of(output).exists()):
            say(f"{output}: finished tiles are kept; to continue, add --resume to the same command")
        raise


def refuse_damage(work: ResumableOutput, output: Path) -> None:
    """Refuse to continue a run whose manifest is JSON, but was damaged; raises ResumeError."""
    match work.identity.get("resolved"):
        case {
            "engine": str(engine),
            "dtype": "float32" | "bfloat16" | "float16" | "int8" as dtype,
            "device": str(),
            "limit_px": int(),
            **others,
        } if engine in ENGINES and all(map(_is_sound, work.finished.values())):
            if dtype != "int8" or _is_quantisation(others.get("int8")):
                return
    raise ResumeError(
        f"{output}: the list of finished tiles beside it is damaged", hint=START_AGAIN
    )


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Tell whether the facts of a tile are those that the writer noted."""
    return all(isinstance(facts.get(name), int | float) for name in ("blank", "interior"))


def _is_quantisation(found: Any) -> bool:
    """Tell whether the ranges of the first run are those that it noted."""
    try:
        return bool(Quantisation.from_json(found).as_json() == found)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
