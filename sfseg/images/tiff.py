"""Read the array of a TIFF file frame by frame; no other file is ever opened."""

import logging
import math
from pathlib import Path

import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.images import metadata, pages
from sfseg.images.guards import wrapped
from sfseg.terms import AnyArray

_QUIET = logging.NullHandler()


class TiffSource:
    """The array of a TIFF file; see `sfseg.images.sources.Source`.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.

    Raises
    ------
    StackError
        If the file is damaged, cut short or hostile, or declares what it does not hold.
    """

    def __init__(self, path: Path, name: str) -> None:
        # tifffile logs what it stumbles over; where nobody listens, this keeps it off stderr
        logging.getLogger("tifffile").addHandler(_QUIET)
        self._name = name
        directories = pages.walk(path, name)
        self._offsets = [directory.start for directory in directories]
        with wrapped(name):
            self._file = tifffile.TiffFile(path, is_lsm=False, is_ndpi=False, is_scanimage=False)
        try:
            with wrapped(name):
                self._check(path, directories)
        except StackError:
            self.close()
            raise

    def _check(self, path: Path, directories: list[pages.Directory]) -> None:
        """Read what the file declares, and check that it is all there."""
        file_bytes = path.stat().st_size
        first = self._page(0)
        spans: list[tuple[int, int]] = []
        for index, directory in enumerate(directories):
            page, what = self._page(index), f"{self._name}: page {index + 1}"
            pages.check(page, directory.tags, file_bytes, what)
            if page.hash != first.hash:
                raise StackError(
                    f"{what}: expected {first.shape} of {first.dtype} stored as page 1 is, "
                    f"found {page.shape} of {page.dtype}",
                    hint="save the sections alone, without thumbnails or other images",
                )
            segments = zip(page.dataoffsets, page.databytecounts, strict=True)
            spans += [(start, start + count) for start, count in segments]
            spans.append((directory.start, directory.end))
        pages.refuse_overlap(self._name, spans)
        self._declared = metadata.declared(
            first, len(directories), file_name=path.name, name=self._name
        )
        self.shape, self.letters = self._declared.shape, self._declared.letters
        self.dtype, self.voxel_size_nm = np.dtype(first.dtype), self._declared.voxel_size_nm
        self._start = self._unpaged(first, file_bytes)

    def _unpaged(self, first: tifffile.TiffPage, file_bytes: int) -> int | None:
        """Tell where the frames begin if the one page is followed by all of them, else None.

        ImageJ stores stacks over 4 GiB in this way, having no page numbers left for them.
        """
        frames = self._declared.frames
        if frames == len(self._offsets):
            return None
        start = first.dataoffsets[0]
        if len(self._offsets) == 1 and first.is_final:
            there = (file_bytes - start) // first.nbytes
            if there >= frames:
                return int(start)
        else:
            there = len(self._offsets)
        raise StackError(
            f"{self._name}: expected {frames} images as its header says, found {there}",
            hint=pages.CUT_SHORT,
        )

    def slab(self, axis: int | None, index: int) -> AnyArray:
        """Read the part of the array at `index` of `axis`; all of it where `axis` is None.

        Returns
        -------
        ndarray
            The array without that dimension.

        Raises
        ------
        StackError
            If a page cannot be decoded.
        """
        leading = self._declared.leading
        frames: AnyArray = np.arange(self._declared.frames).reshape(self.shape[:leading])
        if axis is not None and axis < leading:
            frames = np.take(frames, [index], axis)
        planes = [self._frame(int(frame)) for frame in frames.flat]
        pixels = planes[0] if len(planes) == 1 else np.stack(planes)
        pixels = pixels.reshape(*frames.shape, *self.shape[leading:])
        if axis is None:
            return pixels
        return pixels.squeeze(axis) if axis < leading else pixels.take(index, axis)

    def _frame(self, frame: int) -> AnyArray:
        """Read one frame in native byte order."""
        if self._start is not None:
            return self._unpaged_frame(self._start, frame)
        number = frame if self._declared.pages is None else self._declared.pages[frame]
        with wrapped(f"{self._name}: page {number + 1}"):
            page = self._page(number)
            pages.check_jpeg(self._file.filehandle, page, f"{self._name}: page {number + 1}")
            pixels: AnyArray = page.asarray()
            if pixels.shape != page.shape:
                raise ValueError(f"{pixels.shape} pixels for {page.shape}")
        return pixels

    def _unpaged_frame(self, start: int, frame: int) -> AnyArray:
        """Read one of the frames that follow the only page."""
        count = math.prod(self.shape[self._declared.leading :])
        with wrapped(f"{self._name}: image {frame + 1}"):
            self._file.filehandle.seek(start + frame * count * self.dtype.itemsize)
            stored = self.dtype.newbyteorder(self._file.byteorder)
            return np.asarray(self._file.filehandle.read_array(stored, count))

    def _page(self, index: int) -> tifffile.TiffPage:
        """Parse one page; pages are not kept, there may be many."""
        self._file.filehandle.seek(self._offsets[index])
        return tifffile.TiffPage(self._file, index)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
