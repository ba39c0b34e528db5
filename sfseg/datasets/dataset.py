"""Descriptions of datasets: files and their hashes, sources, the split."""

from dataclasses import dataclass
from typing import Literal

from sfseg.datasets.tissue import TissueOptions
from sfseg.types import LabelKind, Shape, VoxelSize


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset, and how to recognise it. One matching hash is enough.

    Attributes
    ----------
    name : str
        Path in the dataset's folder, with forward slashes.
    size_bytes : int
        Approximate size. A much larger download is stopped.
    shape : tuple of int or None
        Sections, rows, columns of the decoded image; None if unknown, or not an image.
    dtype : str
        Type of its pixels, checked together with the shape.
    values : tuple of int or None
        All values that its pixels have; None = any.
    sha256, pixels : str or None
        Of the file's bytes, and of its decoded pixels.
    git_blobs : tuple of str
        Git blob ids of the copies that are known.
    required : bool
        Whether the dataset is useless without it.
    """

    name: str
    size_bytes: int
    shape: Shape | None = None
    dtype: str = "uint8"
    values: tuple[int, ...] | None = None
    sha256: str | None = None
    pixels: str | None = None
    git_blobs: tuple[str, ...] = ()
    required: bool = True

    @property
    def has_identity(self) -> bool:
        """Whether its contents are known: it has at least one hash."""
        return bool(self.sha256 or self.pixels or self.git_blobs)

    @property
    def limit_bytes(self) -> int:
        """Largest size of a copy, which may be compressed otherwise or have wider pixels."""
        return 4 * self.size_bytes + 2**20


@dataclass(frozen=True)
class DatasetSource:
    """A place where files of a dataset are.

    Attributes
    ----------
    url : str
        Address of one file or archive; or, with a slash at the end, of the folder of the files. For
        a generator, its name.
    kind : {'files', 'archive', 'generator'}
        Files one by one, a zip archive of them, or drawn here from a seed (no connection).
    files : tuple of str or None
        Names of the files there; None = all.
    git_blob : str or None
        Git blob id of the archive itself.
    tissue : TissueOptions or None
        What a generator draws; None = the plain tissue.
    """

    url: str
    kind: Literal["files", "archive", "generator"] = "files"
    files: tuple[str, ...] | None = None
    git_blob: str | None = None
    tissue: TissueOptions | None = None


@dataclass(frozen=True)
class LabelledStack:
    """Images and labels in the folder of a dataset, and the sections to use.

    Attributes
    ----------
    images, labels : str
        A stack, a folder of sections, or ``file.h5:/path/in/it``.
    sections : str or None
        Section numbers from 1, as `sfseg.types.parse_sections` reads them; None = all.
    """

    images: str
    labels: str
    sections: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset: its citation, its licence, its files, its split.

    Attributes
    ----------
    name, title, citation, licence : str
        Texts for people.
    dois : tuple of str
        DOIs of the publications to cite.
    voxel_size_nm : tuple of float or None
        (z, y, x); None = the source does not state it.
    label_kind : {'interior', 'membrane', 'instances'}
        Meaning of the pixels of the labels.
    files, sources : tuple
        Its files, and the places to get them from, in this order.
    train, test : tuple of LabelledStack
        The standard split.
    split : str
        Who made that split.
    extra : str or None
        The optional dependency that is needed to read it.
    unlabelled : str or None
        A stack of the same tissue without labels.
    arguments : str or None
        What follows ``sfseg fetch`` to get it; None = its name.
    """

    name: str
    title: str
    citation: str
    dois: tuple[str, ...]
    licence: str
    voxel_size_nm: VoxelSize | None
    label_kind: LabelKind
    files: tuple[DataFile, ...]
    sources: tuple[DatasetSource, ...]
    train: tuple[LabelledStack, ...]
    test: tuple[LabelledStack, ...]
    split: str
    extra: str | None = None
    unlabelled: str | None = None
    arguments: str | None = None

    @property
    def command(self) -> str:
        """The command that fetches it."""
        return f"sfseg fetch {self.arguments or self.name}"

    @property
    def size_bytes(self) -> int:
        """Approximate size of all its files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def parts(self) -> tuple[LabelledStack, ...]:
        """All parts, of the training and of the test sections."""
        return self.train + self.test
