"""Fetch a dataset by name, whole or not at all.

Sources are tried in order. Every file is checked against the table of datasets before it gets its
final name. A dataset that is there already needs no connection.
"""

import errno
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from sfseg.datasets import manifest, registry, sources
from sfseg.datasets.dataset import Dataset
from sfseg.datasets.download import PATIENT, DownloadProgress, Patience
from sfseg.datasets.manifest import FileRecord
from sfseg.datasets.staging import fill, is_in_place
from sfseg.datasets.verify import check_file
from sfseg.errors import (
    EXTRAS,
    ChecksumError,
    FetchError,
    MissingExtraError,
    OutputError,
    UnknownNameError,
)
from sfseg.system.files import cache_folder
from sfseg.types import Say, kind_of


def _ignore(*_: object) -> None:
    """Ignore what is said."""


@dataclass(frozen=True)
class Listing:
    """A dataset of the table, and whether it was fetched.

    Attributes
    ----------
    dataset : Dataset
        Its entry in the table.
    folder : Path
        Where it is or would be.
    is_here : bool
        Whether it is there and complete.
    """

    dataset: Dataset
    folder: Path
    is_here: bool


def list_datasets(*, to: str | Path | None = None) -> tuple[Listing, ...]:
    """List the datasets of the table, and whether they were fetched.

    Parameters
    ----------
    to : str or Path, optional
        Folder of datasets; else that of `cache_folder`.

    Returns
    -------
    tuple of Listing
        One for each dataset. No connection is made.
    """
    known = [(dataset, data_folder(to) / dataset.name) for dataset in registry.DATASETS.values()]
    return tuple(Listing(d, folder, manifest.is_whole(folder, d)) for d, folder in known)


def fetch(
    dataset: str | Dataset,
    *,
    to: str | Path | None = None,
    source: str | Path | None = None,
    say: Say = _ignore,
    progress: DownloadProgress = _ignore,
    patience: Patience = PATIENT,
) -> Path:
    """Fetch a dataset, if it is not here yet.

    Parameters
    ----------
    dataset : str or Dataset
        Its name in the table, or your own entry.
    to : str or Path, optional
        Folder of datasets; the dataset gets a folder of its name there. Default: `cache_folder`.
    source : str or Path, optional
        A file (zip, HDF5, TIFF), a folder or an https address, used instead of the sources in the
        table.
    say : callable
        Called with lines of text: citation, licence, and each step.
    progress : callable
        Called with the name of the file, the bytes so far, and the total or None.
    patience : Patience
        How long to wait for a host.

    Returns
    -------
    Path
        The folder of the dataset. If it was complete, only its record was read.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    MissingExtraError
        If its files need an optional package.
    FetchError
        If no source delivered it; `ChecksumError` if a file had other contents.
    OutputError
        If the folder cannot be written to.
    StackError, ShapeMismatchError, OptionError
        If images or labels do not fit the table.
    """
    if not isinstance(dataset, str | Dataset):
        raise UnknownNameError(
            f"fetch: the name of a dataset is needed here, not {kind_of(dataset)}",
            hint=f"choose one of: {', '.join(registry.DATASETS)}",
        )
    wanted = _resolve(dataset)
    folder = data_folder(to) / wanted.name
    say(f"{wanted.name}: {wanted.title}")
    say(f"cite: {wanted.citation}" + "".join(f", doi:{doi}" for doi in wanted.dois))
    say(f"licence: {wanted.licence}")
    if is_in_place(wanted, folder):
        say(f"{wanted.name} is in {folder} already")
        return folder
    say(f"{wanted.name} is not in {folder} yet: fetching it")
    if wanted.extra and importlib.util.find_spec(EXTRAS[wanted.extra]) is None:
        raise MissingExtraError.from_extra(wanted.extra, f"dataset {wanted.name}")
    offers = wanted.sources if source is None else (sources.from_user(source, wanted),)
    try:
        fill(wanted, folder, offers, say, progress, patience)
    except OutputError as error:
        if to is not None or error.errno == errno.ENOSPC:
            raise
        raise OutputError(
            str(error).partition("\nhint: ")[0],
            hint="name another folder for the datasets with --data-dir, or set SFSEG_CACHE",
        ) from error
    if source is not None:
        _say_unknown(wanted, folder, say)
    return folder


def _say_unknown(dataset: Dataset, folder: Path, say: Say) -> None:
    """Say which files may be others than those of the dataset: nobody knows their hash."""
    found = [file for file in dataset.files if (folder / file.name).is_file()]
    if unknown := [file.name for file in found if not file.has_identity]:
        names = ", ".join(unknown)
        say(f"warning: no hash is known of {names}: only shape and values could be checked")


def verify(
    dataset: str | Dataset,
    *,
    to: str | Path | None = None,
    progress: DownloadProgress = _ignore,
) -> tuple[FileRecord, ...]:
    """Read all files of a fetched dataset, and compare them with its record and the table.

    Parameters
    ----------
    dataset : str or Dataset
        Its name in the table, or your own entry.
    to : str or Path, optional
        Folder of datasets. Default: `cache_folder`.
    progress : callable
        Called before each file with its name, the bytes verified so far, and those of all files.

    Returns
    -------
    tuple of FileRecord
        The files; all of them are right.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    FetchError
        If it was not fetched; `ChecksumError`, with the name of the file, if a file has changed.
    StackError
        If the shape, type or values of a file are not those of the table.
    """
    wanted = _resolve(dataset)
    folder = data_folder(to) / wanted.name
    records = manifest.read(folder)
    again = wanted.command + (f" --data-dir {to}" if to is not None else "")
    if not records:
        raise FetchError(
            f"{folder}: the dataset {wanted.name} is not here",
            hint=again,
        )
    known = {file.name: file for file in wanted.files if (folder / file.name).is_file()}
    done, total = 0, sum(record.size_bytes for record in records)
    for record in records:
        progress(record.name, done, total)
        _check_unchanged(record, folder, again)
        if file := known.pop(record.name, None):
            check_file(file, folder / file.name)
        done += record.size_bytes
    for file in known.values():  # it came after the record was written
        check_file(file, folder / file.name)
    return records


def _check_unchanged(record: FileRecord, folder: Path, again: str) -> None:
    """Compare a file with its record; raises ChecksumError."""
    path = folder / record.name
    if not path.is_file():
        raise ChecksumError(f"{path}: is missing", hint=again)
    if manifest.record(folder, record.name) != record:
        raise ChecksumError(
            f"{path}: has changed since it was fetched", hint=f"delete it, then: {again}"
        )


def dataset_folder(dataset: str | Dataset, *, to: str | Path | None = None) -> Path:
    """Return the folder of a dataset, even if it was not fetched.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    """
    return data_folder(to) / _resolve(dataset).name


def _resolve(dataset: str | Dataset) -> Dataset:
    """Return a dataset itself, or that of a name."""
    return registry.find(dataset) if isinstance(dataset, str) else dataset


def data_folder(to: str | Path | None = None) -> Path:
    """Return the folder of all datasets: `to`, else `cache_folder`."""
    return cache_folder() if to is None else Path(to)
