"""Read the axes, pages and voxel size that a TIFF declares, as OME, ImageJ or tifffile write them.

Without metadata the pages are sections.
"""

import json
import math
from dataclasses import dataclass
from xml.etree import ElementTree

import tifffile

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.types import VoxelSize

_STK_PLANES = 33629
"""Tag of a MetaMorph stack: its one page stands for as many planes as the tag has values."""

_MAX_DIMENSIONS = 16
"""Keeps the arithmetic on a hostile shape short."""


@dataclass(frozen=True)
class Declared:
    """The array that a TIFF declares.

    Parameters
    ----------
    letters : str
        One letter for each dimension; see `sfseg.io.axes`.
    shape : tuple of int
        Lengths of the dimensions.
    leading : int
        How many of the dimensions are spread over frames; a frame holds the others.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x).
    pages : tuple of int or None
        The page of each frame; None if frame and page have the same number.
    """

    letters: str
    shape: tuple[int, ...]
    leading: int
    voxel_size_nm: VoxelSize | None
    pages: tuple[int, ...] | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return math.prod(self.shape[: self.leading])


def declared(page: tifffile.TiffPage, count: int, *, file_name: str, name: str) -> Declared:
    """Read what a TIFF declares.

    Parameters
    ----------
    page : tifffile.TiffPage
        The first page.
    count : int
        How many pages the file really has.
    file_name : str
        Name of the file in its folder.
    name : str
        The file, for messages.

    Returns
    -------
    Declared
        The declared array. The caller checks that all pixels are there.

    Raises
    ------
    StackError
        If the metadata contradict themselves or the pages, or name other files.
    """
    if _STK_PLANES in page.tags and page.tags[_STK_PLANES].count > 1:
        raise StackError(
            f"{name}: this is a MetaMorph stack, which has one page for all sections",
            hint="open it in Fiji and save it as TIFF",
        )
    if page.is_ome:
        return _ome(page, count, file_name, name)
    if page.imagej_description is not None:
        return _imagej(page, page.imagej_description, count, name)
    if page.shaped_description is not None and page.shaped_description.startswith("{"):
        return _shaped(page, page.shaped_description, count)
    return _plain(page, count)


def _plain(page: tifffile.TiffPage, count: int) -> Declared:
    """Take the pages for sections."""
    return Declared("Q" + page.axes, (count, *page.shape), 1, _resolution(page))


def _shaped(page: tifffile.TiffPage, description: str, count: int) -> Declared:
    """Read tifffile's own description: the array's shape, perhaps with axes."""
    meta = json.loads(description)
    if page.axes == "SYX" and "axes" not in meta:
        # three or four sections, which tifffile stores as planes of RGB by default
        return Declared("QZYX", (count, *page.shape), 1, _resolution(page))
    shape = tuple(int(n) for n in meta["shape"][:_MAX_DIMENSIONS])
    size = math.prod(page.shape)
    leading = max((i for i in range(len(shape)) if math.prod(shape[i:]) == size), default=0)
    letters = "".join(meta.get("axes") or "Q" * leading + page.axes)  # may be a list of letters
    same = [n for n in shape[leading:] if n > 1] == [n for n in page.shape if n > 1]
    # one description for each of many arrays, written one after the other: they are sections
    whole = min(shape, default=0) > 0 and math.prod(shape) >= size * count
    # a page alone is named by the axes of the metadata, not by the colours that tifffile guesses
    named = leading > 0 or meta.get("axes")
    if not (whole and same and named) or len(letters) != len(shape):
        return _plain(page, count)
    return Declared(letters, shape, leading, _resolution(page))


def _imagej(page: tifffile.TiffPage, description: str, count: int, name: str) -> Declared:
    """Read ImageJ's description."""
    lines = (line.split("=", 1) for line in description.splitlines() if "=" in line)
    meta = {key.strip(): value.strip() for key, value in lines}
    lengths = {
        axis: int(meta.get(key, 1))
        for axis, key in (("T", "frames"), ("Z", "slices"), ("C", "channels"))
    }
    images = int(meta.get("images", max(count, math.prod(lengths.values()))))
    if page.samplesperpixel > 1 and lengths["C"] == page.samplesperpixel:
        lengths["C"] = 1  # RGB, whose samples are in the page
    order = meta.get("order", "czt").upper()[::-1]
    if set(order) != {"T", "Z", "C"} or len(order) != 3:
        order = "TZC"
    if math.prod(lengths.values()) == 1:
        letters, leading = "Q", [images]
    else:
        letters = "".join(axis for axis in order if lengths[axis] > 1)
        leading = [lengths[axis] for axis in letters]
    if images < 1 or math.prod(leading) != images:
        raise StackError(
            f"{name}: the ImageJ header says {images} images and also "
            f"{'x'.join(map(str, leading))}",
            hint="open it in Fiji and save it again",
        )
    voxel = voxels.from_imagej(meta, *_ratios(page)) or _resolution(page)
    return Declared(letters + page.axes, (*leading, *page.shape), len(leading), voxel)


def _ome(page: tifffile.TiffPage, count: int, file_name: str, name: str) -> Declared:
    """Read OME-XML; only the pixels of this very file count."""
    if "<!DOCTYPE" in page.description:
        raise StackError(
            f"{name}: the OME metadata contain a document type declaration",
            hint="save the image again with a program that you trust",
        )
    root = ElementTree.fromstring(page.description)
    found = root.findall("{*}Image/{*}Pixels")
    if len(found) != 1:
        raise StackError(
            f"{name}: the OME metadata have {len(found)} images, not one",
            hint="save one image to a file of its own",
        )
    pixels = found[0]
    _refuse_other_files(root, pixels, file_name, name)
    lengths = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "TZCYX"}
    lengths["C"] //= page.samplesperpixel
    letters = "".join(reversed(pixels.get("DimensionOrder", "XYZCT")))[:-2]
    leading = [lengths[axis] for axis in letters]
    if math.prod(leading) != count or [lengths["Y"], lengths["X"]] != [
        page.imagelength,
        page.imagewidth,
    ]:
        raise StackError(
            f"{name}: the OME metadata say {math.prod(leading)} pages of "
            f"{lengths['Y']}x{lengths['X']}, the file has {count} of "
            f"{page.imagelength}x{page.imagewidth}",
            hint="copy or download the file again; it may be cut short",
        )
    long = [(axis, lengths[axis]) for axis in letters if lengths[axis] > 1] or [("Z", 1)]
    return Declared(
        "".join(axis for axis, _ in long) + page.axes,
        (*(n for _, n in long), *page.shape),
        len(long),
        voxels.from_ome(pixels.attrib) or _resolution(page),
        _ome_pages(pixels, letters, leading, name),
    )


def _refuse_other_files(
    root: ElementTree.Element, pixels: ElementTree.Element, file_name: str, name: str
) -> None:
    """Refuse OME metadata that place pixels in other files: a path in a file is never followed."""
    own = root.get("UUID")
    others = [
        uuid.get("FileName", uuid.text)
        for uuid in pixels.iterfind("{*}TiffData/{*}UUID")
        if (uuid.text != own if own else uuid.get("FileName") != file_name)
    ]
    if others or root.find("{*}BinaryOnly") is not None:
        raise StackError(
            f"{name}: the OME metadata place pixels in another file, "
            f"{others[0] if others else 'a companion'}",
            hint="open the set in Fiji and save it as one file",
        )


def _ome_pages(
    pixels: ElementTree.Element, letters: str, lengths: list[int], name: str
) -> tuple[int, ...]:
    """Read which page holds each plane; letters and lengths are those of the planes' array."""
    count = math.prod(lengths)
    found: list[tuple[int, int]] = []
    for data in pixels.iterfind("{*}TiffData"):
        # mixed radix: the indices of a plane along its axes become one number
        plane = 0
        for axis, length in zip(letters, lengths, strict=True):
            plane = plane * length + int(data.get(f"First{axis}", 0))
        page = int(data.get("IFD", 0))
        run = int(data.get("PlaneCount", 1 if "IFD" in data.attrib else count))
        planes = range(max(plane, 0), min(plane + run, count))
        found += ((each, page + each - plane) for each in planes)
        if len(found) > count:  # a plane is there twice; a million elements could list all planes
            break
    pages = tuple(page for _, page in sorted(found))
    if not sorted(plane for plane, _ in found) == sorted(pages) == list(range(count)):
        raise StackError(
            f"{name}: the OME metadata do not give each plane its own page",
            hint="open it in Fiji and save it again",
        )
    return pages


def _ratios(page: tifffile.TiffPage) -> tuple[voxels.Ratio, voxels.Ratio]:
    """Give the tags YResolution and XResolution."""
    return page.tags.valueof("YResolution"), page.tags.valueof("XResolution")


def _resolution(page: tifffile.TiffPage) -> VoxelSize | None:
    """Return the voxel size of the resolution tags."""
    # a TIFF without ResolutionUnit means inches
    return voxels.from_resolution(*_ratios(page), int(page.tags.valueof("ResolutionUnit", 2)))
