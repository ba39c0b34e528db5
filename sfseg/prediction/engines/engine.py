"""What every engine is: a network made to run on one device in one arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sfseg.config import EngineName
from sfseg.types import Normalised, Probability


@dataclass(frozen=True)
class Engine:
    """Normalised sections in, interior probability out.

    Attributes
    ----------
    name : {'torch', 'compile', 'openvino'}
        What runs the network.
    device : torch.device
        Where.
    dtype : torch.dtype
        Type of the convolutions' arithmetic: float32 or bfloat16.
    run : callable
        float32 (B, Y, X), Y and X multiples of 16, to float32 (B, Y, X) in [0, 1].
    bytes_per_px : int
        Peak memory of a pass for each pixel of the batch, the input and the result included.
    fixed_bytes : int
        Memory of a pass beside that, whatever the size.
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
