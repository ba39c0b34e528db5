"""Weights on disk: safetensors with a JSON header; nothing is ever unpickled."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sfseg import __version__, files, models
from sfseg.errors import CheckpointError, UnknownNameError
from sfseg.terms import VoxelSize, voxel_as_json

SCHEMA = 1
"""Number of the header's layout; a loader stays for each past one."""

NORMALISATION = "section"
"""The one way to normalise: `sfseg.normalise.standardise`."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"
WEIGHTS_NAME = f"weights{SUFFIX}"
"""What the weights are called in the folder of a training."""


@dataclass(frozen=True)
class Header:
    """What weights say of themselves.

    Attributes
    ----------
    arch, recipe : str
        Names of the architecture and of the recipe.
    input_px : int or None
        Side of the square to which sections are resized for the network; None = native size.
    normalisation : str
        Grey values are standardised section by section.
    voxel_size_nm : tuple of float or None
        (z, y, x) of the training data.
    data : str
        What it was trained on, sections included.
    scores : mapping of str to float
        Validation scores, before the kernels were rounded to float16 where they were.
    training : mapping
        Seed, epoch and the rest of the resolved configuration.
    version : str
        Version of sfseg that wrote them.
    schema : int
        Number of this layout.
    """

    arch: str
    recipe: str
    input_px: int | None = None
    normalisation: str = NORMALISATION
    voxel_size_nm: VoxelSize | None = None
    data: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    schema: int = SCHEMA


def save_weights(path: Path, network: nn.Module, header: Header, *, half: bool = False) -> None:
    """Write the weights of a network, whole or not at all; an existing file is replaced.

    Parameters
    ----------
    path : Path
        Where to.
    network : torch.nn.Module
        Whose parameters and buffers are written.
    header : Header
        What they are.
    half : bool
        Write the kernels as float16; normalisation statistics stay float32.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        kernel = half and tensor.ndim > 1
        # Contiguous: safetensors writes memory as it lies, and channels_last lies otherwise.
        tensors[name] = tensor.detach().cpu().to(torch.float16 if kernel else tensor.dtype)
        tensors[name] = tensors[name].contiguous()
    voxel_size = voxel_as_json(header.voxel_size_nm)
    write_tensors(path, tensors, {**dataclasses.asdict(header), "voxel_size_nm": voxel_size})


def load_weights(name: str) -> tuple[nn.Module, Header]:
    """Load a network and its header.

    Parameters
    ----------
    name : str
        Name of shipped weights, or the path of a weights file or of a training's folder.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode, float32, on the CPU.
    header : Header
        What the weights say of themselves.

    Raises
    ------
    UnknownNameError
        If it is neither a shipped name nor an existing file.
    CheckpointError
        If the file is not usable weights.
    """
    path = find_weights(name)
    tensors, raw = read_tensors(path)
    header = _parse_header(path, raw)
    network = models.build(header.arch)
    try:
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
        )
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: expected the tensors of {header.arch}, found others: {last_line(error)}",
            hint="train again, or use a file that sfseg train wrote",
        ) from error
    return network.eval(), header


def load_header(name: str) -> Header:
    """Read what weights say of themselves, and not the weights.

    Parameters
    ----------
    name : str
        As for `load_weights`.

    Returns
    -------
    Header
        The header.

    Raises
    ------
    UnknownNameError, CheckpointError
        As `load_weights` does, where the header shows it.
    """
    path = find_weights(name)
    return _parse_header(path, _read(path, with_tensors=False)[1])


def find_weights(name: str) -> Path:
    """Find the file of a shipped name or a path.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    shipped = {path.stem: path for path in WEIGHTS_FOLDER.glob(f"*{SUFFIX}")}
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if path.is_dir() and (path / WEIGHTS_NAME).is_file():
        return path / WEIGHTS_NAME
    if path.is_file():
        return path
    raise UnknownNameError.of("model or a weights file", name, shipped)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors, atomically, replacing an existing file."""
    metadata = {"sfseg": json.dumps(header, allow_nan=False)}
    files.write_bytes(path, save(dict(tensors), metadata), overwrite=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU.
    header : dict
        The JSON header.

    Raises
    ------
    CheckpointError
        If the file is not safetensors, has no header of sfseg, or holds NaN or infinity.
    """
    tensors, header = _read(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{path}: expected finite weights, found NaN or infinity in {name}"
            )
    return tensors, header


def _read(path: Path, *, with_tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors, or none of them, and the header."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("sfseg", "null"))
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except PermissionError:
        raise  # it says itself what is wrong
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors file, found something else: {last_line(error)}",
            hint="pickled .pt and .pth files are never opened: they can run code",
        ) from error
    if not isinstance(header, dict):
        raise CheckpointError(
            f"{path}: expected weights written by sfseg, found no header of it",
            hint="only files that sfseg train wrote can be used",
        )
    return tensors, header


def _parse_header(path: Path, raw: dict[str, Any]) -> Header:
    if raw.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: expected weights with a header of schema {SCHEMA}, "
            f"found {raw.get('schema', 'none')}",
            hint="upgrade sfseg: these weights come from a newer version"
            if "schema" in raw
            else f"the weights of a training are in its {WEIGHTS_NAME}",
        )
    known = {field.name for field in dataclasses.fields(Header)}
    if set(raw) != known:
        raise CheckpointError(
            f"{path}: expected a header of {', '.join(sorted(known))}, "
            f"found {', '.join(sorted(known ^ set(raw)))} missing or unknown",
            hint="only files that sfseg train wrote can be used",
        )
    if raw["arch"] not in models.ARCHITECTURES or raw["normalisation"] != NORMALISATION:
        raise CheckpointError(
            f"{path}: expected a known architecture and normalisation by {NORMALISATION}, "
            f"found {raw['arch']!r} and {raw['normalisation']!r}",
            hint="upgrade sfseg: these weights come from a newer version",
        )
    voxel_size = raw["voxel_size_nm"]
    if voxel_size is not None:
        voxel_size = tuple(nan if length is None else length for length in voxel_size)
    return Header(**{**raw, "voxel_size_nm": voxel_size})


def last_line(error: Exception) -> str:
    """Return what an error of a library says in the end."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
