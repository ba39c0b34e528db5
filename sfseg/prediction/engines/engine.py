"""The type `Engine`: runs one network on one device in one arithmetic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sfseg.config import EngineName
from sfseg.system import devices
from sfseg.types import Normalised, Probability


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
        Type of the convolutions' arithmetic: float32 or bfloat16.
    run : callable
        Maps float32 (B, Y, X), Y and X multiples of 16, to float32 (B, Y, X) in [0, 1].
    bytes_per_px : int
        Peak memory of a pass for each pixel of the batch, including input and result.
    fixed_bytes : int
        Further memory of a pass, the same for every size.
    """

    name: EngineName
    device: torch.device
    dtype: torch.dtype
    run: Callable[[Normalised], Probability]
    bytes_per_px: int
    fixed_bytes: int = 0

    def __call__(self, batch: Normalised) -> Probability:
        """Predict a batch; see `run`."""
        return self.run(batch)


def describe(engines: Sequence[Engine]) -> str:
    """Describe the devices of engines of one kind, the kind and its arithmetic in one phrase."""
    first, *others = engines
    beside = [other.device for other in others]
    return devices.describe(first.device, first.dtype, first.name, beside=beside)
