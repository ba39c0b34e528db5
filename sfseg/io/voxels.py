"""Convert voxel sizes from image files to nanometres.

An unknown length is NaN: resolution tags give the size of rows and columns, but never the distance
of sections.
"""

import math
from collections.abc import Mapping

from sfseg.types import VoxelSize

_NM_PER_UNIT = {
    "a": 0.1,
    "angstrom": 0.1,
    "picometer": 1e-3,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
    "inch": 2.54e7,
    "in": 2.54e7,
}
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}
_MIN_PIXEL_NM, _MAX_PIXEL_NM = 5e-3, 1e4
"""No microscope has pixels over 10 um: 72 dpi of photo software and 1200 of a scanner are more.

Nor is a pixel finer than a twentieth of an atom; TIFF tags end at 0.0023 nm, 2^32 pixels in a cm.
"""

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
    # 0xB5 is the micro sign, 0x3BC the Greek mu, 0xE5 the å that Å becomes in lower case
    plain = unit.strip().casefold().replace("\\u00b5", "u").replace("\\u00c5", "a")
    return _NM_PER_UNIT.get(plain.translate({0xB5: "u", 0x3BC: "u", 0xE5: "a"}), math.nan)


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
    z = float(meta.get("spacing", "nan")) * nm_per_unit(meta.get("zunit", unit))
    in_plane = nm_per_unit(unit)
    return checked(z, nm_per_unit(meta.get("yunit", unit)) * _inverse(y), in_plane * _inverse(x))


def from_ome(attributes: Mapping[str, str]) -> VoxelSize | None:
    """Read the voxel size from the attributes of an OME ``Pixels`` element; its unit is um."""

    def length(axis: str) -> float:
        unit = attributes.get(f"PhysicalSize{axis}Unit", "µm")
        return float(attributes.get(f"PhysicalSize{axis}", "nan")) * nm_per_unit(unit)

    return checked(length("Z"), length("Y"), length("X"))


def _inverse(ratio: Ratio) -> float:
    """Turn pixels per unit into units per pixel."""
    return ratio[1] / ratio[0] if ratio is not None and ratio[0] > 0 else math.nan
