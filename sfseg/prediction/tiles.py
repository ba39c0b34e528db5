"""Cut a section into tiles whose joined results equal those of the whole section, to the bit.

A tile is a core, whose result is kept, and a halo around it, which the network needs to see::

    read:   |-- halo --|------ core ------|-- halo --|
    keep:              |------------------|              counted from the start of the tile
    write:             |------------------|              counted from the start of the section

The halo is computed from the layers of the network, and tiles start on multiples of its stride. So
each pixel of a core is computed from the same numbers as in the whole section.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import torch
from torch import nn

from sfseg.models import STRIDE
from sfseg.transforms.resample import Scaling

Rectangle = tuple[slice, slice]
"""Rows and columns."""

Shape2D = tuple[int, int]
"""(Y, X)."""


@dataclass(frozen=True)
class Tile:
    """Where one tile lies in its section.

    Attributes
    ----------
    read : tuple of slice
        Rows and columns of the section that the network sees: core and halo, cut at the border.
    keep : tuple of slice
        Rows and columns of the core, counted from the start of the tile.
    write : tuple of slice
        Rows and columns of the core, counted from the start of the section. If the section is
        resampled for the network, this counts the section's own pixels, the others those of the
        network; see `scaled_tiles`.
    """

    read: Rectangle
    keep: Rectangle
    write: Rectangle


def lengths(box: Rectangle) -> Shape2D:
    """Return the height and the width of a box."""
    height, width = (span.stop - span.start for span in box)
    return height, width


def halo_px(network: nn.Module, stride: int) -> int:
    """Compute from the layers of a network how far it looks.

    Parameters
    ----------
    network : torch.nn.Module
        Convolutions, 2x2 poolings and stride-2 transposed convolutions, on any device.
    stride : int
        The network's stride; the halo is rounded up to a multiple of it.

    Returns
    -------
    int
        An input pixel farther away than this cannot change an output pixel.

    Notes
    -----
    Going through all layers in the order in which they run is the longest path. On it each layer
    adds its reach times the distance of its samples in pixels of the input. A convolution with a
    kernel of k reaches (k - 1) / 2; a pooling and a transposed convolution reach 1, on their finer
    side.
    """
    reach, distance = 0, 1  # both in pixels of the input
    for layer in _layers_in_order(network, stride):
        if isinstance(layer, nn.ConvTranspose2d):
            distance //= 2
            reach += distance
        elif isinstance(layer, nn.Conv2d):
            reach += (int(layer.kernel_size[0]) - 1) // 2 * distance
        else:
            reach += distance
            distance *= 2
    return ceil(reach / stride) * stride


def _layers_in_order(network: nn.Module, stride: int) -> list[nn.Module]:
    """List the layers in the order in which a forward pass of one tiny section runs them."""
    order: list[nn.Module] = []
    handles = [
        layer.register_forward_hook(lambda layer, _input, _output: order.append(layer))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d)
    ]
    like, was_training = next(network.parameters()), network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 1, stride, stride, dtype=like.dtype, device=like.device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return order


@dataclass(frozen=True)
class Cutter:
    """Cut sections into tiles for a network.

    Attributes
    ----------
    halo : int
        Margin around a core, a multiple of the stride.
    stride : int
        Start and length of a tile are multiples of it.
    """

    halo: int
    stride: int

    def by_core(
        self, shape: Shape2D, core: int | Shape2D, region: Rectangle | None = None
    ) -> list[Tile]:
        """Cut a section into tiles whose cores are no longer than `core`; see `within`."""
        cores = (core, core) if isinstance(core, int) else core
        region = region or (slice(0, shape[0]), slice(0, shape[1]))
        counts = []
        for length, axis, side in zip(shape, region, cores, strict=True):
            start, stop = self._span(length, axis)
            # n windows overlap by two halos, so together they cover n * core + 2 * halo
            counts.append(max(1, ceil((stop - start - 2 * self.halo) / side)))
        return self._cut(shape, region, (counts[0], counts[1]))

    def within(self, shape: Shape2D, limit_px: int, region: Rectangle | None = None) -> list[Tile]:
        """Cut a section into as few tiles as a limit on their size allows.

        Parameters
        ----------
        shape : tuple of int
            (Y, X) of the section, multiples of the stride.
        limit_px : int
            Most pixels of a tile with its halo. If even the smallest tile has more, that one is
            used.
        region : tuple of slice, optional
            Rows and columns that the cores cover; all by default.

        Returns
        -------
        list of Tile
            In scan order; all windows have the same size. Of all grids within the limit, the one
            that reads the fewest pixels.
        """
        region = region or (slice(0, shape[0]), slice(0, shape[1]))
        rows = range(1, self._most(shape[0], region[0]) + 1)
        # for each number of rows of tiles the best number of columns; then the best of all
        *_, counts = min(self._rate(shape, region, limit_px, count) for count in rows)
        return self._cut(shape, region, counts)

    def _rate(
        self, shape: Shape2D, region: Rectangle, limit_px: int, rows: int
    ) -> tuple[int, int, tuple[int, int]]:
        """Rate a grid with so many rows of tiles: pixels over the limit, pixels read, the grid."""
        height = self._read_px(shape[0], region[0], rows)
        columns = self._fewest(shape[1], region[1], limit_px // height)
        width = self._read_px(shape[1], region[1], columns)
        over = max(height * width - limit_px, 0)
        return over, rows * height * columns * width, (rows, columns)

    def _span(self, length: int, region: slice) -> tuple[int, int]:
        """Return where the windows start and end along one axis: region and halo, cut off."""
        stop = ceil((region.stop + self.halo) / self.stride) * self.stride
        start = (region.start - self.halo) // self.stride * self.stride
        return max(start, 0), min(stop, length)

    def _most(self, length: int, region: slice) -> int:
        """Return the largest useful number of tiles: each core is one stride long."""
        start, stop = self._span(length, region)
        return max(1, ceil((stop - start - 2 * self.halo) / self.stride))

    def _read_px(self, length: int, region: slice, count: int) -> int:
        """Return the length of each window if `count` of them cover the region."""
        start, stop = self._span(length, region)
        if count == 1:
            return stop - start
        core = ceil((stop - start - 2 * self.halo) / count / self.stride) * self.stride
        return core + 2 * self.halo

    def _fewest(self, length: int, region: slice, limit: int) -> int:
        """Return the smallest number of windows that are no longer than the limit."""
        start, stop = self._span(length, region)
        if stop - start <= limit:
            return 1
        core = max((limit - 2 * self.halo) // self.stride * self.stride, self.stride)
        return max(1, ceil((stop - start - 2 * self.halo) / core))

    def _cut(self, shape: Shape2D, region: Rectangle, counts: tuple[int, int]) -> list[Tile]:
        """Cut a section into a grid of so many rows and columns of tiles."""
        rows, columns = (
            list(self._spans(*axis)) for axis in zip(shape, region, counts, strict=True)
        )
        return [
            Tile(read=(y[0], x[0]), keep=(y[1], x[1]), write=(y[2], x[2]))
            for y in rows
            for x in columns
        ]

    def _spans(
        self, length: int, region: slice, count: int
    ) -> Iterator[tuple[slice, slice, slice]]:
        """Yield (read, keep, write) along one axis."""
        start, stop = self._span(length, region)
        read = self._read_px(length, region, count)
        done = region.start  # up to here the region is covered by cores
        while done < region.stop:
            # the last window is moved back to end at `stop`, so that all have the same length
            first = min(max(done - self.halo, start) // self.stride * self.stride, stop - read)
            last = first + read
            # the last core ends with the region, the others a halo before their window
            end = region.stop if last == stop else min(last - self.halo, region.stop)
            yield slice(first, last), slice(done - first, end - first), slice(done, end)
            done = end


def section_tiles(
    shape: Shape2D,
    halo: int,
    *,
    input_px: int | None = None,
    tile_px: int | None = None,
    limit_px: int | None = None,
    block_px: Shape2D | None = None,
) -> list[Tile]:
    """Cut a section into tiles for prediction.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the section.
    halo : int
        Margin that a tile needs, a multiple of 16.
    input_px : int or None
        Side to which whole sections are resized for the network; None = tiles in native size.
    tile_px : int or None
        Side of the core of a tile, rounded up to a multiple of 16; None = as `limit_px` allows.
    limit_px : int or None
        Most pixels of a tile with its halo; None = the whole section.
    block_px : tuple of int or None
        Rows and columns of blocks, multiples of 16, that are cut one after the other, in scan
        order; None = the section is one block.

    Returns
    -------
    list of Tile
        `Tile.read` counts in the section padded to multiples of 16; see
        `sfseg.prediction.windows.window_of`.
    """
    whole = (slice(0, shape[0]), slice(0, shape[1]))
    if input_px is not None:
        return [Tile(whole, whole, whole)]
    padded, cutter = padded_shape(shape), Cutter(halo, STRIDE)
    tiles: list[Tile] = []
    for block in [whole] if block_px is None else blocks_of(shape, block_px):
        if tile_px is not None:
            tiles += cutter.by_core(padded, ceil(tile_px / STRIDE) * STRIDE, block)
        else:
            tiles += cutter.within(padded, limit_px or prod(padded), block)
    return tiles


def blocks_of(shape: Shape2D, block_px: Shape2D) -> Iterator[Rectangle]:
    """Yield the blocks of a section in scan order; the last of a row or column may be smaller."""
    for top, left in product(*map(range, (0, 0), shape, block_px)):
        bottom, right = min(top + block_px[0], shape[0]), min(left + block_px[1], shape[1])
        yield slice(top, bottom), slice(left, right)


def scaled_tiles(
    scaling: Scaling, halo: int, *, tile_px: int | None = None, limit_px: int | None = None
) -> list[Tile]:
    """Cut a section that is resampled for the network into tiles.

    Parameters
    ----------
    scaling : Scaling
        The way of the section to the grid of the network, and back.
    halo, tile_px, limit_px
        As for `section_tiles`, in pixels of the network.

    Returns
    -------
    list of Tile
        ``read`` and ``keep`` are on the grid of the network. ``keep`` has a margin, from which the
        outer pixels of ``write`` are interpolated.
    """
    margin = ceil(scaling.margin_px / STRIDE) * STRIDE
    tiles = section_tiles(scaling.network_shape, halo + margin, tile_px=tile_px, limit_px=limit_px)
    scaled = []
    for tile in tiles:
        keep = tuple(
            slice(max(core.start - margin, 0), min(core.stop + margin, length - window.start))
            for core, window, length in zip(
                tile.keep, tile.read, scaling.network_shape, strict=True
            )
        )
        scaled.append(Tile(tile.read, (keep[0], keep[1]), scaling.own(tile.write)))
    return [tile for tile in scaled if prod(lengths(tile.write))]


def padded_shape(shape: Shape2D) -> Shape2D:
    """Round (Y, X) of a section up to multiples of 16, which the networks need."""
    height, width = (ceil(length / STRIDE) * STRIDE for length in shape)
    return height, width


def overhead(tiles: list[Tile], shape: Shape2D) -> float:
    """Divide the pixels that the tiles read by those of the section; 1 = none is read twice."""
    return sum(prod(lengths(tile.read)) for tile in tiles) / prod(shape)
