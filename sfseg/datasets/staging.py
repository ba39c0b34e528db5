"""Collect the files of a dataset beside its folder, check them, and move them when all fit."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from sfseg.datasets import manifest, sources
from sfseg.datasets.dataset import DataFile, Dataset, DatasetSource
from sfseg.datasets.download import DownloadProgress, Patience
from sfseg.datasets.verify import check_file, check_parts
from sfseg.errors import ChecksumError, FetchError, SfsegError, StackError
from sfseg.system import files
from sfseg.system.files import sibling
from sfseg.system.locks import exclusive
from sfseg.types import Say


def is_in_place(dataset: Dataset, folder: Path) -> bool:
    """Whether a dataset is complete, and no killed run has left files beside it."""
    left_over = (sibling(folder, "part"), sibling(folder, "lock"))
    return manifest.is_whole(folder, dataset) and not any(path.exists() for path in left_over)


def fill(
    dataset: Dataset,
    folder: Path,
    offers: Sequence[DatasetSource | Path],
    say: Say,
    progress: DownloadProgress,
    patience: Patience,
) -> None:
    """Fill the folder of a dataset, unless another process has just done it.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    folder : Path
        Its final folder. Until all files are checked, they are in ``<folder>.part``, beside it;
        ``<folder>.lock`` keeps other processes away.
    offers : sequence of DatasetSource or Path
        Where to look, in order.
    say, progress : callable
        See `sfseg.datasets.fetch.fetch`.
    patience : Patience
        How long to wait for a host.

    Raises
    ------
    FetchError
        If no source has the required files; `ChecksumError` if one has other contents.
    StackError, OptionError
        See `sfseg.datasets.verify.check_parts`.
    OutputError
        If the disk is full or fails, or you may not write there.
    """
    with (
        files.explain_errors(folder),
        files.ensure_parent(folder),
        exclusive(
            sibling(folder, "lock"),
            waiting=lambda: say(f"waiting for another sfseg that is fetching {dataset.name}"),
        ),
    ):
        staging = sibling(folder, "part")
        if manifest.is_whole(folder, dataset):
            shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
            return
        files.remove(staging)
        good, scratch = staging / "good", staging / "scratch"
        good.mkdir(parents=True)
        scratch.mkdir()
        try:
            # Files in the folder, of the user or a killed run, are used first if they are right.
            found = (folder, *offers) if folder.is_dir() else offers
            opener = sources.Opener(dataset, scratch, progress, patience)
            _deliver(dataset, found, good, opener, say)
            check_parts(dataset, good)
            _move(dataset, good, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _deliver(
    dataset: Dataset,
    offers: Sequence[DatasetSource | Path],
    good: Path,
    opener: sources.Opener,
    say: Say,
) -> None:
    """Try the sources in order until all required files are in `good`, checked."""
    failures: list[SfsegError] = []
    said: list[str] = []
    for source in offers:
        if not any(file.required for file in _missing(dataset, good)):
            break
        name = sources.describe(source)
        say(f"from {name}")
        new = _take(source, _missing(dataset, good), good, opener)
        failures += new
        said += [f"  {name}", *(f"    {failure.message}" for failure in new)]
    required = [file.name for file in _missing(dataset, good) if file.required]
    if required:
        mismatch = any(isinstance(failure, ChecksumError) for failure in failures)
        raise (ChecksumError if mismatch else FetchError)(
            "\n".join([f"{dataset.name}: no source delivered {_some(required)}:", *said]),
            hint="download the data yourself, then give the file or folder: "
            f"{dataset.command} --from PATH",
        )
    if left_out := [file.name for file in _missing(dataset, good)]:
        say(f"without {_some(left_out)}, which is not required")


def _missing(dataset: Dataset, folder: Path) -> list[DataFile]:
    return [file for file in dataset.files if not (folder / file.name).is_file()]


def _some(names: Sequence[str]) -> str:
    """Join the first four names."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _take(
    source: DatasetSource | Path, missing: Sequence[DataFile], good: Path, opener: sources.Opener
) -> list[SfsegError]:
    """Take the missing files that a source has; return the errors."""
    failures: list[SfsegError] = []
    try:
        candidates = opener.open(source, missing)
        for file in missing:
            failures += _admit(file, candidates(file), good / file.name)
    except FetchError as error:
        failures.append(error)
    return failures


def _admit(file: DataFile, candidates: Sequence[Path], target: Path) -> list[SfsegError]:
    """Copy the first candidate that is the file to `target`; return the errors if none is."""
    failures: list[SfsegError] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in candidates:
        if (size := path.stat().st_size) > file.limit_bytes:
            failures.append(
                FetchError(f"{path}: too large: {size:,} bytes, at most {file.limit_bytes:,}")
            )
            continue
        shutil.copyfile(path, target)
        try:
            check_file(file, target)
        except (ChecksumError, StackError) as error:
            target.unlink()
            failures.append(error)
        else:
            return []
    if file.required and not candidates:
        failures.append(FetchError(f"there is no {file.name}"))
    return failures


def _move(dataset: Dataset, good: Path, folder: Path) -> None:
    """Move the checked files to their final names; their record goes last."""
    names = [file.name for file in dataset.files if (good / file.name).is_file()]
    manifest.write(good, dataset, [manifest.record(good, name) for name in names])
    folder.mkdir(parents=True, exist_ok=True)
    files.remove(folder / manifest.NAME)  # its files are replaced now
    for name in (*names, manifest.NAME):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.sync(good / name)
        (good / name).replace(folder / name)
        files.sync((folder / name).parent)
    files.sync(folder.parent)
