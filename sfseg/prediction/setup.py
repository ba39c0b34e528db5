"""What one stack is predicted with: engines, tiles, predictors, and the size of its pixels."""

from dataclasses import dataclass

from sfseg.config import PredictConfig
from sfseg.io import Stack
from sfseg.models.header import Header
from sfseg.prediction.engines import Engine
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tiles import Tile
from sfseg.transforms.pixel_size import PixelChoice, choose_pixels
from sfseg.transforms.resample import Scaling


@dataclass(frozen=True)
class PredictSetup:
    """The engines, tiles and predictors for one stack.

    Attributes
    ----------
    engines : tuple of Engine
        Run the network: one for each device.
    tiles : list of Tile
        The tiles of each section.
    predictors : tuple of Predictor
        Predict the tiles, at the same time: one or two for each engine.
    workers : int
        Threads that read, and threads that finish tiles.
    pixels : PixelChoice
        Whether sections are resampled for the network.
    scaling : Scaling or None
        How they are.
    """

    engines: tuple[Engine, ...]
    tiles: list[Tile]
    predictors: tuple[Predictor, ...]
    workers: int
    pixels: PixelChoice
    scaling: Scaling | None


def pixels_of(header: Header, stack: Stack, config: PredictConfig) -> PixelChoice:
    """Decide whether the sections of a stack are resampled; see `sfseg.transforms.pixel_size`.

    Weights that resize sections to one size do not know a pixel size.
    """
    trained = header.voxel_size_nm if header.input_px is None else None
    said = config.pixel_size is not None
    return choose_pixels(stack.voxel_size_nm, trained, config.rescale, said=said)
