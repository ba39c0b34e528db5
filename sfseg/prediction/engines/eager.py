"""The engine `torch`: PyTorch, in blocks on a CPU, of fused steps on a GPU."""

import torch
from torch import nn

from sfseg.prediction.engines.blockwise import WORK_BYTES, Blockwise, FloatLayers
from sfseg.prediction.engines.engine import Engine, Quantisation
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.gpu import gpu_engine
from sfseg.types import Normalised, Probability


def torch_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make the engine of plain PyTorch: in blocks on a CPU, of fused steps elsewhere.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    device, dtype : torch.device, torch.dtype
        Where to run, and the type of the arithmetic.

    Returns
    -------
    Engine
        On a CPU the result of a section does not depend on the rest of the batch, to the bit.
    """
    if device.type != "cpu":
        return gpu_engine(network, device, dtype)
    return blockwise_engine(Blockwise(fold(network), FloatLayers(dtype)), dtype)


def blockwise_engine(
    blockwise: Blockwise, dtype: torch.dtype, quantisation: Quantisation | None = None
) -> Engine:
    """Make the engine of a network in blocks; it runs the sections of a batch one by one."""

    def run(batch: Normalised) -> Probability:
        with torch.inference_mode():
            sections = torch.from_numpy(batch)
            if len(sections) == 1:
                return blockwise(sections[0])[None].numpy()
            return torch.stack([blockwise(section) for section in sections]).numpy()

    bytes_per_px = blockwise.bytes_per_px
    cpu = torch.device("cpu")
    return Engine("torch", cpu, dtype, run, bytes_per_px, WORK_BYTES, quantisation)
