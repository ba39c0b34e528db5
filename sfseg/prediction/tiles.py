"""How a section is cut into tiles that leave no trace.

A tile is a core whose result is kept, and a halo around it that the network needs to see. With the
halo computed from the network's layers and tiles that start on multiples of its stride, each kept
pixel is computed from exactly the numbers that the whole section would have given it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import nn

from sfseg.models import STRIDE

Box = tuple[slice, slice]
"""Rows and columns."""

Shape2D = tuple[int, int]
"""(Y, X)."""


@dataclass(frozen=True)
class Tile:
    """One piece of a section.

    Attributes
    ----------
    read : tuple of slice
        (Y, X) of the section to put into the network: core and halo, cut at the border.
    keep : tuple of slice
        (Y, X) of the tile's result to keep: the core, in the tile's own coordinates.
    write : tuple of slice
        (Y, X) of the section where the kept part goes.
    """

    read: Box
    keep: Box
    write: Box


def lengths(box: Box) -> tuple[int, int]:
    """Return the height and the width of a box."""
    height, width = (part.stop - part.start for part in box)
    return height, width


def halo_px(network: nn.Module, stride: int) -> int:
    """Compute how far a network looks, from its layers.

    Parameters
    ----------
    network : torch.nn.Module
        Convolutions, 2x2 poolings and stride-2 transposed convolutions, on any device.
    stride : int
        The network's stride; the halo is rounded up to a multiple of it.

    Returns
    -------
    int
        Pixels beyond which an input cannot change an output.

    Notes
    -----
    Along the layers in the order in which they run, which is the longest path, each adds its reach
    times the distance of its samples: a convolution of kernel k reaches (k - 1) / 2, a pooling and
    a transposed convolution 1 on their finer side.
    """
    reach, distance = 0, 1
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
    """Note which layers a forward pass of one tiny section runs, in their order."""
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
    """Cuts sections for a network.

    Attributes
    ----------
    halo : int
        Margin around a core, a multiple of the stride.
    stride : int
        Tiles start on multiples of it and are multiples of it long.
    """

    halo: int
    stride: int

    def by_core(
        self, shape: tuple[int, int], core: int | tuple[int, int], region: Box | None = None
    ) -> list[Tile]:
        """Cut a section into tiles whose cores are no longer than `core`; see `within`."""
        cores = (core, core) if isinstance(core, int) else core
        region = region or (slice(0, shape[0]), slice(0, shape[1]))
        counts = [
            max(1, ceil((length - 2 * self.halo) / core))
            for length, core in zip(shape, cores, strict=True)
        ]
        return self._cut(shape, region, (counts[0], counts[1]))

    def within(
        self, shape: tuple[int, int], limit_px: int, region: Box | None = None
    ) -> list[Tile]:
        """Cut a section into as few tiles as a limit on their size allows.

        Parameters
        ----------
        shape : tuple of int
            (Y, X) of the section, multiples of the stride.
        limit_px : int
            Most pixels of a tile with its halo; where even the smallest tile has more, that one.
        region : tuple of slice, optional
            (Y, X) that the cores are to cover; all by default.

        Returns
        -------
        list of Tile
            In scan order; all are read in the same size. Among the plans that keep the limit, the
            one that reads the fewest pixels.
        """
        region = region or (slice(0, shape[0]), slice(0, shape[1]))
        rows = range(1, self._most(shape[0], region[0]) + 1)
        *_, counts = min(self._rate(shape, region, limit_px, count) for count in rows)
        return self._cut(shape, region, counts)

    def _rate(
        self, shape: tuple[int, int], region: Box, limit_px: int, rows: int
    ) -> tuple[int, int, tuple[int, int]]:
        """Rate a number of rows of tiles: pixels over the limit, then pixels read."""
        height = self._read_px(shape[0], region[0], rows)
        columns = self._fewest(shape[1], region[1], limit_px // height)
        width = self._read_px(shape[1], region[1], columns)
        over = max(height * width - limit_px, 0)
        return over, rows * height * columns * width, (rows, columns)

    def _span(self, length: int, region: slice) -> tuple[int, int]:
        """Return where reading starts and ends along one axis."""
        stop = ceil((region.stop + self.halo) / self.stride) * self.stride
        start = (region.start - self.halo) // self.stride * self.stride
        return max(start, 0), min(stop, length)

    def _most(self, length: int, region: slice) -> int:
        """Return the number of tiles of which each keeps one stride."""
        start, stop = self._span(length, region)
        return max(1, ceil((stop - start - 2 * self.halo) / self.stride))

    def _read_px(self, length: int, region: slice, count: int) -> int:
        """Return how long a tile must be for `count` of them to cover the region."""
        start, stop = self._span(length, region)
        if count == 1:
            return stop - start
        core = ceil((stop - start - 2 * self.halo) / count / self.stride) * self.stride
        return core + 2 * self.halo

    def _fewest(self, length: int, region: slice, limit: int) -> int:
        """Return the smallest number of tiles no longer than the limit."""
        start, stop = self._span(length, region)
        if stop - start <= limit:
            return 1
        core = max((limit - 2 * self.halo) // self.stride * self.stride, self.stride)
        return max(1, ceil((stop - start - 2 * self.halo) / core))

    def _cut(self, shape: tuple[int, int], region: Box, counts: tuple[int, int]) -> list[Tile]:
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
        done = region.start
        while done < region.stop:
            first = min(max(done - self.halo, start) // self.stride * self.stride, stop - read)
            last = first + read
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
) -> list[Tile]:
    """Cut a section into tiles for prediction.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the section.
    halo : int
        Margin that a tile needs, a multiple of 16.
    input_px : int or None
        Side to which whole sections are resized for the network; None = native size, in tiles.
    tile_px : int or None
        Side of the core of a tile, rounded up to a multiple of 16; None = as `limit_px` allows.
    limit_px : int or None
        Most pixels of a tile with its halo; None = the whole section.

    Returns
    -------
    list of Tile
        `Tile.read` is given for the section padded to multiples of 16: see
        `sfseg.prediction.windows.window_of`.
    """
    whole = (slice(0, shape[0]), slice(0, shape[1]))
    if input_px is not None:
        return [Tile(whole, whole, whole)]
    padded, cutter = padded_shape(shape), Cutter(halo, STRIDE)
    if tile_px is not None:
        return cutter.by_core(padded, ceil(tile_px / STRIDE) * STRIDE, whole)
    return cutter.within(padded, limit_px or prod(padded), whole)


def padded_shape(shape: Shape2D) -> Shape2D:
    """Round a section's (Y, X) up to what the networks take: multiples of 16."""
    height, width = (ceil(length / STRIDE) * STRIDE for length in shape)
    return height, width


def overhead(tiles: list[Tile], shape: tuple[int, int]) -> float:
    """Return how many times the section's pixels the tiles read; 1 = nothing twice."""
    return sum(prod(lengths(tile.read)) for tile in tiles) / prod(shape)
