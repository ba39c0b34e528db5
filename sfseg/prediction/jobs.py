"""Inputs of a prediction and the output of each, decided before any work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfseg import io
from sfseg.errors import OptionError, OutputExistsError
from sfseg.prediction.record import find_record
from sfseg.prediction.resumable import check_output, touched_paths
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
    found = [io.container(path) for source in sources for path in io.list_files(source)]
    inputs = {entry for path in found for entry in _entries(path)}
    inputs |= {folder for entry in inputs for folder in entry.parents}
    seen: dict[Path, Job] = {}
    for job in jobs:
        _refuse_inputs(job.output, inputs)
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


def _refuse_inputs(output: Path, inputs: set[Path]) -> None:
    """Refuse an output that, or whose temporary files, would overwrite or remove an input."""
    entry, target = _entries(output)
    if taken := inputs.intersection([target, *touched_paths(entry)]):
        raise OutputExistsError(
            f"{output}: this would overwrite {min(taken)}, which is an input or has one in it",
            hint="give -o another name; inputs are never overwritten",
        )


def _entries(path: Path) -> tuple[Path, Path]:
    """Return two paths of a file: of its name, which may be a link, and of the link's target.

    Unlike `Path.resolve`, this also works for links that form a circle.
    """
    return Path(os.path.realpath(path.parent)) / path.name, Path(os.path.realpath(path))


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
