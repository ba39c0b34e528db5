"""Read and write weights: safetensors with a JSON header; nothing is ever unpickled."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sfseg import models
from sfseg.models.header import NORMALISATION, Header, parse_header
from sfseg.models.safetensors_file import TensorFile, open_tensors, write_tensors
from sfseg.models.weights_files import SUFFIX, WEIGHTS_FOLDER, WEIGHTS_NAME, find_weights
from sfseg.types import voxel_as_json

__all__ = [
    "NORMALISATION",
    "SUFFIX",
    "WEIGHTS_FOLDER",
    "WEIGHTS_NAME",
    "Header",
    "WeightsFile",
    "find_weights",
    "load_header",
    "load_weights",
    "open_weights",
    "save_weights",
    "write_tensors",
]


@dataclass(frozen=True)
class WeightsFile:
    """A weights file whose header is checked, and whose tensors are not read yet.

    Attributes
    ----------
    name : str
        The name by which it was found.
    header : Header
        Its header.
    file : TensorFile
        The file.
    """

    name: str
    header: Header
    file: TensorFile

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.file.path

    def load(self) -> nn.Module:
        """Load the network: in evaluation mode, float32, on the CPU.

        Raises
        ------
        CheckpointError
            If the tensors are not those of the architecture, or cannot be read.
        """
        arch = self.header.arch
        with torch.device("meta"):  # shapes only: initial weights would be drawn for nothing
            network = models.build(arch)
        self.file.require_like(network.state_dict(), arch)
        # A copy also where it is float32: a tensor of the file may be a view of the file.
        tensors = {
            name: tensor.to(torch.float32 if tensor.is_floating_point() else None, copy=True)
            for name, tensor in self.file.read().items()
        }
        network.load_state_dict(tensors, assign=True)
        return network.eval()


def save_weights(path: Path, network: nn.Module, header: Header, *, half: bool = False) -> None:
    """Write the weights of a network, whole or not at all, and replace an existing file.

    Parameters
    ----------
    path : Path
        The file.
    network : torch.nn.Module
        The network; its parameters and buffers are written.
    header : Header
        Their description.
    half : bool
        Whether to write kernels as float16; all else stays float32.
    """
    tensors = {
        name: tensor.half() if half and tensor.ndim > 1 else tensor
        for name, tensor in network.state_dict().items()
    }
    voxel_size = voxel_as_json(header.voxel_size_nm)
    write_tensors(path, tensors, {**dataclasses.asdict(header), "voxel_size_nm": voxel_size})


def load_weights(name: str) -> tuple[nn.Module, Header]:
    """Load a network and its header.

    Parameters
    ----------
    name : str
        Name of shipped weights, or the path of a weights file or of the folder of a training run.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode, float32, on the CPU.
    header : Header
        The header of the file.

    Raises
    ------
    UnknownNameError
        If it is neither a shipped name nor an existing path.
    CheckpointError
        If the file cannot be used as weights.
    """
    file = open_weights(name)
    return file.load(), file.header


def load_header(name: str) -> Header:
    """Read the header of a weights file, and no weights; raises as `open_weights` does."""
    return open_weights(name).header


def open_weights(name: str) -> WeightsFile:
    """Find a weights file, and read and check its header.

    Parameters
    ----------
    name : str
        As for `load_weights`.

    Returns
    -------
    WeightsFile
        The file.

    Raises
    ------
    UnknownNameError, CheckpointError
        As `load_weights` does, as far as the header shows it.
    """
    file = open_tensors(find_weights(name))
    return WeightsFile(name, parse_header(file.path, file.header), file)
