"""Fetch a dataset by name, whole or not at all.

Sources are tried in order, and every file is compared with what the table of datasets knows about
it before it gets its final name. A dataset that is there costs no connection.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sfseg.datasets import manifest, registry, sources
from sfseg.datasets.dataset import Dataset
from sfseg.datasets.download import PATIENT, DownloadProgress, Patience
from sfseg.datasets.manifest import FileRecord
from sfseg.datasets.staging import fill, is_in_place
from sfseg.datasets.verify import check_file
from sfseg.errors import EXTRAS, ChecksumError, FetchError, MissingExtraError, UnknownNameError
from sfseg.system.files import cache_folder


def _ignore(*_: object) -> None:
    """Take a report and do nothing."""


@dataclass(frozen=True)
class Listing:
    """A dataset of the table, and whether it is here.

    Attributes
    ----------
    dataset : Dataset
        What the table says.
    folder : Path
        Where it is or would be.
    is_here : bool
        Whether it is there, whole.
    """

    dataset: Dataset
    folder: Path
    is_here: bool


def listing(*, to: str | Path | None = None) -> tuple[Listing, ...]:
    """List the datasets of the table, and whether they are here.

    Parameters
    ----------
    to : str or Path, optional
        Folder of datasets; else that of `cache_folder`.

    Returns
    -------
    tuple of Listing
        One a dataset. No connection is made.
    """
    known = [(dataset, dataset_folder(dataset, to=to)) for dataset in registry.DATASETS.values()]
    return tuple(Listing(d, folder, manifest.is_whole(folder, d)) for d, folder in known)


def fetch(
    dataset: str | Dataset,
    *,
    to: str | Path | None = None,
    source: str | Path | None = None,
    report: Callable[[str], None] = _ignore,
    progress: DownloadProgress = _ignore,
    patience: Patience = PATIENT,
) -> Path:
    """Fetch a dataset, if it is not here yet.

    Parameters
    ----------
    dataset : str or Dataset
        Its name in the table, or an entry of one's own.
    to : str or Path, optional
        Folder of datasets, in which it gets a folder of its name; else that of `cache_folder`.
    source : str or Path, optional
        A file (zip, HDF5, TIFF), a folder or an https address to take it from, instead of the
        sources of the table.
    report : callable
        Is told citation, licence and what happens, line by line.
    progress : callable
        Is told what is being downloaded, the bytes so far, and their total or None.
    patience : Patience
        How long to wait for a host.

    Returns
    -------
    Path
        The dataset's folder. If everything was there, nothing was read but the record of sizes.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    MissingExtraError
        If its files need an optional package.
    FetchError
        If no source delivered it; its kind `ChecksumError` if something else was delivered.
    StackError, ShapeMismatchError, OptionError
        If what arrived is whole, but its labels are not what the table says.
    """
    if not isinstance(dataset, str | Dataset):
        raise UnknownNameError(
            f"fetch: the name of a dataset is needed here, not a {type(dataset).__name__}",
            hint=f"one of: {', '.join(registry.DATASETS)}",
        )
    wanted = registry.find(dataset) if isinstance(dataset, str) else dataset
    folder = dataset_folder(wanted, to=to)
    report(f"{wanted.name}: {wanted.title}")
    report(f"cite: {wanted.citation}" + "".join(f", doi:{doi}" for doi in wanted.dois))
    report(f"licence: {wanted.licence}")
    if is_in_place(wanted, folder):
        report(f"{wanted.name} is in {folder} already")
        return folder
    report(f"{wanted.name} is not in {folder} yet: fetching it")
    if wanted.extra and importlib.util.find_spec(EXTRAS[wanted.extra]) is None:
        raise MissingExtraError.from_extra(wanted.extra, f"dataset {wanted.name}")
    offers = wanted.sources if source is None else (sources.from_user(source, wanted),)
    fill(wanted, folder, offers, report, progress, patience)
    return folder


def verify(dataset: str | Dataset, *, to: str | Path | None = None) -> tuple[FileRecord, ...]:
    """Read a fetched dataset through and compare it with its record and with the table.

    Parameters
    ----------
    dataset : str or Dataset
        Its name in the table, or an entry of one's own.
    to : str or Path, optional
        Folder of datasets; else that of `cache_folder`.

    Returns
    -------
    tuple of FileRecord
        The files, all of them sound.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    FetchError
        If it is not here; its kind `ChecksumError`, naming the file, if a file has changed.
    StackError
        If a file's shape, type or values are not those of the table.
    """
    wanted = registry.find(dataset) if isinstance(dataset, str) else dataset
    folder = dataset_folder(wanted, to=to)
    records = manifest.read(folder)
    if not records:
        raise FetchError(
            f"{folder}: expected the dataset {wanted.name}, found no record of it",
            hint=f"sfseg fetch {wanted.name}",
        )
    for record in records:
        path = folder / record.name
        if not path.is_file() or manifest.record(folder, record.name) != record:
            raise ChecksumError(
                f"{path}: expected the {record.size_bytes:,} bytes that were delivered, "
                f"found {'others' if path.is_file() else 'nothing'}",
                hint=f"delete it, then: sfseg fetch {wanted.name}",
            )
    for file in wanted.files:
        if (folder / file.name).is_file():
            check_file(file, folder / file.name)
    return records


def dataset_folder(dataset: str | Dataset, *, to: str | Path | None = None) -> Path:
    """Return where a dataset is, or would be.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    """
    wanted = registry.find(dataset) if isinstance(dataset, str) else dataset
    return data_folder(to) / wanted.name


def data_folder(to: str | Path | None = None) -> Path:
    """Return the folder of all datasets: `to`, else that of `cache_folder`."""
    return cache_folder() if to is None else Path(to)
