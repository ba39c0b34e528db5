"""Read parts of the array of a TIFF file; no other file is ever opened."""

import logging
from pathlib import Path

import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.io.guards import translate_errors
from sfseg.io.tiff import checks, ifd, metadata
from sfseg.io.tiff.strips import Box, ChunkReader
from sfseg.types import AnyArray

_QUIET = logging.NullHandler()


class TiffSource:
    """The array of a TIFF file; see `sfseg.io.sources.ArraySource`.

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
        # tifffile logs its problems; without a handler logging would print them on stderr
        logging.getLogger("tifffile").addHandler(_QUIET)
        self._name = name
        directories = ifd.walk(path, name)
        self._offsets = [directory.start for directory in directories]
        with translate_errors(name):
            self._file = tifffile.TiffFile(path, is_lsm=False, is_ndpi=False, is_scanimage=False)
        self._chunks = ChunkReader(self._file.filehandle, name)
        self._last: tifffile.TiffPage | None = None
        try:
            with translate_errors(name):
                self._check(path, directories)
        except BaseException:
            self.close()
            raise

    def _check(self, path: Path, directories: list[ifd.Directory]) -> None:
        """Read what the file declares, and check that it is all there."""
        file_bytes = path.stat().st_size
        first = self._page(0)
        spans = []
        for index, directory in enumerate(directories):
            page, what = self._page(index), f"{self._name}: page {index + 1}"
            checks.check(page, directory.tags, file_bytes, what)
            if page.hash != first.hash:
                raise StackError(
                    f"{what}: {page.shape} of {page.dtype} is not stored like page 1, "
                    f"{first.shape} of {first.dtype}",
                    hint="save the sections alone, without thumbnails or other images",
                )
            spans.append(checks.spans(page, directory))
        ifd.refuse_overlap(self._name, np.concatenate(spans))
        self._declared = metadata.declared(
            first, len(directories), file_name=path.name, name=self._name
        )
        self.shape, self.letters = self._declared.shape, self._declared.letters
        self.dtype, self.voxel_size_nm = np.dtype(first.dtype), self._declared.voxel_size_nm
        self._page_shape = first.shaped
        self._unpaged = self._is_unpaged(first, file_bytes)

    def _is_unpaged(self, first: tifffile.TiffPage, file_bytes: int) -> bool:
        """Tell whether the frames follow each other in the file, and only the first has a page.

        ImageJ stores stacks over 4 GiB in this way: their offsets do not fit in 32 bits.
        """
        frames = self._declared.frames
        if frames == len(self._offsets):
            return False
        if len(self._offsets) == 1 and first.is_final and checks.is_raw(first):
            there = (file_bytes - first.dataoffsets[0]) // first.nbytes
            if there >= frames:
                return True
        else:
            there = len(self._offsets)
        raise StackError(
            f"{self._name}: the header says {frames} images, the file has {there}",
            hint=ifd.CUT_SHORT,
        )

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        leading = self._declared.leading
        frames: AnyArray = np.arange(self._declared.frames).reshape(self.shape[:leading])
        # frames: the numbers of all frames, in the shape of the leading dimensions
        page_box = self._page_box(box[leading:])
        planes = [self._frame(int(frame), page_box) for frame in frames[box[:leading]].flat]
        pixels = planes[0] if len(planes) == 1 else np.stack(planes)
        return pixels.reshape([span.stop - span.start for span in box])

    def _page_box(self, box: tuple[slice, ...]) -> Box:
        """Turn a box of a frame into one of a page; their shapes differ only in lengths of 1."""
        lengths = self.shape[self._declared.leading :]
        long = iter(each for each, n in zip(box, lengths, strict=True) if n > 1)
        return tuple(next(long) if n > 1 else slice(0, 1) for n in self._page_shape)

    def _frame(self, frame: int, box: Box) -> AnyArray:
        """Read a box of one frame in native byte order."""
        if self._unpaged:
            with translate_errors(f"{self._name}: image {frame + 1}"):
                first = self._page(0)
                return self._chunks.read(first, box, shift=frame * first.nbytes)
        number = frame if self._declared.pages is None else self._declared.pages[frame]
        with translate_errors(f"{self._name}: page {number + 1}"):
            return self._chunks.read(self._page(number), box)

    def _page(self, index: int) -> tifffile.TiffPage:
        """Parse one page; keep only the last, as there may be many."""
        if self._last is None or self._last.index != index:
            self._file.filehandle.seek(self._offsets[index])
            self._last = tifffile.TiffPage(self._file, index)
        return self._last

    def close(self) -> None:
        """Close the file."""
        self._file.close()
