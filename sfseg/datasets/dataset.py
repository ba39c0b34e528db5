"""What a dataset is: its files and how to recognise them, its sources, its split."""

from dataclasses import dataclass
from typing import Literal

from sfseg.types import LabelKind, Shape, VoxelSize


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset and the ways to recognise it; any one of the known identities will do.

    Attributes
    ----------
    name : str
        Path in the dataset's folder, with forward slashes.
    size_bytes : int
        About how large it is. A download that grows far beyond is broken off.
    shape : tuple of int or None
        Sections, rows, columns of the decoded image, where it is an image and they are known.
    dtype : str
        Type of its pixels, checked together with the shape.
    values : tuple of int or None
        The only values that its pixels have, both or all of them.
    sha256, pixels : str or None
        Of the file's bytes, and of its decoded pixels.
    git_blobs : tuple of str
        Git blob ids of the copies that are known.
    required : bool
        Whether the dataset is of use only with it.
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
        """Whether its contents are known, so that they can be told from others of the same kind."""
        return bool(self.sha256 or self.pixels or self.git_blobs)

    @property
    def limit_bytes(self) -> int:
        """How large a copy may be; other compression and wider pixels are allowed for."""
        return 4 * self.size_bytes + 2**20


@dataclass(frozen=True)
class Source:
    """A place that has files of a dataset.

    Attributes
    ----------
    url : str
        Of one file or archive, or, ending in a slash, of the folder of the files; for a generator
        what it is called.
    kind : {'files', 'archive', 'generator'}
        Files one by one, a zip archive of them, or drawn here from a seed (no connection).
    files : tuple of str or None
        Names of the files that it has; None = all.
    git_blob : str or None
        Git blob id of the archive itself.
    """

    url: str
    kind: Literal["files", "archive", "generator"] = "files"
    files: tuple[str, ...] | None = None
    git_blob: str | None = None


@dataclass(frozen=True)
class Part:
    """Images and their labels within a dataset's folder, and which sections of them.

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
        As a person reads them.
    dois : tuple of str
        Of the publications to cite.
    voxel_size_nm : tuple of float or None
        Along (z, y, x); None = not stated by the source.
    label_kind : {'interior', 'membrane', 'instances'}
        What the pixels of the labels say.
    files, sources : tuple
        What belongs to it, and the places to get it from, in order.
    train, test : tuple of Part
        The standard split.
    split : str
        Whose split that is.
    extra : str or None
        The optional dependency that reads it.
    unlabelled : str or None
        A stack of the same tissue without labels.
    """

    name: str
    title: str
    citation: str
    dois: tuple[str, ...]
    licence: str
    voxel_size_nm: VoxelSize | None
    label_kind: LabelKind
    files: tuple[DataFile, ...]
    sources: tuple[Source, ...]
    train: tuple[Part, ...]
    test: tuple[Part, ...]
    split: str
    extra: str | None = None
    unlabelled: str | None = None

    @property
    def size_bytes(self) -> int:
        """About how large its files are together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part, of the training and of the test sections."""
        return self.train + self.test
