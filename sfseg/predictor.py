"""A network made ready to predict sections of any size."""

from dataclasses import dataclass
from math import ceil
from typing import Self

import numpy as np
import torch
from torch import nn

from sfseg import engines
from sfseg.augment import orient, unorient
from sfseg.config import Averaging
from sfseg.engines import Engine
from sfseg.models import STRIDE
from sfseg.normalise import resize, standardise
from sfseg.terms import AnyArray, Normalised, Probability
from sfseg.tiles import halo_px, plan


@dataclass(frozen=True)
class Predictor:
    """A network made ready: sections in, interior probability out.

    Attributes
    ----------
    engine : callable
        Runs the network on a batch.
    halo_px : int
        Margin that a tile of this network needs.
    input_px : int or None
        Side to which sections are resized for the network; None = native size.
    tta : {'none', 'd4'}
        One pass, or the mean over the eight orientations.
    tile_px : int or None
        Side of the core of a tile; None = the whole section.
    """

    engine: Engine
    halo_px: int
    input_px: int | None = None
    tta: Averaging = "none"
    tile_px: int | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        *,
        input_px: int | None = None,
        tta: Averaging = "none",
        tile_px: int | None = None,
    ) -> Self:
        """Make a network ready on a device.

        Parameters
        ----------
        network : torch.nn.Module
            One of `sfseg.models`; is moved to the device and put into evaluation mode.
        device, dtype : torch.device, torch.dtype
            Where to compute, and in which arithmetic.
        input_px, tta
            See the attributes.
        tile_px : int or None
            Rounded up to a multiple of the network's stride; None = as large as memory allows.

        Returns
        -------
        Predictor
            Ready for sections of any size.
        """
        engine = engines.torch_engine(network, device, dtype)
        halo = halo_px(network, STRIDE)
        if tile_px is None:
            tile_px = engines.fitting_tile_px(device, dtype, halo)
        return cls(engine, halo, input_px, tta, ceil(tile_px / STRIDE) * STRIDE)

    def __call__(self, section: AnyArray) -> Probability:
        """Predict one section.

        Parameters
        ----------
        section : ndarray, shape (Y, X)
            Grey values of any type and size, down to one pixel.

        Returns
        -------
        ndarray of float32, shape (Y, X)
            Interior probability in [0, 1].
        """
        image = standardise(section)
        if self.input_px is not None:
            image = resize(image[None], (self.input_px, self.input_px))[0]
        probability = self._average(image)
        if self.input_px is not None:
            probability = resize(probability[None], section.shape)[0]
        return probability

    def _average(self, image: Normalised) -> Probability:
        orientations = range(8 if self.tta == "d4" else 1)
        total = np.zeros_like(image)
        for orientation in orientations:
            turned = orient(torch.from_numpy(image), orientation).numpy()
            result = torch.from_numpy(self._run(turned))
            total += unorient(result, orientation).numpy()
        return total / np.float32(len(orientations))

    def _run(self, image: Normalised) -> Probability:
        """Predict a normalised section, whole or in tiles."""
        height, width = image.shape
        margins = ((0, -height % STRIDE), (0, -width % STRIDE))
        padded = np.pad(image, margins, mode="reflect")
        # A section no larger than a tile with its halo costs no more in one piece.
        if self.tile_px is None or max(padded.shape) <= self.tile_px + 2 * self.halo_px:
            return self.engine(padded[None])[0, :height, :width]
        result = np.empty_like(padded)
        for tile in plan(padded.shape, self.tile_px, self.halo_px):
            result[tile.write] = self.engine(padded[tile.read][None])[0][tile.keep]
        return result[:height, :width]
