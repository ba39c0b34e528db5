"""The type `Engine`: runs one network on one device in one arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sfseg.config import EngineName
from sfseg.system import devices
from sfseg.types import Normalised, Probability

Range = tuple[float, float]
"""Smallest and largest value."""


@dataclass(frozen=True)
class Agreement:
    """How far a map in int8 is from that in float32, on windows that set no range.

    Attributes
    ----------
    v_rand : float
        V_Rand of the map in int8, with the map in float32 above 0.5 as the truth.
    largest, mean : float
        Largest and mean difference of a probability.
    pixels : int
        How many were compared.
    """

    v_rand: float
    largest: float
    mean: float
    pixels: int

    @property
    def loss(self) -> float:
        """What V_Rand lacks of that of float32, which is 1."""
        return 1 - self.v_rand

    def __str__(self) -> str:
        return (
            f"V_Rand of the two maps {self.v_rand:.4f} (1 = the same cells), probabilities off by "
            f"{self.largest:.2f} at most and {self.mean:.4f} on average"
        )


@dataclass(frozen=True)
class Quantisation:
    """What an engine in int8 depends on beside the weights, fixed before the first tile.

    Attributes
    ----------
    weight_levels : int
        The largest weight: 127; or 64, where the processor has no VNNI.
    ranges : mapping of str to tuple of float
        Smallest and largest value of the section and of the output of each layer, by name.
    agreement : Agreement or None
        The comparison with float32; None before it.
    """

    weight_levels: int
    ranges: Mapping[str, Range]
    agreement: Agreement | None = None

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Quantisation":
        """Read what `as_json` wrote; raises KeyError, TypeError or ValueError if it is damaged."""
        ranges = {name: (float(low), float(high)) for name, (low, high) in found["ranges"].items()}
        compared = found["agreement"]
        agreement = None if compared is None else Agreement(**compared)
        return cls(int(found["weight_levels"]), ranges, agreement)

    def as_json(self) -> dict[str, Any]:
        """Return the values in types that JSON can hold; its numbers keep all bits."""
        ranges = {name: list(span) for name, span in self.ranges.items()}
        return {**asdict(self), "ranges": ranges}


@dataclass(frozen=True)
class Engine:
    """Turn normalised sections into interior probability.

    Attributes
    ----------
    name : {'torch', 'compile', 'openvino'}
        Name of the engine.
    device : torch.device
        Where it runs.
    dtype : torch.dtype
        Type of the convolutions' arithmetic: float32, bfloat16, float16 or int8.
    run : callable
        Maps float32 (B, Y, X), Y and X multiples of 16, to float32 (B, Y, X) in [0, 1].
    bytes_per_px : int
        Peak memory of a pass for each pixel of the batch, including input and result.
    fixed_bytes : int
        Further memory of a pass, the same for every size.
    quantisation : Quantisation or None
        The ranges of the activations, for int8.
    forward : callable or None
        Maps normalised sections on the device, float32 (B, Y, X), to their probability there, and
        to a flag, int32, that is 1 if float16 was too small; see `gpu.require_finite`. It never
        waits for the device. None where there is no such device.
    most_px : int or None
        Most pixels of a batch, however much memory there is; None = any number.
    steps : tuple of (str, str)
        How each kind of step of the network runs, for people; empty where all run alike.
    """

    name: EngineName
    device: torch.device
    dtype: torch.dtype
    run: Callable[[Normalised], Probability]
    bytes_per_px: int
    fixed_bytes: int = 0
    quantisation: Quantisation | None = None
    forward: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    most_px: int | None = None
    steps: tuple[tuple[str, str], ...] = ()

    def __call__(self, batch: Normalised) -> Probability:
        """Predict a batch; see `run`."""
        return self.run(batch)


def describe(engines: Sequence[Engine], arithmetic: str | None = None) -> str:
    """Describe the devices of engines of one kind, the kind and its arithmetic in one phrase.

    Before its calibration, an engine for int8 is in float32: then `arithmetic` says what follows.
    """
    first, *others = engines
    dtype = first.dtype if arithmetic is None else getattr(torch, arithmetic)
    beside = [other.device for other in others]
    return devices.describe(first.device, dtype, first.name, beside=beside)
