"""`sfseg predict --preview`: where pictures go, and that a failed one is a warning only."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfseg.cli.console import say
from sfseg.config import PredictConfig
from sfseg.errors import OptionError, SfsegError
from sfseg.system import files
from sfseg.system.remote import as_location

if TYPE_CHECKING:
    from sfseg.prediction.jobs import Job
    from sfseg.report.layers import Kind

PICTURE = ".png"
OTHER_PICTURES = (".jpg", ".jpeg", ".tif", ".tiff", ".pdf", ".svg", ".html")


def plan_previews(jobs: "Sequence[Job]", preview: Path, *, overwrite: bool) -> "dict[Path, Path]":
    """Decide where the preview of each output goes, and refuse what cannot be written.

    Parameters
    ----------
    jobs : sequence of Job
        Inputs and outputs.
    preview : Path
        A name ending in .png, for one output; else a folder.
    overwrite : bool
        Whether existing previews may be replaced.

    Raises
    ------
    OptionError
        If one picture is named for several outputs, or a picture of another kind; or if a preview
        would be taken for a section of an input.
    OutputExistsError
        If a preview exists.
    """
    if preview.suffix.lower() in OTHER_PICTURES:
        raise OptionError(
            f"--preview: {preview}: a preview is a PNG",
            hint=f"--preview {preview.with_suffix(PICTURE)}",
        )
    is_one = preview.suffix.lower() == PICTURE
    if is_one and len(jobs) > 1:
        raise OptionError(
            f"--preview: {preview} is one picture, but there are {len(jobs)} outputs",
            hint=f"name a folder: --preview {preview.with_suffix('')}",
        )
    planned = {
        job.output: preview if is_one else preview / f"{job.output.stem}{PICTURE}" for job in jobs
    }
    for job in jobs:
        _refuse_among_sections(planned[job.output], job.source)
        files.check_output_path(planned[job.output], overwrite=overwrite)
    if not is_one:
        files.refuse_file_as_folder(preview)
    return planned


def _refuse_among_sections(picture: Path, source: str) -> None:
    """Refuse a picture in a folder whose images are sections: the next run would read it as one."""
    from sfseg import io

    members = [member.resolve() for member in io.list_files(source)]
    is_folder = as_location(source).resolve() not in members
    folders = {member.parent for member in members} if is_folder else set()
    if picture.resolve() in members or picture.resolve().parent in folders:
        raise OptionError(
            f"--preview: {picture} would be read as a section of {source} next time",
            hint="choose another folder for it",
        )


def make_preview(job: "Job", picture: Path, config: PredictConfig) -> None:
    """Write the preview of a finished output; what goes wrong is a warning."""
    from sfseg.report.layers import Source, open_layers
    from sfseg.report.preview import write_preview

    kinds: dict[str, Kind] = {"probability": "map", "binary": "mask", "segments": "labels"}
    sources = (
        Source(job.source, "image", config.axes),
        Source(str(job.output), kinds[config.output]),
    )
    try:
        with open_layers(sources, pixel_size_nm=config.pixel_size) as layers:
            write_preview(picture, layers, overwrite=True)
    except (SfsegError, OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = str(error).partition("\nhint: ")[0] or type(error).__name__
        say(f"warning: the preview could not be made; {job.output} is complete: {reason}")
    else:
        say(f"preview: {picture}")


def suggest_view(job: "Job", config: PredictConfig) -> str:
    """Write the command that shows an input and its output."""
    options = [] if config.axes is None else ["--axes", config.axes]
    if config.pixel_size is not None:
        options += ["--pixel-size", ",".join(f"{side:g}" for side in config.pixel_size)]
    return shlex.join(["sfseg", "view", job.source, str(job.output), *options, "--open"])
