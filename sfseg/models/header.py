"""What weights say of themselves, and whether that can be so."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sfseg import __version__, models
from sfseg.errors import CheckpointError
from sfseg.models.weights_files import WEIGHTS_NAME
from sfseg.types import VoxelSize

SCHEMA = 1
"""Number of the header's layout; a loader stays for each past one."""

NORMALISATION = "section"
"""The one way to normalise: `sfseg.transforms.normalise.standardise`."""

_INPUT_PX = 2**14  # a section of this side takes 1 GiB as float32


@dataclass(frozen=True)
class Header:
    """What weights say of themselves.

    Attributes
    ----------
    arch, recipe : str
        Names of the architecture and of the recipe.
    input_px : int or None
        Side of the square to which sections are resized for the network; None = native size.
    normalisation : str
        Grey values are standardised section by section.
    voxel_size_nm : tuple of float or None
        (z, y, x) of the training data.
    data : str
        What it was trained on, sections included.
    scores : mapping of str to float
        Validation scores, before the kernels were rounded to float16 where they were.
    training : mapping
        Seed, epoch and the rest of the resolved configuration.
    version : str
        Version of sfseg that wrote them.
    schema : int
        Number of this layout.
    """

    arch: str
    recipe: str
    input_px: int | None = None
    normalisation: str = NORMALISATION
    voxel_size_nm: VoxelSize | None = None
    data: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    schema: int = SCHEMA


def parse_header(path: Path, raw: Mapping[str, Any]) -> Header:
    """Turn the JSON header of a file of weights into a `Header`.

    Parameters
    ----------
    path : Path
        The file, for messages.
    raw : mapping
        What is in it.

    Returns
    -------
    Header
        The header.

    Raises
    ------
    CheckpointError
        If it is of another schema, or a field is missing, unknown or not sound.
    """
    _require_known(path, raw)
    for name, is_sound in _SOUND.items():
        if not is_sound(raw[name]):
            raise CheckpointError(
                f"{path}: expected a sound {name} in the header, found {ascii(raw[name])[:60]}",
                hint="only files that sfseg train wrote can be used",
            )
    voxel_size = raw["voxel_size_nm"]
    if voxel_size is not None:
        voxel_size = tuple(nan if length is None else length for length in voxel_size)
    return Header(**{**raw, "voxel_size_nm": voxel_size})


def _require_known(path: Path, raw: Mapping[str, Any]) -> None:
    """Refuse a header of another layout, architecture or normalisation."""
    if raw.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: expected weights with a header of schema {SCHEMA}, "
            f"found {ascii(raw.get('schema'))[:60]}",
            hint="upgrade sfseg: these weights come from a newer version"
            if "schema" in raw
            else f"the weights of a training are in its {WEIGHTS_NAME}",
        )
    known = {field.name for field in dataclasses.fields(Header)}
    if set(raw) != known:
        raise CheckpointError(
            f"{path}: expected a header of {', '.join(sorted(known))}, "
            f"found {ascii(sorted(known ^ set(raw)))[:200]} missing or unknown",
            hint="only files that sfseg train wrote can be used",
        )
    if (
        not _is_text(raw["arch"])
        or raw["arch"] not in models.ARCHITECTURES
        or raw["normalisation"] != NORMALISATION
    ):
        raise CheckpointError(
            f"{path}: expected a known architecture and normalisation by {NORMALISATION}, "
            f"found {ascii(raw['arch'])[:60]} and {ascii(raw['normalisation'])[:60]}",
            hint="upgrade sfseg: these weights come from a newer version",
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and isfinite(value))


def _is_side(value: object) -> bool:
    return value is None or (type(value) is int and 0 < value <= _INPUT_PX)


def _is_voxel(value: object) -> bool:
    if not isinstance(value, list):
        return value is None
    return len(value) == 3 and all(
        length is None or (_is_number(length) and 0 < length < 1e9) for length in value
    )


def _are_scores(value: object) -> bool:
    return isinstance(value, dict) and all(_is_number(score) for score in value.values())


def _is_training(value: object) -> bool:
    """Whether it is an object, and what `pseudo_labels` computes with can be computed with."""
    if not isinstance(value, dict) or not isinstance(recipe := value.get("recipe", {}), dict):
        return False
    smoothing, weight = recipe.get("label_smoothing", 0), recipe.get("membrane_weight", 1)
    return _is_number(smoothing) and 0 <= smoothing < 0.5 and _is_number(weight) and weight > 0


_SOUND: Mapping[str, Callable[[object], bool]] = MappingProxyType(
    {
        "recipe": _is_text,
        "input_px": _is_side,
        "voxel_size_nm": _is_voxel,
        "data": _is_text,
        "scores": _are_scores,
        "training": _is_training,
        "version": _is_text,
    }
)
"""The fields of a header, and whether a value can be theirs; arch and normalisation are tables."""
