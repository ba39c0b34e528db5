"""Predict sections of any size with a network: normalise, cut into tiles, average orientations."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Self

import numpy as np
import torch
from torch import nn

from sfseg.config import TestTimeAugmentation
from sfseg.models import STRIDE
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.on_device import OnDevice
from sfseg.prediction.tiles import Cutter, Rectangle, Shape2D, Tile, halo_px, lengths, section_tiles
from sfseg.prediction.windows import Window, cut_window
from sfseg.system.memory import available_bytes, is_out_of_memory
from sfseg.transforms.normalise import measure_section, resize
from sfseg.types import AnyArray, Normalised, Probability, Say


class Predictor:
    """Predict the interior probability of sections and tiles with one network.

    Parameters
    ----------
    run : callable
        Runs the network: normalised float32 (B, Y, X) to interior probability, float32 (B, Y, X);
        Y and X are multiples of 16.
    halo_px : int
        Margin that a tile of this network needs.
    input_px : int or None
        Side to which sections are resized for the network; None = native size.
    tta : {'none', 'flips', 'd4'}
        One pass, or the mean over the four flips or all eight orientations.
    tile_px : int or None
        Side of the core of a tile, rounded up to a multiple of 16; None = as `limit_px` allows.
    limit_px : int or None
        Most pixels of a tile with its halo; None = the whole section. Halved when memory runs out.
    batch : int
        Tiles or orientations in one batch. On a CPU the result does not depend on it, to the bit.
    say : callable
        Called with a line of text when memory runs out and tiles get smaller.
    """

    def __init__(
        self,
        run: Callable[[Normalised], Probability],
        halo_px: int,
        *,
        input_px: int | None = None,
        tta: TestTimeAugmentation = "none",
        tile_px: int | None = None,
        limit_px: int | None = None,
        batch: int = 1,
        say: Say = lambda _: None,
    ) -> None:
        self.cutter = Cutter(halo_px, STRIDE)
        self.input_px = input_px
        self.tile_px = tile_px
        self.limit_px = limit_px
        self.batch = batch
        self.say = say
        self._on_device = OnDevice(run, tta)

    @classmethod
    def from_network(
        cls,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        *,
        input_px: int | None,
        tta: TestTimeAugmentation = "none",
    ) -> Self:
        """Prepare a network for sections in memory, with the engine `torch`, beside other work.

        Parameters
        ----------
        network : torch.nn.Module
            In evaluation or training mode; it is not changed.
        device, dtype : torch.device, torch.dtype
            Where it runs, and the type of its arithmetic.
        input_px, tta
            As for the class.

        Returns
        -------
        Predictor
            Its tiles need at most half of the memory that is free now.
        """
        engine = torch_engine(network, device, dtype)
        limit_px = available_bytes(device) // 2 // engine.bytes_per_px
        limit_px = limit_px if engine.most_px is None else min(limit_px, engine.most_px)
        halo = halo_px(network, STRIDE)
        return cls(engine, halo, input_px=input_px, tta=tta, limit_px=limit_px)

    def __call__(self, section: AnyArray) -> Probability:
        """Predict one section in memory.

        Parameters
        ----------
        section : ndarray, shape (Y, X)
            Grey values of any type and size, down to one pixel.

        Returns
        -------
        ndarray of float32, shape (Y, X)
            Interior probability in [0, 1]; 0 in empty areas.
        """
        normalisation = measure_section(section)
        empty = normalisation.mask(section)
        shape: Shape2D = (section.shape[0], section.shape[1])
        result = np.empty(shape, np.float32)
        for tile in self.tiles(shape):
            window = cut_window(section, empty, normalisation, tile.read, shape)
            (result[tile.write],) = self.predict([window], tile.keep)
        return result

    def tiles(self, shape: Shape2D) -> list[Tile]:
        """Plan the tiles of a section.

        Parameters
        ----------
        shape : tuple of int
            (Y, X) of the section.

        Returns
        -------
        list of Tile
            See `sfseg.prediction.tiles.section_tiles`.
        """
        return section_tiles(
            shape,
            self.cutter.halo,
            input_px=self.input_px,
            tile_px=self.tile_px,
            limit_px=self.limit_px,
        )

    def predict(self, windows: Sequence[Window], keep: Rectangle) -> list[Probability]:
        """Predict windows of one size.

        Parameters
        ----------
        windows : sequence of Window, shape (Y, X)
            What the tiles read.
        keep : tuple of slice
            Rows and columns of a window to keep; see `Tile.keep`.

        Returns
        -------
        list of ndarray of float32, shape (Y, X) of `keep`
            Interior probability of each window, without its halo; 0 in empty areas.
        """
        if all(window.is_empty for window in windows):  # there is nothing to see
            return [np.zeros(lengths(keep), np.float32) for _ in windows]
        predict = self._predict_in_memory if self.input_px is None else self._predict_resized
        results = predict(windows, keep)
        for result, window in zip(results, windows, strict=True):
            if window.empty is not None:
                result[window.empty[keep]] = 0
        return results

    def _predict_resized(self, windows: Sequence[Window], keep: Rectangle) -> list[Probability]:
        """Predict windows of one size, normalised and then resized for the network."""
        side = (self.input_px or 0,) * 2
        images = [resize(window.standardise()[None], side)[0] for window in windows]
        resized = [
            Window(image, None, window.normalisation, image)
            for image, window in zip(images, windows, strict=True)
        ]
        results = self._predict_in_memory(resized, (slice(0, side[0]), slice(0, side[1])))
        return [resize(result[None], lengths(keep))[0] for result in results]

    def _predict_in_memory(self, windows: Sequence[Window], keep: Rectangle) -> list[Probability]:
        """Predict windows of one size; if memory runs out, again in smaller batches or tiles."""
        height, width = windows[0].pixels.shape
        tiles = self.cutter.within((height, width), self.limit_px or height * width, keep)
        if len(tiles) > 1:
            return [self._predict_tiles(window, tiles) for window in windows]
        try:
            return self._on_device(windows, keep, self.batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or not self._can_shrink((height, width), keep):
                raise
        return self._predict_in_memory(windows, keep)

    def _predict_tiles(self, window: Window, tiles: list[Tile]) -> Probability:
        """Predict a window in smaller tiles; return the rectangle that their cores cover."""
        first, last = tiles[0].write, tiles[-1].write
        top, left = first[0].start, first[1].start
        result = np.empty((last[0].stop - top, last[1].stop - left), np.float32)
        for tile in tiles:
            (core,) = self._predict_in_memory([window.part(tile.read)], tile.keep)
            height, width = core.shape
            row, column = tile.write[0].start - top, tile.write[1].start - left
            result[row : row + height, column : column + width] = core
        return result

    def _can_shrink(self, shape: Shape2D, keep: Rectangle) -> bool:
        """Halve the batch, or the tiles, and say so; False where neither can be halved."""
        half = prod(shape) // 2
        smaller = "batches" if self.batch > 1 else "tiles"
        if self.batch > 1:
            self.batch //= 2
        elif len(self.cutter.within(shape, half, keep)) > 1:
            self.limit_px = half
        else:
            return False
        self.say(
            f"out of memory with tiles of {shape[0]}x{shape[1]} pixels: trying smaller {smaller}"
        )
        return True
