"""What synthetic tissue is made of: the options that make it harder."""

import math
from dataclasses import dataclass

from sfseg.errors import OptionError
from sfseg.types import Shape, format_shape

_MOST_PIXELS = 2**27
"""Pixels of a stack, which is drawn in memory: 6 GB, 45 bytes for each."""


@dataclass(frozen=True)
class TissueOptions:
    """What synthetic tissue is made of.

    Attributes
    ----------
    shape : tuple of int
        Sections, rows, columns.
    seed : int
        The same seed and options give the same stack.
    noise : float
        Strength of the grain; 1 is that of ISBI 2012.
    shift_px : int
        Each section is displaced by up to this many pixels along y and x.
    missing : int
        Sections that are lost: black, without labels. At most a quarter; the first and the last
        stay.
    branches : int
        Places where a cell forks into two profiles, or two profiles of it join.

    Raises
    ------
    OptionError
        If one of them is out of range.
    """

    shape: Shape = (12, 256, 256)
    seed: int = 0
    noise: float = 1.0
    shift_px: int = 0
    missing: int = 0
    branches: int = 0

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1 or self.seed < 0:
            raise OptionError(
                f"tissue: the shape {self.shape} or the seed {self.seed} is wrong",
                hint="give three positive numbers (Z, Y, X), and a seed from 0 on",
            )
        if not 0 <= self.noise < math.inf or min(self.shift_px, self.missing, self.branches) < 0:
            raise OptionError(
                "tissue: noise, shift, missing sections and branches must be 0 or more",
                hint="give 0 to switch one off",
            )
        if math.prod(self.drawn_shape) > _MOST_PIXELS:
            raise OptionError(
                f"tissue: {format_shape(self.shape)} with shifts of {self.shift_px} is too large: "
                f"{_MOST_PIXELS:,} pixels can be drawn at most",
                hint="draw fewer or smaller sections, or shift them less",
            )
        if self.missing > (most := self.shape[0] // 4):
            raise OptionError(
                f"tissue: of {self.shape[0]} sections {most} can be missing, not {self.missing}",
                hint=f"draw at least {4 * self.missing} sections",
            )
        if self.branches and self.shape[0] < 2:
            raise OptionError(
                "tissue: a cell of one section has no branches", hint="draw at least 2 sections"
            )

    @property
    def drawn_shape(self) -> Shape:
        """Sections, rows, columns of what is drawn: each section is cut out of a larger one."""
        depth, height, width = self.shape
        return depth, height + 2 * self.shift_px, width + 2 * self.shift_px

    @property
    def words(self) -> dict[str, str]:
        """The options that are not the default, named and written as on the command line."""
        depth, height, width = self.shape
        default = TissueOptions.shape
        values = {
            "sections": (depth, default[0]),
            "size": (f"{height},{width}" if height != width else height, default[1]),
            "seed": (self.seed, 0),
            "noise": (f"{self.noise:g}", "1"),
            "shift": (self.shift_px, 0),
            "missing": (self.missing, 0),
            "branches": (self.branches, 0),
        }
        return {name: str(value) for name, (value, plain) in values.items() if value != plain}
