"""What becomes what: inputs and outputs of a prediction, decided before any work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sfseg import io
from sfseg.errors import OptionError, OutputExistsError
from sfseg.prediction.provenance import find_record
from sfseg.prediction.resumable import touched_paths
from sfseg.system.files import explain_errors, refuse_existing

STACK_SUFFIXES = (".tif", ".tiff", ".zarr")
OTHER_SUFFIXES = (".png", ".jpg", ".jpeg", ".h5", ".hdf", ".hdf5", ".npy", ".gz")


@dataclass(frozen=True)
class Job:
    """One input and where its result goes."""

    source: str
    output: Path


def make_jobs(
    sources: Sequence[str], out: Path, *, overwrite: bool = False, resume: bool = False
) -> list[Job]:
    """Decide what becomes what, and refuse before any work what cannot be written.

    Parameters
    ----------
    sources : sequence of str
        Files, folders or globs.
    out : Path
        A name ending in .tif or .zarr: the one input, be it a file, a folder or a glob of sections,
        is one stack. Else a folder: each input file, and each file of an input folder or glob, is a
        stack of its own and keeps its name there.
    overwrite : bool
        Whether existing outputs may be replaced.
    resume : bool
        Whether existing outputs may be left alone, if they are what is wanted.

    Returns
    -------
    list of Job
        At least one.

    Raises
    ------
    OptionError
        If several inputs would go to one file, or two to the same name.
    OutputExistsError
        If an output exists, or what is no record of sfseg's has the name of one; or if an output,
        or what comes and goes beside it while it is made, is one of the inputs or holds one.
    OutputError
        If the name of an output is too long.
    StackError
        If a source matches no file.
    """
    if out.suffix.lower() in STACK_SUFFIXES:
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
        refuse_existing(job.output, overwrite=overwrite or resume)
        find_record(job.output, overwrite=overwrite)
        other = seen.setdefault(job.output, job)
        if other is not job:
            raise OptionError(
                f"{job.output}: expected one input for it, found {other.source} and {job.source}",
                hint="name a folder with -o, where each input keeps its name, one for each of them",
            )
    return jobs


def _refuse_inputs(output: Path, inputs: set[Path]) -> None:
    """Refuse an output whose making would write to, replace or remove an input."""
    entry, target = _entries(output)
    if taken := inputs.intersection([target, *touched_paths(entry)]):
        raise OutputExistsError(
            f"{output}: expected an output that is not an input, nor made over one, "
            f"found one at {min(taken)}",
            hint="give -o another name; inputs are never overwritten",
        )


def _entries(path: Path) -> tuple[Path, Path]:
    """Name a file by where its name stands, and by where a link of that name leads.

    Links are followed as far as they lead; unlike by `Path.resolve`, also into a circle.
    """
    return Path(os.path.realpath(path.parent)) / path.name, Path(os.path.realpath(path))


def _refuse_folder(out: Path) -> None:
    """Refuse an output that is no TIFF and cannot be meant for a folder."""
    with explain_errors(out):
        is_file = out.is_file()
    if is_file:
        raise OutputExistsError(
            f"{out}: expected a name ending in .tif or .zarr, or a folder, found a file",
            hint="give -o another name",
        )
    if out.suffix.lower() in OTHER_SUFFIXES:
        raise OptionError(
            f"{out}: expected a name ending in .tif or .zarr, or a folder, found {out.suffix}",
            hint=f"-o {out.with_suffix('.tif')}",
        )
