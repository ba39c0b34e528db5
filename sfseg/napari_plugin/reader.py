"""Read what sfseg reads into layers: with the size of voxels, and labels where that is sure."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any

from sfseg.errors import OptionError, SfsegError, SfsegWarning, StackError
from sfseg.io.hdf5 import list_datasets, refuse_unnamed
from sfseg.napari_plugin.geometry import scale_of
from sfseg.napari_plugin.lazy import LazyStack
from sfseg.napari_plugin.wording import in_widget_words
from sfseg.report.layers import Source, open_layers
from sfseg.types import voxel_as_json

LayerData = tuple[Any, dict[str, Any], str]
"""Pixels, the arguments of the layer, and its kind."""

WHOLE_BYTES = 512 * 2**20
"""Stacks up to this size are read whole: other plugins and the paintbrush need an array."""

_HDF5 = (".h5", ".hdf", ".hdf5")
_MOST_LAYERS = 16


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]]:
    """Return the function that reads a path; napari calls it for the patterns of the manifest."""
    del path  # the patterns have decided
    return read


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read a file, a folder of sections, or a store; for napari.

    Parameters
    ----------
    path : str or sequence of str
        The path, or a sequence with only this one.

    Returns
    -------
    list of tuple
        A layer for a stack; one for each stack of an HDF5 file.

    Raises
    ------
    StackError, ShapeMismatchError, MissingExtraError
        See `sfseg.io.open.open_stack`.
    OptionError
        If it needs axes, or there are several paths.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) != 1:
        raise OptionError(
            f"{paths[0]}: several files are read as a stack from their folder only",
            hint="use File > Open Folder",
        )
    try:
        return read_layers(paths[0])
    except SfsegError as error:
        raise _in_napari_words(error) from error


def read_layers(source: str, *, axes: str | None = None, labels: bool = False) -> list[LayerData]:
    """Read a source as layers; an HDF5 file without a named array has several.

    Parameters
    ----------
    source : str
        As for `sfseg.io.open.open_stack`.
    axes : str, optional
        The dimensions of the array, one letter each.
    labels : bool
        Whether it is known to be labels; by default the pixels decide.

    Raises
    ------
    SfsegError
        As for `read`.
    """
    if Path(source).suffix.lower() in _HDF5 and Path(source).is_file():
        return list(_read_datasets(Path(source), axes, labels=labels))
    return [_read_layer(source, Path(source).stem, axes, labels=labels)]


def _read_datasets(path: Path, axes: str | None, *, labels: bool) -> Iterator[LayerData]:
    """Read the datasets of an HDF5 file that are stacks; warn of the others."""
    found = list_datasets(path, str(path))
    if not found:
        refuse_unnamed(path, str(path))
    refusals: list[SfsegError] = []
    for dataset in found[:_MOST_LAYERS]:
        try:
            yield _read_layer(f"{path}:{dataset}", f"{path.stem}:{dataset}", axes, labels=labels)
        except (StackError, OptionError) as error:
            refusals.append(error)
    if len(refusals) == len(found[:_MOST_LAYERS]):
        raise refusals[0]
    for refusal in refusals:
        _warn(f"{refusal.message}: left out")
    if len(found) > _MOST_LAYERS:
        _warn(f"{path}: only the first {_MOST_LAYERS} of its {len(found)} datasets are shown")


def _read_layer(source: str, name: str, axes: str | None, *, labels: bool) -> LayerData:
    """Read a stack as a layer: whole if it is small, else when its sections are shown."""
    asked = Source(source, "labels" if labels else None, axes)
    with ExitStack() as files:
        (layer,) = files.enter_context(open_layers([asked]))
        stack = layer.stack
        for note in stack.notes:
            _warn(f"{source}: {note}")
        if prod(stack.shape) * stack.dtype.itemsize > WHOLE_BYTES:
            pixels: Any = LazyStack(stack, files.pop_all().close)
        else:
            pixels = stack.read()
    if pixels.shape[0] == 1:
        pixels = pixels[0]
    settings: dict[str, Any] = {
        "name": name,
        "metadata": {
            "sfseg": {"source": source, "voxel_size_nm": voxel_as_json(stack.voxel_size_nm)}
        },
        **scale_of(stack.voxel_size_nm, pixels.ndim),
    }
    if layer.kind in ("labels", "mask") and stack.dtype.kind in "iu":
        return pixels, settings, "labels"
    if layer.kind == "map":
        settings["contrast_limits"] = (0.0, layer.largest)
    return pixels, settings, "image"


def _in_napari_words(error: SfsegError) -> SfsegError:
    """Let the hint of an error lead to the widget that has the option."""
    if error.hint is None or "--axes" not in error.hint:
        return error
    hint = f"{in_widget_words(error.hint)}, in Plugins > sfseg > Open"
    return type(error)(error.message, hint=hint)


def _warn(text: str) -> None:
    """Warn; napari shows warnings as notifications."""
    warnings.warn(text, SfsegWarning, stacklevel=2)
