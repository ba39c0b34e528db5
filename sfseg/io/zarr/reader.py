"""Read an array of a Zarr store; the image of an OME-Zarr in full resolution."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import MissingExtraError, StackError
from sfseg.io import voxels
from sfseg.io.axes import letters_of_names
from sfseg.io.guards import refuse_bomb, translate_errors
from sfseg.io.zarr.places import FolderPlace, Place, RemotePlace
from sfseg.system.remote import RemotePath
from sfseg.types import AnyArray, VoxelSize

_LISTED = 10
_LAYOUT = "bioformats2raw.layout"
_LETTERS = {"time": "T", "channel": "C"}
"""Types of axes that decide on the letter, whatever the name is."""

_OLD_AXES = "TCZYX"
"""The axes of OME-Zarr 0.1 and 0.2, by definition."""

_WITHOUT_AXES = (None, "0.1", "0.2", "0.3")
"""Versions of OME-Zarr whose images may have no ``axes``; in 0.3 some programs leave them out."""


class ZarrSource:
    """An array of a Zarr store, format 2 or 3; see `sfseg.io.sources.ArraySource`.

    The store lies in a folder, or at an address.

    Of an OME-Zarr image, 0.1 to 0.5, the first multiscale is read in full resolution, with its
    axes and its voxel size; of a folder by bioformats2raw, the only image. Another resolution,
    named by its path, has its own voxel size. The axes of other arrays are their
    ``dimension_names``, or what xarray writes. Zarr fills missing chunks with the fill value, but
    at least one chunk must exist, and more for a large array.

    Parameters
    ----------
    store : Path
        The folder of the store, or its address.
    inside : str
        Path of an array or an image in it; empty for the store itself.
    name : str
        Both, for messages.

    Raises
    ------
    StackError
        If there is no such image or array, or it is empty, damaged, hostile, or keeps its pixels
        elsewhere.
    MissingExtraError
        If zarr, or obstore for an address, is not installed.
    RemoteError
        If the server of an address does not answer, or does not permit to read.
    """

    notes: tuple[str, ...] = ()
    channel = ""
    is_parallel = False

    def __init__(self, store: Path, inside: str, name: str) -> None:
        self._store, self._name = store, name
        self._place: Place
        if isinstance(store, RemotePath):
            self._place = RemotePlace(store, name)
        else:
            self._place = FolderPlace(store, name)
        try:
            import zarr
        except ImportError as error:
            raise MissingExtraError.from_extra("zarr", name) from error
        with translate_errors(name), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the reader cannot act on warnings about metadata
            self._open(zarr, inside)

    def _open(self, zarr: Any, inside: str) -> None:
        """Find the array, and check it."""
        self.letters, self.voxel_size_nm = "", None
        node = self._node(zarr, inside)
        image: Mapping[str, Any] | None = None
        if isinstance(node, zarr.Group):
            inside, image = self._image(zarr, node, inside)
            inside = f"{inside}/{image['datasets'][0]['path']}"
            node = self._node(zarr, inside)
        self._check(node, inside)
        self._array, self.shape, self.dtype = node, tuple(node.shape), np.dtype(node.dtype)
        if image is None:
            self.letters, self.voxel_size_nm = self._of_level(zarr, inside)
            self.letters = self.letters or _named_axes(node)
        else:
            level = image["datasets"][0]
            self.letters, self.voxel_size_nm = _axes(image, level, len(self.shape), self._name)
        if self.letters and len(self.letters) != len(self.shape):
            raise StackError(
                f"{self._name}: the OME metadata give {len(self.letters)} axes, "
                f"the array has {len(self.shape)}",
                hint="check the program that wrote the store",
            )

    def _of_level(self, zarr: Any, inside: str) -> tuple[str, VoxelSize | None]:
        """Return the axes and the voxel size of an array that is one resolution of an image.

        Metadata of the image that make no sense say nothing: the person named the array.
        """
        place, parts = self._place, [part for part in inside.split("/") if part]
        if not parts:  # the array is the store: the image is the folder that holds it
            if (found := place.above()) is None:
                return "", None
            place, parts = found[0], [found[1]]
        for depth in range(len(parts)):
            folder, path = "/".join(parts[:depth]), "/".join(parts[depth:])
            with contextlib.suppress(StackError, LookupError, OSError, TypeError, ValueError):
                if not place.has(folder):
                    continue
                group = zarr.open_group(place.open(folder), mode="r")
                image = _first_image(group) or {"datasets": ()}
                for level in image["datasets"]:
                    if str(level["path"]).strip("/") == path:
                        letters, voxel = _axes(image, level, len(self.shape), self._name)
                        if len(letters) == len(self.shape):
                            return letters, voxel
        return "", None

    def _image(self, zarr: Any, group: Any, inside: str) -> tuple[str, Mapping[str, Any]]:
        """Return the path and the metadata of the image in a group."""
        image = _first_image(group)
        if image is None and _LAYOUT in _ome_attributes(group):
            inside = f"{inside}/{self._only_series(group)}"
            group = self._node(zarr, inside)
            image = _first_image(group) if isinstance(group, zarr.Group) else None
        if image is None:
            raise StackError(
                f"{self._name}: this is a group, not an array or an OME-Zarr image",
                hint=f"{_contents(group, zarr)}name one like {self._store}:/path",
            )
        return inside, image

    def _only_series(self, group: Any) -> str:
        """Return the only image in a folder by bioformats2raw: their names are 0, 1 and so on."""
        if not group.store.supports_listing:
            raise StackError(
                f"{self._name}: which images it holds cannot be listed at this address",
                hint=f"name one like {self._store}:/0",
            )
        series = sorted((each for each in group.group_keys() if each.isdecimal()), key=int)
        if len(series) != 1:
            hint = f"name one: {' or '.join(f'{self._store}:/{each}' for each in series[:_LISTED])}"
            raise StackError(
                f"{self._name}: it holds {len(series)} images"
                f"{': ' if series else ''}{', '.join(_image_names(group, series))}",
                hint=hint if series else "convert the file with bioformats2raw again",
            )
        return str(series[0])

    def _node(self, zarr: Any, inside: str) -> Any:
        """Open a group or an array."""
        if not self._place.has(inside):
            raise StackError(
                f"{self._name}: there is no Zarr array or group in {self._place.show(inside)}",
                hint=self._place.if_missing,
            )
        return zarr.open(self._place.open(inside), mode="r")

    def _check(self, array: Any, inside: str) -> None:
        """Refuse a missing array, codecs that run code, and chunks that fill the memory."""
        if not hasattr(array, "chunks"):
            raise StackError(
                f"{self._name}: {self._place.show(inside)} is a group, not an array",
                hint="check the program that wrote the store",
            )
        array.store.require_safe(array)
        chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
        pixels_bytes = math.prod(array.shape) * array.dtype.itemsize
        stored_bytes = self._place.count_stored_bytes(inside, pixels_bytes)
        if stored_bytes == 0:
            raise StackError(
                f"{self._name}: the store has no chunk of the array",
                hint="copy or download the store again",
            )
        refuse_bomb(
            self._name,
            decoded_bytes=pixels_bytes,
            encoded_bytes=pixels_bytes if stored_bytes is None else stored_bytes,
            chunk_bytes=chunk_bytes,
        )

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        with translate_errors(self._name):
            return np.asarray(self._array[box])

    def close(self) -> None:
        """Do nothing: chunks are open only while they are read."""


def _image_names(group: Any, series: Sequence[str]) -> Iterator[str]:
    """Write the names of the images in a folder by bioformats2raw, each with its path."""
    for path in series[:_LISTED]:
        name = (_first_image(group[path]) or {}).get("name")
        yield f"{path} ({name})" if isinstance(name, str) and name not in ("", path) else path
    if len(series) > _LISTED:
        yield "..."


def _contents(group: Any, zarr: Any) -> str:
    """List some of the images and arrays in a group, as the start of a hint."""
    if not group.store.supports_listing:
        return ""
    nodes = dict(sorted(group.members(max_depth=3)))
    images = tuple(f"{name}/" for name, node in nodes.items() if _is_image(node, zarr))
    names = [
        f"/{name}"
        for name, node in nodes.items()
        if f"{name}/" in images or (isinstance(node, zarr.Array) and not name.startswith(images))
    ]
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"it holds {listed or 'no array'}; "


def _is_image(node: Any, zarr: Any) -> bool:
    """Tell whether it is an OME-Zarr image."""
    return isinstance(node, zarr.Group) and _first_image(node) is not None


def _first_image(group: Any) -> Mapping[str, Any] | None:
    """Return the first multiscale of a group; None where it is no image."""
    images = _ome_attributes(group).get("multiscales")
    return images[0] if images else None


def _ome_attributes(group: Any) -> Mapping[str, Any]:
    """Return the attributes of OME-Zarr: since 0.5 they have a place of their own."""
    attributes: Mapping[str, Any] = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else attributes


def _named_axes(array: Any) -> str:
    """Read the axes of an array that is no OME image: of format 3, or those of xarray."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    is_list = isinstance(names, list | tuple) and len(names) == array.ndim
    return letters_of_names(names) if is_list else ""


def _axes(
    image: Mapping[str, Any], level: Mapping[str, Any], count: int, name: str
) -> tuple[str, VoxelSize | None]:
    """Read the letters of an image's axes, and the voxel size of one of its resolutions.

    Until 0.2 the axes have no names, in 0.3 they are texts, since 0.4 mappings.
    """
    version, axes = image.get("version"), image.get("axes")
    if not axes and version in _WITHOUT_AXES:
        if count != len(_OLD_AXES):
            return "", None
        axes = list(_OLD_AXES)
    is_list = isinstance(axes, list) and all(isinstance(axis, Mapping | str) for axis in axes)
    if not axes or not is_list:
        raise StackError(
            f"{name}: the OME metadata do not say what the axes are "
            f"(version: {'none' if version is None else version})",
            hint="convert it, or name the array in it and give its --axes",
        )
    axes = [{"name": axis} if isinstance(axis, str) else axis for axis in axes]
    letters = "".join(_letter(axis) for axis in axes)
    scales = [1.0] * len(axes)
    for place in (level, image):
        for step in place.get("coordinateTransformations", ()):
            if "scale" in step:
                scales = [a * float(b) for a, b in zip(scales, step["scale"], strict=True)]
    lengths = {
        letter: scale * voxels.nm_per_unit(axis.get("unit") or "")
        for letter, scale, axis in zip(letters, scales, axes, strict=True)
    }
    return letters, voxels.checked(*(lengths.get(letter, math.nan) for letter in "ZYX"))


def _letter(axis: Mapping[str, Any]) -> str:
    """Return the letter of an axis; ``?`` for one that is none of the five of OME."""
    letter = _LETTERS.get(axis.get("type", ""), str(axis["name"]).upper())
    return letter if letter in {"T", "C", "Z", "Y", "X"} else "?"
