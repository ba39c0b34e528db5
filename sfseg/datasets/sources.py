"""Open a source of any kind: it becomes local files that may be the wanted ones."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from sfseg import io
from sfseg.datasets import registry, synthetic
from sfseg.datasets.archive import extract
from sfseg.datasets.dataset import DataFile, Dataset, DatasetSource
from sfseg.datasets.download import DownloadProgress, Patience, download, shown
from sfseg.datasets.tissue import TissueOptions
from sfseg.datasets.verify import git_blob
from sfseg.errors import ChecksumError, FetchError
from sfseg.types import AnyArray

Candidates = Callable[[DataFile], Sequence[Path]]
"""Returns the paths of local files that may be this file of the table."""


def describe(source: DatasetSource | Path) -> str:
    """Return the name of a source, to print it."""
    if isinstance(source, Path):
        return str(source)
    return source.url if source.kind == "generator" else shown(source.url)


def from_user(text: str | Path, dataset: Dataset) -> DatasetSource | Path:
    """Turn the text of ``--from`` into a source.

    Parameters
    ----------
    text : str or Path
        A file, a folder, or an address: of a zip archive, of the only file of the dataset, or of a
        folder with its files.
    dataset : Dataset
        The dataset to fetch.

    Returns
    -------
    DatasetSource or Path
        An address, or a path on this disk.

    Raises
    ------
    FetchError
        If it is a path without a file or folder.
    """
    if isinstance(text, str) and "://" in text:
        if text.partition("?")[0].lower().endswith(".zip"):
            return DatasetSource(text, "archive")
        return DatasetSource(text if len(dataset.files) == 1 else text.rstrip("/") + "/")
    path = Path(text)
    if not (path.is_file() or path.is_dir()):
        raise FetchError(
            f"{path}: this is a pipe or a device" if path.exists() else f"{path}: does not exist",
            hint="give a file, a folder or an https address",
        )
    return path


class Opener:
    """Opens sources of a dataset; downloads and unpacks to a scratch folder.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    scratch : Path
        An empty folder, to delete afterwards.
    progress : callable
        Called during downloads; see `sfseg.datasets.download.DownloadProgress`.
    patience : Patience
        How long to wait for a host.
    """

    def __init__(
        self, dataset: Dataset, scratch: Path, progress: DownloadProgress, patience: Patience
    ) -> None:
        # An archive of a whole repository holds other files, too.
        self._archive_limit = 4 * sum(file.limit_bytes for file in dataset.files)
        self._scratch = scratch
        self._progress = progress
        self._patience = patience

    def open(self, source: DatasetSource | Path, wanted: Sequence[DataFile]) -> Candidates:
        """Open a source.

        Parameters
        ----------
        source : DatasetSource or Path
            Where to look; a path is a folder, a zip archive or a file.
        wanted : sequence of DataFile
            The files to look for. Larger files than their limits are refused.

        Returns
        -------
        callable
            Returns the paths of the candidates for one of the wanted files; it may download.

        Raises
        ------
        FetchError
            If the source cannot be reached, or is not usable. The returned callable raises it, too.
        """
        folder = self._scratch / str(len(list(self._scratch.iterdir())))
        folder.mkdir()
        if isinstance(source, Path):
            return self._open_path(source, wanted, folder)
        if source.kind == "files":
            return lambda file: self._download_one(source, file, folder)
        if source.kind == "archive":
            return self._open_archive_at(source, wanted, folder)
        return _draw(folder, source.tissue or TissueOptions())

    def _open_path(self, path: Path, wanted: Sequence[DataFile], folder: Path) -> Candidates:
        if path.is_dir():
            return _search(path)
        if zipfile.is_zipfile(path):
            extract(path, wanted, folder)
            return _search(folder)
        # A file with a known hash may have any name.
        return lambda file: [path] if file.has_identity or path.name == file.name else []

    def _download_one(self, source: DatasetSource, file: DataFile, folder: Path) -> list[Path]:
        if source.files is not None and file.name not in source.files:
            return []
        url = source.url + quote(file.name) if source.url.endswith("/") else source.url
        path = folder / file.name
        self._download(url, path, file.limit_bytes)
        return [path]

    def _open_archive_at(
        self, source: DatasetSource, wanted: Sequence[DataFile], folder: Path
    ) -> Candidates:
        archive = folder / "archive.zip"
        self._download(source.url, archive, self._archive_limit)
        if source.git_blob is not None and git_blob(archive) != source.git_blob:
            raise ChecksumError(f"{shown(source.url)}: this is not the archive of the table")
        extract(archive, wanted, folder / "members")
        return _search(folder / "members")

    def _download(self, url: str, path: Path, limit_bytes: int) -> None:
        download(
            url, path, limit_bytes=limit_bytes, progress=self._progress, patience=self._patience
        )


def _search(folder: Path) -> Candidates:
    """Look for files by name, in the folder and below."""

    def candidates(file: DataFile) -> list[Path]:
        tail = PurePosixPath(file.name).parts
        found = sorted(folder.rglob(tail[-1]))
        return [path for path in found if path.parts[-len(tail) :] == tail and path.is_file()]

    return candidates


def _draw(folder: Path, options: TissueOptions) -> Candidates:
    """Draw the synthetic dataset; see `sfseg.datasets.synthetic`."""
    wanted, tissue = registry.tissue_dataset(options), synthetic.draw(options)
    stacks: tuple[AnyArray, ...] = (tissue.volume, tissue.labels, tissue.cells)
    for file, pixels in zip(wanted.files, stacks, strict=True):
        io.write_stack(folder / file.name, pixels, voxel_size_nm=wanted.voxel_size_nm)
    return _search(folder)
