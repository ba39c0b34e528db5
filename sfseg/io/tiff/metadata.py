"""Read the axes, pages and voxel size that a TIFF declares, as OME, ImageJ or tifffile write them.

Without metadata the pages are sections.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import tifffile

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.io.axes import SECTIONS
from sfseg.types import VoxelSize, format_count

_STK_PLANES = 33629
"""Tag of a MetaMorph stack: its one page stands for as many planes as the tag has values."""

_DESCRIPTION = 270
_INCH = 2
_FEI, _ZEISS = (34682, 34680), (34118, 34119)
"""Private tags of microscopes: Helios and SFEG of FEI, two of SEMs of Zeiss."""

_ODD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What is raised where metadata are not what they should be; bad XML is a SyntaxError."""

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
    notes : tuple of str
        What is wrong with the metadata.
    channel : str
        Which channel and time of a set of files this file has; empty without a set.
    """

    letters: str
    shape: tuple[int, ...]
    leading: int
    voxel_size_nm: VoxelSize | None
    pages: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    channel: str = ""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return math.prod(self.shape[: self.leading])

    def is_series(self, count: int) -> bool:
        """Tell whether so many pages can only be sections, whatever their number should be."""
        long = [
            letter
            for letter, length in zip(self.letters, self.shape[: self.leading], strict=False)
            if length > 1
        ]
        return count == 1 or len(long) == 0 or (len(long) == 1 and long[0] in SECTIONS)


def declared(
    page: tifffile.TiffPage, count: int, *, file_name: str, name: str, is_member: bool = False
) -> Declared:
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
    is_member : bool
        Whether the file is one section of a folder; then it may be one plane of a set.

    Returns
    -------
    Declared
        The declared array. The caller checks that all pixels are there. Metadata that make no
        sense are left out, with a note.

    Raises
    ------
    StackError
        If the metadata contradict the pages, or name other files.
    """
    if _STK_PLANES in page.tags and page.tags[_STK_PLANES].count > 1:
        raise StackError(
            f"{name}: this is a MetaMorph stack, which has one page for all sections",
            hint="open it in Fiji and save it as TIFF",
        )
    try:
        if (xml := _ome_xml(page)) is not None:
            return _ome(xml, page, count, file_name, name, is_member=is_member)
        if (imagej := _described(page, "ImageJ=", "SCIFIO=")) is not None:
            return _imagej(page, imagej, count, name)
        if (shaped := _described(page, "{")) is not None and '"shape":' in shaped:
            return _shaped(page, shaped, count)
    except StackError:
        raise
    except _ODD:
        note = "its metadata make no sense and are left out: each page is a section"
        return replace(plain(page, count), notes=(note,))
    return plain(page, count)


def plain(page: tifffile.TiffPage, count: int) -> Declared:
    """Take the pages for sections."""
    voxel = _of_microscope(page) or _resolution(page)
    return Declared("Q" + page.axes, (count, *page.shape), 1, voxel)


def described_otherwise(found: Declared, page: tifffile.TiffPage, count: int) -> Declared:
    """Take the pages for sections, where the metadata say another number of them."""
    declared = format_count(found.frames, "image")
    note = f"its header says {declared}, it has {count}, and they are complete"
    voxel = found.voxel_size_nm
    return replace(plain(page, count), voxel_size_nm=voxel, notes=(*found.notes, note))


def _descriptions(page: tifffile.TiffPage) -> list[str]:
    """Return the texts that describe a page; writers may give two."""
    values = (tag.value for tag in page.tags if tag.code == _DESCRIPTION)
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else value
        for value in values
        if isinstance(value, str | bytes)
    ]


def _described(page: tifffile.TiffPage, *starts: str) -> str | None:
    """Return the first description that begins in one of some ways."""
    return next((text for text in _descriptions(page) if text.startswith(starts)), None)


def _ome_xml(page: tifffile.TiffPage) -> str | None:
    """Return the first description if it is OME-XML."""
    first = next(iter(_descriptions(page)), "")
    return first if first[-10:].strip().endswith("OME>") else None


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
        return plain(page, count)
    return Declared(letters, shape, leading, _of_microscope(page) or _resolution(page))


def _imagej(page: tifffile.TiffPage, description: str, count: int, name: str) -> Declared:
    """Read ImageJ's description."""
    lines = (line.split("=", 1) for line in description.splitlines() if "=" in line)
    meta = {key.strip(): value.strip() for key, value in lines}
    voxel = voxels.from_imagej(meta, *_ratios(page)) or _of_microscope(page) or _resolution(page)
    notes: tuple[str, ...] = ()
    try:
        letters, leading = _imagej_leading(page, meta, count)
    except ValueError as error:  # numbers that are none, or that contradict each other
        if meta.get("channels", "1") != "1" and count > 1:
            raise StackError(
                f"{name}: the ImageJ header says {error}, the file has {count} pages",
                hint="open it in Fiji and save it again",
            ) from error
        letters, leading = "Q", [count]
        notes = ("its ImageJ header makes no sense and is left out: each page is a section",)
    shape = (*leading, *page.shape)
    return Declared(letters + page.axes, shape, len(leading), voxel, notes=notes)


def _imagej_leading(
    page: tifffile.TiffPage, meta: Mapping[str, str], count: int
) -> tuple[str, list[int]]:
    """Return letters and lengths of the dimensions that ImageJ spreads over pages."""
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
    product = math.prod(lengths.values())
    if min(images, *lengths.values()) < 1 or product not in (1, images, count):
        words = ", ".join(f"{axis}: {length}" for axis, length in lengths.items())
        raise ValueError(f"{images} images and also {words}")
    if product == 1:
        return "Q", [images]
    letters = "".join(axis for axis in order if lengths[axis] > 1)
    return letters, [lengths[axis] for axis in letters]


def _ome(
    xml: str, page: tifffile.TiffPage, count: int, file_name: str, name: str, *, is_member: bool
) -> Declared:
    """Read OME-XML; only the pixels of this very file count."""
    if "<!DOCTYPE" in xml:
        raise StackError(
            f"{name}: the OME metadata contain a document type declaration",
            hint="save the image again with a program that you trust",
        )
    root = ElementTree.fromstring(xml)
    found = root.findall("{*}Image/{*}Pixels")
    is_one_of_set = is_member and count == 1
    if root.find("{*}BinaryOnly") is not None and is_one_of_set:
        return plain(page, count)
    if len(found) > 1:
        raise StackError(
            f"{name}: the OME metadata have {len(found)} images, not one",
            hint="save one image to a file of its own",
        )
    if is_one_of_set and (plane := _own_plane(root, found, file_name)) is not None:
        voxel = voxels.from_ome(found[0].attrib) or _resolution(page)
        return replace(plain(page, count), voxel_size_nm=voxel, channel=plane)
    _refuse_other_files(root, found, file_name, name)
    (pixels,) = found
    return _ome_array(page, count, pixels, name)


def _ome_array(
    page: tifffile.TiffPage, count: int, pixels: ElementTree.Element, name: str
) -> Declared:
    """Read the array of an OME image that lies in this file alone."""
    lengths = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "TZCYX"}
    lengths["C"] //= page.samplesperpixel
    letters = "".join(reversed(pixels.get("DimensionOrder", "XYZCT")))[:-2]
    leading = [lengths[axis] for axis in letters]
    voxel = voxels.from_ome(pixels.attrib) or _of_microscope(page) or _resolution(page)
    long = [(axis, lengths[axis]) for axis in letters if lengths[axis] != 1] or [("Z", 1)]
    array = Declared(
        "".join(axis for axis, _ in long) + page.axes,
        (*(n for _, n in long), *page.shape),
        len(long),
        voxel,
    )
    size, found = (lengths["Y"], lengths["X"]), (page.imagelength, page.imagewidth)
    if array.frames == count and size == found:
        return replace(array, pages=_ome_pages(pixels, letters, leading, name))
    if not array.is_series(count):
        raise StackError(
            f"{name}: the OME metadata say {array.frames} pages of {size[0]}x{size[1]}, "
            f"the file has {count} of {found[0]}x{found[1]}",
            hint="open it in Fiji and save it again",
        )
    if size == found:
        return described_otherwise(array, page, count)
    note = "its OME metadata are those of another image: each page is a section"
    return replace(plain(page, count), notes=(note,))


def _uuids(
    root: ElementTree.Element, pixels: Sequence[ElementTree.Element], file_name: str
) -> tuple[list[ElementTree.Element], list[str]]:
    """Return the TiffData elements that name this file, and the names of other files."""
    own_id, own, others = root.get("UUID"), [], []
    for data in (data for each in pixels for data in each.iterfind("{*}TiffData")):
        for uuid in data.iterfind("{*}UUID"):
            if (uuid.text == own_id) if own_id else (uuid.get("FileName") == file_name):
                own.append(data)
            else:
                others.append(uuid.get("FileName") or uuid.text or "?")
    return own, others


def _own_plane(
    root: ElementTree.Element, pixels: Sequence[ElementTree.Element], file_name: str
) -> str | None:
    """Say which channel and time of a set of files this file has; None if it is not of a set."""
    own, others = _uuids(root, pixels, file_name)
    if not others:
        return None
    first = own[0].attrib if own else {}
    return f"channel {int(first.get('FirstC', 0)) + 1}, time {int(first.get('FirstT', 0)) + 1}"


def _refuse_other_files(
    root: ElementTree.Element, pixels: Sequence[ElementTree.Element], file_name: str, name: str
) -> None:
    """Refuse OME metadata that place pixels in other files: a path in a file is never followed."""
    _, others = _uuids(root, pixels, file_name)
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
    return _ratio(page, "YResolution"), _ratio(page, "XResolution")


def _ratio(page: tifffile.TiffPage, tag: str) -> voxels.Ratio:
    """Give a tag of two whole numbers; some programs write one number, or nonsense."""
    match page.tags.valueof(tag):
        case (int(above), int(below)):
            return above, below
        case int(number) | float(number):
            return number, 1
    return None


def _resolution(page: tifffile.TiffPage) -> VoxelSize | None:
    """Return the voxel size of the resolution tags."""
    unit = page.tags.valueof("ResolutionUnit", _INCH)  # a TIFF without it means inches
    return voxels.from_resolution(*_ratios(page), unit if isinstance(unit, int) else 0)


def _of_microscope(page: tifffile.TiffPage) -> VoxelSize | None:
    """Return the voxel size that a microscope's own tags tell: FEI, Zeiss, SerialEM."""
    try:
        for code in _FEI:
            if voxel := voxels.from_fei(page.tags.valueof(code, {})):
                return voxel
        for code in _ZEISS:
            if voxel := voxels.from_zeiss(page.tags.valueof(code, {})):
                return voxel
        return voxels.from_serialem("\n".join(_descriptions(page)))
    except _ODD:
        return None
