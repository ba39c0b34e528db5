"""The figures of the thesis, to compare with those that are measured here."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Published:
    """The figures of the thesis for one architecture on one dataset.

    Attributes
    ----------
    v_rand, dice : float
        Tables 4.1 and 4.2.
    parameters : int
        Table 4.3, in whole or tenths of a million.
    """

    v_rand: float
    dice: float
    parameters: int


TABLES: Mapping[str, Mapping[str, Published]] = MappingProxyType(
    {
        "isbi2012": MappingProxyType(
            {
                "unet": Published(0.97045542, 0.92196040, 25_000_000),
                "fusionnet": Published(0.97591085, 0.94366761, 69_000_000),
                "sfnet": Published(0.98396507, 0.94507939, 1_600_000),
            }
        ),
        "piriform": MappingProxyType(
            {
                "unet": Published(0.83092332, 0.92196040, 25_000_000),
                "fusionnet": Published(0.85103673, 0.91900055, 69_000_000),
                "sfnet": Published(0.88387962, 0.92910124, 1_600_000),
            }
        ),
    }
)
"""Tables 4.1 and 4.2 with 4.3, by dataset and architecture."""

NOTE = (
    "The thesis prints the same Dice of U-Net, 0.92196040, for both datasets: probably a copying "
    "slip in one of them. It states no spread."
)
"""A note for the readers of these figures."""
