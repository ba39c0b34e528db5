"""The plan: how a section is cut into tiles that leave no trace.

A tile is a core whose result is kept, and a halo around it that the network needs to see. With the
halo computed from the network's layers and cores that start on multiples of its stride, each kept
pixel is computed from exactly the numbers that the whole section would have given it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch
from torch import nn

Box = tuple[slice, slice]


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


def plan(shape: tuple[int, int], core_px: int, halo_px: int) -> Iterator[Tile]:
    """Cut a section into tiles whose cores cover it once.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the section, multiples of the network's stride.
    core_px : int
        Side of a core, a multiple of the stride.
    halo_px : int
        Margin around a core, a multiple of the stride.

    Yields
    ------
    Tile
        In scan order.
    """
    for rows in _spans(shape[0], core_px, halo_px):
        for columns in _spans(shape[1], core_px, halo_px):
            read, keep, write = zip(rows, columns, strict=True)
            yield Tile(read=read, keep=keep, write=write)


def _spans(length: int, core: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield (read, keep, write) along one axis."""
    for start in range(0, length, core):
        stop = min(start + core, length)
        first, last = max(start - halo, 0), min(stop + halo, length)
        yield slice(first, last), slice(start - first, stop - first), slice(start, stop)
