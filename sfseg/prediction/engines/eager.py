"""The engine `torch`: PyTorch and nothing else."""

import torch
from torch import nn

from sfseg.prediction.engines.blockwise import WORK_BYTES, Blockwise
from sfseg.prediction.engines.engine import Engine
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.whole import batch_runner, folded_on
from sfseg.types import Normalised, Probability

GPU_BYTES_PER_PX = 700
"""Of a whole pass in bf16, the widest network; in float32 it is twice that."""


def torch_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make the engine of plain PyTorch: in blocks on a CPU, whole elsewhere.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; is left as it is.
    device, dtype : torch.device, torch.dtype
        Where to run, and in which arithmetic.

    Returns
    -------
    Engine
        Its sections of a batch do not depend on each other, to the bit, on a CPU.
    """
    if device.type != "cpu":
        run_whole = batch_runner(folded_on(network, device, dtype), device, dtype)
        return Engine("torch", device, dtype, run_whole, GPU_BYTES_PER_PX * dtype.itemsize // 2)
    blockwise = Blockwise(fold(network), dtype)

    def run(batch: Normalised) -> Probability:
        with torch.inference_mode():
            sections = torch.from_numpy(batch)
            if len(sections) == 1:
                return blockwise(sections[0])[None].numpy()
            return torch.stack([blockwise(section) for section in sections]).numpy()

    return Engine("torch", device, dtype, run, blockwise.bytes_per_px, WORK_BYTES)
