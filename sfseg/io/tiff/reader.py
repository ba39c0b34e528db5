"""Read parts of the array of a TIFF file; no other file is ever opened."""

import logging
from pathlib import Path

import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.io.guards import translate_errors
from sfseg.io.orientation import as_orientation
from sfseg.io.tiff import checks, ifd, metadata, photometric
from sfseg.io.tiff.strips import Box, ChunkReader, decoding_bytes
from sfseg.types import AnyArray, format_count

_QUIET = logging.NullHandler()
_ORIENTATION = 274


class TiffSource:
    """The array of a TIFF file; see `sfseg.io.sources.ArraySource`.

    Threads wait for each other while they read bytes or parse pages, not while they decode.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    labels : bool
        Whether the pixels are labels.
    is_member : bool
        Whether it is one section of a folder.

    Raises
    ------
    StackError
        If the file is damaged, cut short or hostile, or declares what it does not hold.
    """

    is_parallel = True

    def __init__(
        self, path: Path, name: str, *, labels: bool = False, is_member: bool = False
    ) -> None:
        # tifffile logs its problems; without a handler logging would print them on stderr
        logging.getLogger("tifffile").addHandler(_QUIET)
        self._name, self._labels = name, labels
        directories = ifd.walk(path, name)
        self._offsets = [directory.start for directory in directories]
        with translate_errors(name):
            self._file = tifffile.TiffFile(path, is_lsm=False, is_ndpi=False, is_scanimage=False)
        self._file.filehandle.set_lock(True)  # several threads may read
        self._chunks = ChunkReader(self._file.filehandle, name)
        self._last: tifffile.TiffPage | None = None
        try:
            with translate_errors(name):
                end = self._check_pages(path, directories)
                unused = path.stat().st_size - end
                self._declare(path, directories, unused_bytes=unused, is_member=is_member)
                self._choose_colours()
        except BaseException:
            self.close()
            raise

    def _check_pages(self, path: Path, directories: list[ifd.Directory]) -> int:
        """Check that each page is there, and like the first; return where the last part ends."""
        file_bytes = path.stat().st_size
        first = self._page(0)
        spans = []
        self._special = self._lacks_palette = False
        self.decoding_bytes = 0
        for index, directory in enumerate(directories):
            page, what = self._page(index), f"{self._name}: page {index + 1}"
            checks.check(page, directory.tags, file_bytes, what)
            _require_like(page, first, what)
            self._special |= photometric.is_special(page)
            self._lacks_palette |= photometric.lacks_palette(page)
            self.decoding_bytes = max(self.decoding_bytes, decoding_bytes(page))
            spans.append(checks.spans(page, directory))
        ifd.refuse_overlap(self._name, np.concatenate(spans))
        ends = [int(each[:, 1].max()) for each in spans]
        return max(*ends, *(each.reach for each in directories))

    def _declare(
        self, path: Path, directories: list[ifd.Directory], *, unused_bytes: int, is_member: bool
    ) -> None:
        """Read what the file declares, and check that it is all there."""
        first, count = self._page(0), len(directories)
        found = metadata.declared(
            first, count, file_name=path.name, name=self._name, is_member=is_member
        )
        self._unpaged = found.frames != count and _is_unpaged(
            first, directories, found.frames, path.stat().st_size
        )
        if found.frames != count and not self._unpaged:
            # what follows the last page may be a part of images that were cut off
            row_bytes = first.nbytes // first.imagelength
            if unused_bytes >= max(row_bytes, 1) or not found.is_series(count):
                there = count + unused_bytes // first.nbytes if checks.is_raw(first) else count
                declared = format_count(found.frames, "image")
                raise StackError(
                    f"{self._name}: the header says {declared}, the file has {there}",
                    hint=ifd.CUT_SHORT,
                )
            found = metadata.described_otherwise(found, first, count)
        self._declared, self.notes, self.channel = found, found.notes, found.channel
        self.shape, self.letters = found.shape, found.letters
        self.dtype, self.voxel_size_nm = np.dtype(first.dtype), found.voxel_size_nm
        self.orientation = as_orientation(first.tags.valueof(_ORIENTATION))
        self._page_shape = first.shaped

    def _choose_colours(self) -> None:
        """Decide how the numbers of the pages are shown, before any is read."""
        self._is_shown = self._is_coloured = False
        if self._lacks_palette:
            note = "its palette is missing or damaged: the numbers are taken for grey values"
            self.notes = (*self.notes, note)
        if not self._special:
            return
        pages = range(len(self._offsets))
        tables = [photometric.colour_table(self._page(index)) for index in pages]
        palettes = [table for table in tables if table is not None]
        if self._labels:
            self._is_shown = self._shows_black_and_white()
        else:
            self._is_coloured = not all(map(photometric.is_grey, palettes))
            self._is_shown = not self._is_coloured
        if self._is_coloured and len(palettes) < len(tables):
            raise StackError(
                f"{self._name}: page {tables.index(None) + 1} is grey, others have palettes of "
                "colours",
                hint="open it in Fiji and save it as 8-bit grey",
            )
        if palettes and (self._is_shown or self._is_coloured):
            self.dtype = palettes[0].dtype
        if self._is_coloured:  # as in a PNG, the palette makes red, green and blue
            self.shape, self.letters = (*self.shape, 3), f"{self.letters}C"
        self.notes = (*self.notes, self._describe_colours(palettes))

    def _describe_colours(self, palettes: list[AnyArray]) -> str:
        """Say how the numbers of special pages are read."""
        what = "it has a palette" if palettes else "its pixels are stored min-is-white"
        if palettes and all(map(photometric.is_inverting, palettes)):
            what = "it has an inverting LUT"  # as of ImageJ's masks
        if self._labels and not self._is_shown:
            return f"{what}: the numbers of its labels are kept"
        return f"{what}: it is read as image programs show it"

    def _shows_black_and_white(self) -> bool:
        """Tell whether all special pages show black and white only; reads them up to a grey."""
        whole = tuple(slice(0, length) for length in self._page_shape)
        for index in [0] if self._unpaged else range(len(self._offsets)):
            page = self._page(index)
            if photometric.is_special(page):
                pixels = self._chunks.read(page, whole)
                if not photometric.shows_black_and_white(page, pixels):
                    return False
        return True

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        if self._is_coloured:
            *box_of_pages, colours = box
            indices = self._read(tuple(box_of_pages), coloured=True)
            return indices[..., colours]
        return self._read(box)

    def _read(self, box: tuple[slice, ...], *, coloured: bool = False) -> AnyArray:
        """Read a box of the pages; `coloured` adds a last dimension of red, green and blue."""
        leading = self._declared.leading
        shape = self._declared.shape[:leading]
        frames: AnyArray = np.arange(self._declared.frames).reshape(shape)
        # frames: the numbers of all frames, in the shape of the leading dimensions
        page_box = self._page_box(box[leading:])
        planes = [self._frame(int(frame), page_box) for frame in frames[box[:leading]].flat]
        pixels = planes[0] if len(planes) == 1 else np.stack(planes)
        colours = (3,) if coloured else ()
        return pixels.reshape([*(span.stop - span.start for span in box), *colours])

    def _page_box(self, box: tuple[slice, ...]) -> Box:
        """Turn a box of a frame into one of a page; their shapes differ only in lengths of 1."""
        lengths = self._declared.shape[self._declared.leading :]
        long = iter(each for each, n in zip(box, lengths, strict=True) if n > 1)
        return tuple(next(long) if n > 1 else slice(0, 1) for n in self._page_shape)

    def _frame(self, frame: int, box: Box) -> AnyArray:
        """Read a box of one frame in native byte order."""
        if self._unpaged:
            with translate_errors(f"{self._name}: image {frame + 1}"):
                first = self._page(0)
                pixels = self._chunks.read(first, box, shift=frame * first.nbytes)
                return self._show(first, pixels)
        number = frame if self._declared.pages is None else self._declared.pages[frame]
        with translate_errors(f"{self._name}: page {number + 1}"):
            page = self._page(number)
            return self._show(page, self._chunks.read(page, box))

    def _show(self, page: tifffile.TiffPage, pixels: AnyArray) -> AnyArray:
        """Turn the numbers of a page into grey values or colours, where they are not."""
        if self._is_coloured:
            table = photometric.colour_table(page)
            return pixels if table is None else np.asarray(table[pixels.astype(np.intp)])
        return photometric.shown(page, pixels) if self._is_shown else pixels

    def _page(self, index: int) -> tifffile.TiffPage:
        """Parse one page; keep only the last, as there may be many."""
        with self._file.filehandle.lock:
            if self._last is None or self._last.index != index:
                self._file.filehandle.seek(self._offsets[index])
                self._last = tifffile.TiffPage(self._file, index)
            return self._last

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _require_like(page: tifffile.TiffPage, first: tifffile.TiffPage, what: str) -> None:
    """Refuse a page that is no section of the stack of the first; it may be stored differently."""
    if (page.shaped, page.axes, page.dtype) != (first.shaped, first.axes, first.dtype):
        raise StackError(
            f"{what}: {page.shape} of {page.dtype} is not like page 1, "
            f"{first.shape} of {first.dtype}",
            hint="save the sections alone, without thumbnails or other images",
        )
    orientations = [as_orientation(each.tags.valueof(_ORIENTATION)) for each in (first, page)]
    if orientations[0] != orientations[1]:
        raise StackError(
            f"{what}: its orientation tag is {orientations[1]}, that of page 1 is "
            f"{orientations[0]}",
            hint="open it in Fiji and save it as TIFF",
        )


def _is_unpaged(
    first: tifffile.TiffPage, directories: list[ifd.Directory], frames: int, file_bytes: int
) -> bool:
    """Tell whether the frames follow each other in the file, and only the first has a page.

    ImageJ stores stacks over 4 GiB in this way: their offsets do not fit in 32 bits.
    """
    if len(directories) > 1 or frames < 1 or not (first.is_final and checks.is_raw(first)):
        return False
    start = first.dataoffsets[0]
    end = start + frames * first.nbytes
    is_page_between = start < directories[0].start < end
    return end <= file_bytes and not is_page_between
