"""The pixel size that all sections of a training run get."""

from dataclasses import dataclass, replace
from pathlib import Path

from sfseg.training.data_checks import PairFacts
from sfseg.training.run_setup import TrainSetup
from sfseg.transforms.pixel_size import PixelChoice, choose_pixels
from sfseg.types import PixelSize, Rescale, VoxelSize


@dataclass(frozen=True)
class Grid:
    """The pixel size that all sections get.

    Attributes
    ----------
    goal : tuple of float or None
        Voxel size of the weights to start from, or of the first stack; None = not known yet.
    goal_of : str
        Whose it is.
    known : tuple of float or None
        Voxel size of the dataset, for files that do not say it.
    said : tuple of float or None
        Size of the pixels that the user gave.
    rescale : {'auto', 'none'}
        Whether sections may be resampled.
    is_free : bool
        Whether a pixel size matters at all: not where sections are resized to one shape.
    """

    goal: VoxelSize | None
    goal_of: str
    known: VoxelSize | None
    said: PixelSize | None
    rescale: Rescale
    is_free: bool

    @classmethod
    def from_setup(cls, setup: TrainSetup, known: VoxelSize | None) -> "Grid":
        """Take the pixel size of the weights to start from."""
        config = setup.config
        header = setup.init.header if setup.init else None
        is_free = config.recipe.input_px is None
        goal = header.voxel_size_nm if header and header.input_px is None and is_free else None
        said = config.pixel_size
        return cls(goal, str(config.init), known, said, config.rescale, is_free)

    def choose(self, own: VoxelSize | None) -> tuple[PixelChoice, VoxelSize | None]:
        """Decide whether a stack is resampled; return its voxel size after that, too."""
        own = own if self.said else self.known or own
        said = self.said is not None and self.goal is not None
        pixels = choose_pixels(own, self.goal, self.rescale, said=said, goal_of=self.goal_of)
        if own is None or pixels.network_nm is None:
            return pixels, own or self.goal
        return pixels, (own[0], *pixels.network_nm)

    def after(self, pair: PairFacts) -> "Grid":
        """Return the grid for the next stacks: without weights to start from, that of the first."""
        if self.goal or not self.is_free or pair.grey is None or pair.voxel_size_nm is None:
            return self
        return replace(self, goal=pair.voxel_size_nm, goal_of=Path(pair.images).name)
