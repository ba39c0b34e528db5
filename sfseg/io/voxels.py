"""Convert voxel sizes from image files to nanometres.

An unknown length is NaN: resolution tags give the size of rows and columns, but never the distance
of sections.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from sfseg.types import VoxelSize

_METRES = {"": 1e9, "milli": 1e6, "centi": 1e7, "micro": 1e3, "nano": 1.0, "pico": 1e-3}
_NM_PER_UNIT = {
    f"{prefix}met{ending}": nm for prefix, nm in _METRES.items() for ending in ("er", "re")
}
_NM_PER_UNIT |= {"m": 1e9, "cm": 1e7, "mm": 1e6, "um": 1e3, "nm": 1.0, "pm": 1e-3}
_NM_PER_UNIT |= {"micron": 1e3, "in": 2.54e7, "inch": 2.54e7, "inches": 2.54e7}
_NM_PER_UNIT |= {"a": 0.1, "ang": 0.1, "angstrom": 0.1, "angstroem": 0.1}
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}
_MIN_PIXEL_NM, _MAX_PIXEL_NM = 5e-3, 1e4
"""No microscope has pixels over 10 um: 72 dpi of photo software and 1200 of a scanner are more.

Nor is a pixel finer than a twentieth of an atom; TIFF tags end at 0.0023 nm, 2^32 pixels in a cm.
"""

_ONE = (1, 1)
_TIFFFILE = "1.11a"
"""The version of ImageJ that tifffile claims to be; it writes 1/1 for 1 nm as well."""

Ratio = tuple[float, float] | None
"""Pixels per unit as in a resolution tag: numerator, denominator."""


def nm_per_unit(unit: str) -> float:
    r"""Return the length of a unit in nanometres.

    Parameters
    ----------
    unit : str
        As in a file: nm, um, µm, ``\u00B5m`` spelt out as ImageJ does, micron, mm, cm, inch, Å.

    Returns
    -------
    float
        Nanometres; NaN for ``pixel`` and anything else that is not a length.

    Examples
    --------
    >>> nm_per_unit("µm"), nm_per_unit("pixel")
    (1000.0, nan)
    """
    # 0xB5 is the micro sign, 0x3BC the Greek mu, 0xE5 the å that Å becomes in lower case;
    # â stands before them where UTF-8 was read as Latin-1
    plain = re.sub(r"\\u([0-9a-f]{4})", lambda at: chr(int(at[1], 16)), unit.strip().casefold())
    plain = plain.casefold().translate({0xB5: "u", 0x3BC: "u", 0xE5: "a", 0xE2: None})
    return _NM_PER_UNIT.get(plain, _NM_PER_UNIT.get(plain.removesuffix("s"), math.nan))


def _number(text: str | None) -> float:
    """Read a number; NaN where there is none."""
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan


def checked(z: float, y: float, x: float) -> VoxelSize | None:
    """Make a voxel size of three lengths, or None if y or x is not plausible.

    Parameters
    ----------
    z, y, x : float
        Lengths in nm from a file; NaN for an unknown length.

    Returns
    -------
    tuple of float or None
        nm along (z, y, x), z NaN if it is unknown. None unless y and x are known, at least
        0.005 nm and at most 10 um: larger values are the defaults of photo software.
    """
    if not all(_MIN_PIXEL_NM <= length <= _MAX_PIXEL_NM for length in (y, x)):
        return None
    return (abs(z) if math.isfinite(z) and z != 0 else math.nan), y, x


def from_resolution(y: Ratio, x: Ratio, unit: int) -> VoxelSize | None:
    """Read the voxel size from resolution tags.

    Parameters
    ----------
    y, x : tuple of two numbers, or None
        The tags YResolution and XResolution.
    unit : int
        The tag ResolutionUnit: 2 is inch, 3 is cm, 1 is no unit.

    Returns
    -------
    tuple of float or None
        nm along (z, y, x), z NaN; see `checked`.
    """
    nm = nm_per_unit(_RESOLUTION_UNITS.get(unit, ""))
    return checked(math.nan, nm * _inverse(y), nm * _inverse(x))


def from_imagej(meta: Mapping[str, str], y: Ratio, x: Ratio) -> VoxelSize | None:
    """Read the voxel size from ImageJ's description and resolution tags; see `from_resolution`.

    `meta` has ``unit``, perhaps ``yunit`` and ``zunit``, and ``spacing``, the distance of sections.
    """
    unit = meta.get("unit", "")
    if (y, x) == (_ONE, _ONE) and meta.get("ImageJ", _TIFFFILE) != _TIFFFILE:
        return None  # ImageJ writes 1000000/1000000: another program saved this without the size
    z = _number(meta.get("spacing")) * nm_per_unit(meta.get("zunit", unit))
    in_plane = nm_per_unit(unit)
    return checked(z, nm_per_unit(meta.get("yunit", unit)) * _inverse(y), in_plane * _inverse(x))


def from_ome(attributes: Mapping[str, str]) -> VoxelSize | None:
    """Read the voxel size from the attributes of an OME ``Pixels`` element; its unit is um."""

    def length(axis: str) -> float:
        unit = attributes.get(f"PhysicalSize{axis}Unit", "µm")
        return _number(attributes.get(f"PhysicalSize{axis}")) * nm_per_unit(unit)

    return checked(length("Z"), length("Y"), length("X"))


def from_fei(tags: Mapping[str, Any]) -> VoxelSize | None:
    """Read the pixel size from the tag of an FEI microscope, in metres; see `from_resolution`."""
    for section in tags.values():
        if "PixelWidth" in section and "PixelHeight" in section:
            lengths = (float(section[f"Pixel{side}"]) * _METRES[""] for side in ("Height", "Width"))
            return checked(math.nan, *lengths)
    return None


def from_zeiss(tags: Mapping[str, Any] | str) -> VoxelSize | None:
    """Read the pixel size from the tags of a Zeiss SEM: a name, a number and perhaps a unit."""
    if isinstance(tags, str):
        found = re.search(r"Image Pixel Size\s*=\s*([\d.eE+-]+)\s*(\w+)", tags)
        nm = _number(found[1]) * nm_per_unit(found[2]) if found else math.nan
        return checked(math.nan, nm, nm)
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        if key in tags:
            _, number, *unit = tags[key]
            nm = float(number) * nm_per_unit(unit[0] if unit else "nm")
            return checked(math.nan, nm, nm)
    return None


def from_serialem(description: str) -> VoxelSize | None:
    """Read the pixel size, in angstrom, from the description that SerialEM writes."""
    found = re.search(r"^\s*PixelSpacing\s*[=:]\s*([\d.eE+-]+)", description, re.MULTILINE)
    nm = _number(found[1]) * _NM_PER_UNIT["angstrom"] if found else math.nan
    return checked(math.nan, nm, nm)


def _inverse(ratio: Ratio) -> float:
    """Turn pixels per unit into units per pixel."""
    return ratio[1] / ratio[0] if ratio is not None and ratio[0] > 0 else math.nan
