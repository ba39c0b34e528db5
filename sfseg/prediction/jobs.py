"""Inputs of a prediction and the output of each, decided before any work."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfseg import io
from sfseg.errors import OptionError, OutputExistsError
from sfseg.io.outputs import list_entries, refuse_inputs
from sfseg.prediction.destination import check_output, touched_paths
from sfseg.prediction.record import find_record
from sfseg.system.files import explain_errors, is_dangling, suggest_quotes

OTHER_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".h5", ".hdf", ".hdf5", ".npy", ".gz"),
    *(".st", ".mrcs", ".nrrd", ".nii", ".n5", ".dm3", ".dm4"),
)


@dataclass(frozen=True)
class Job:
    """One input and where its result goes."""

    source: str
    output: Path


def make_jobs(
    sources: Sequence[str], out: Path, *, overwrite: bool = False, resume: bool = False
) -> list[Job]:
    """Decide where each input goes, and refuse outputs that cannot be written.

    Parameters
    ----------
    sources : sequence of str
        Files, folders or globs.
    out : Path
        A name ending in .tif, .mrc or .zarr: all sections of the one input become one stack. Else a
        folder: each input file, also each file of an input folder or glob, becomes one stack there
        and keeps its name.
    overwrite : bool
        Whether existing outputs may be replaced.
    resume : bool
        Whether outputs may exist already: finished ones are kept, others are continued.

    Returns
    -------
    list of Job
        At least one.

    Raises
    ------
    OptionError
        If two inputs would be written to the same file.
    OutputExistsError
        If an output exists; if another file has the name of its record; or if an output, or a
        temporary file beside it, would replace an input or a folder with an input.
    OutputError
        If the name of an output is too long.
    StackError
        If a source matches no file.
    """
    is_stack = out.suffix.lower() in io.STACK_SUFFIXES
    if is_stack:
        jobs = [Job(source, out) for source in sources]
    else:
        _refuse_folder(out)
        paths = [path for source in sources for path in io.list_files(source)]
        jobs = [Job(str(path), out / f"{path.stem}.tif") for path in paths]
    inputs = list_entries(sources)
    seen: dict[Path, Job] = {}
    for job in jobs:
        refuse_inputs(job.output, inputs, touched_paths)
        check_output(job.output, overwrite=overwrite or resume)
        find_record(job.output, overwrite=overwrite)
        other = seen.setdefault(job.output, job)
        if other is not job:
            raise OptionError(
                f"{job.output}: both {other.source} and {job.source} would be written to this file",
                hint=_suggest_one_stack(sources)
                if is_stack
                else "run sfseg predict once for each of them, with different -o",
            )
    return jobs


def _suggest_one_stack(sources: Sequence[str]) -> str:
    """Say how several inputs go into one stack, or into one output each."""
    folder = "name a folder with -o: each input gets its own output there"
    quotes = suggest_quotes(sources)
    return f"if they are sections of one stack, {quotes}; else {folder}" if quotes else folder


def _refuse_folder(out: Path) -> None:
    """Refuse an output that is neither a stack nor a folder."""
    with explain_errors(out):
        is_taken = out.is_file() or is_dangling(out)
    if is_taken:
        raise OutputExistsError(
            f"{out}: this is a file or a broken link, and its name does not end in .tif, .mrc or "
            ".zarr",
            hint="give -o a folder, or a name that ends in .tif, .mrc or .zarr",
        )
    if out.suffix.lower() in OTHER_SUFFIXES:
        raise OptionError(
            f"{out}: a map cannot be written as {out.suffix}, only as .tif, .mrc or .zarr",
            hint=f"use -o {out.with_suffix('.tif')}",
        )
