"""What a stack is, for those who look at it: an image, a map, a mask, or numbers of cells."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sfseg.errors import ShapeMismatchError, StackError
from sfseg.io import Stack, open_stack
from sfseg.types import AnyArray, PixelSize, VoxelSize, describe_shape

Kind = Literal["image", "map", "mask", "labels"]

DESCRIPTIONS: dict[Kind, str] = {
    "image": "an image",
    "map": "a map: white inside cells, black on membranes",
    "mask": "a mask of two values",
    "labels": "numbers of cells",
}

_ORDER: dict[Kind, int] = {"image": 0, "map": 1, "mask": 1, "labels": 2}
"""The lowest first."""

SAMPLE_PX = 512
"""Side of the middle of a section that is looked at to tell what a stack is."""

SAMPLES = 3
"""Sections that are looked at."""

EXTREME = 0.1
"""A value of a map so near to 0 or 1 is sure; most are. Few pixels of an image are so dark or
bright."""

SURE_SHARE, BRIGHT_SHARE = 0.5, 0.05
"""Shares of pixels that are sure, and sure to be 1, from which it is a map. A dark image has the
first only."""

FLAT_SHARE = 0.8
"""Share of pixels that equal their right neighbour from which it is numbers of cells. An image has
noise."""


@dataclass(frozen=True)
class Layer:
    """A stack to look at.

    Attributes
    ----------
    stack : Stack
        Open.
    kind : {"image", "map", "mask", "labels"}
        What its values mean.
    largest : float
        Of a map or a mask, the value that means 1.
    """

    stack: Stack
    kind: Kind
    largest: float = 1.0

    @property
    def name(self) -> str:
        """The name of the file or folder, without those above it."""
        return Path(self.stack.name).name or self.stack.name

    def describe(self) -> str:
        """Say what it is taken for."""
        return f"{self.stack.name}: {DESCRIPTIONS[self.kind]}"


@dataclass(frozen=True)
class Source:
    """A stack as a user names it.

    Attributes
    ----------
    path : str
        As for `sfseg.io.open_stack`.
    kind : {"image", "map", "mask", "labels"} or None
        None where it is to be found out.
    axes : str or None
        Order of the axes, for a file that does not say it.
    """

    path: str
    kind: Kind | None = None
    axes: str | None = None


@contextlib.contextmanager
def open_layers(
    sources: Sequence[Source], *, pixel_size_nm: PixelSize | None = None
) -> Iterator[list[Layer]]:
    """Open stacks that lie on each other; they are closed after the block.

    Parameters
    ----------
    sources : sequence of Source
        At least one.
    pixel_size_nm : tuple of float, optional
        Size of the pixels, (y, x), in place of what the files say.

    Yields
    ------
    list of Layer
        As many; images first, then maps and masks, then numbers of cells.

    Raises
    ------
    StackError, OptionError, OSError
        If one cannot be opened; see `sfseg.io.open_stack`.
    ShapeMismatchError
        If they do not lie on each other.
    """
    with contextlib.ExitStack() as opened:
        layers: list[Layer] = []
        for source in sources:
            has_image = any(layer.kind == "image" for layer in layers)
            layer = _open(source, has_image=has_image)
            stack = opened.enter_context(layer.stack)
            layers.append(Layer(stack.with_pixel_size(pixel_size_nm), layer.kind, layer.largest))
            if stack.shape != layers[0].stack.shape:
                first = layers[0].stack
                raise ShapeMismatchError(
                    f"{stack.name}: {describe_shape(stack.shape)} do not lie on {first.name}, "
                    f"{describe_shape(first.shape)}",
                    hint="name stacks of the same sections, or look at each by itself",
                )
        yield sorted(layers, key=lambda layer: _ORDER[layer.kind])


def voxel_size_of(layers: Sequence[Layer]) -> VoxelSize | None:
    """Return the voxel size, (z, y, x) in nm, of the first of these stacks whose file has it."""
    return next((size for layer in layers if (size := layer.stack.voxel_size_nm)), None)


def _open(source: Source, *, has_image: bool) -> Layer:
    """Open a stack and find out what it is."""
    if source.kind is not None:
        return _layer(_open_as(source, source.kind), source.kind)
    try:
        layer = _layer(_open_as(source, "image"), None, has_image=has_image)
    except StackError as error:  # colours: perhaps cells, each in one
        return _open_colours(source, error)
    if layer.kind == "labels":  # then the numbers of a grey palette count
        layer.stack.close()
        layer = _layer(_open_as(source, "labels"), "labels")
    return layer


def _open_colours(source: Source, error: StackError) -> Layer:
    """Open cells in colours; raises the error of opening it as grey if it shows something else."""
    try:
        layer = _layer(_open_as(source, "labels"), None)
    except StackError:  # whose hint may name an option of labels
        raise error from None
    if layer.kind not in ("labels", "mask"):
        layer.stack.close()
        raise error
    return Layer(layer.stack, "labels")


def _open_as(source: Source, kind: Kind) -> Stack:
    return open_stack(source.path, axes=source.axes, labels=kind == "labels")


def _layer(stack: Stack, kind: Kind | None, *, has_image: bool = False) -> Layer:
    """Look at some values, and find out what they are unless it is said."""
    try:
        sample = _sample(stack)
    except BaseException:
        stack.close()
        raise
    kind = kind or guess_kind(sample, has_image=has_image)
    if kind == "map" and len(np.unique(sample)) <= 2:
        kind = "mask"
    return Layer(stack, kind, _largest(sample))


def _sample(stack: Stack) -> AnyArray:
    """Read the middle of some sections: shape (sections, Y, X)."""
    from sfseg.report.sections import middle

    chosen = spread(len(stack), SAMPLES)
    views = [middle(stack, index, SAMPLE_PX) for index in chosen]
    return np.stack([stack.window(view.index, view.rows, view.columns) for view in views])


def spread(count: int, most: int) -> tuple[int, ...]:
    """Choose at most so many of `count` sections: the first, the last, and between them.

    Examples
    --------
    >>> spread(30, 3), spread(2, 3)
    ((0, 14, 29), (0, 1))
    """
    places = np.linspace(0, count - 1, min(count, most))
    return tuple(int(place) for place in places)


def guess_kind(sample: AnyArray, *, has_image: bool = False) -> Kind:
    """Tell what values mean.

    Parameters
    ----------
    sample : ndarray, shape (sections, Y, X)
        Some of them.
    has_image : bool
        Whether an image is there already: then real numbers from 0 to 1 are a map, even if few of
        them are sure.

    Returns
    -------
    str
        Its kind.
    """
    values, counts = np.unique(sample, return_counts=True)
    if len(values) <= 2:
        return "image" if len(values) == 1 else "mask"
    others = sample != values[counts.argmax()]  # a border, or what is between the cells
    equal = (sample[..., 1:] == sample[..., :-1])[others[..., 1:]]
    is_flat = equal.size > 0 and equal.mean() > FLAT_SHARE
    if is_flat and (values == np.round(values)).all():
        return "labels"
    if values[0] >= 0 and _are_sure(sample[others] / _largest(sample)):
        return "map"
    is_share = sample.dtype.kind == "f" and values[0] >= 0 and values[-1] <= 1
    return "map" if is_share and has_image else "image"


def _are_sure(shares: AnyArray) -> bool:
    """Tell whether most of the interior probabilities are near 0 or 1, and enough near 1."""
    inside = (shares > 1 - EXTREME).mean()
    return bool(inside > BRIGHT_SHARE and inside + (shares < EXTREME).mean() > SURE_SHARE)


def _largest(sample: AnyArray) -> float:
    """Find the value that means 1: 1, the largest of the type, or else the largest there is."""
    found = float(sample[np.isfinite(sample)].max(initial=0))
    if found <= 1:
        return 1.0
    if sample.dtype.kind == "u" and sample.dtype.itemsize <= 2:
        return float(np.iinfo(sample.dtype).max)
    return found
