"""Find weights without torch: shipped ones by name, a file, or the folder of a training run."""

from pathlib import Path

from sfseg.config import CONFIG_NAME
from sfseg.errors import CheckpointError, UnknownNameError

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
SUFFIX = ".safetensors"

WEIGHTS_NAME = f"weights{SUFFIX}"
"""Name of the weights file in the folder of a training run."""


def shipped_weights() -> dict[str, Path]:
    """Return the files of the shipped weights, by name."""
    return {path.stem: path for path in sorted(WEIGHTS_FOLDER.glob(f"*{SUFFIX}"))}


def find_weights(name: str) -> Path:
    """Find a weights file by its shipped name or its path.

    Raises
    ------
    UnknownNameError
        If there is neither.
    CheckpointError
        If the path cannot be weights: a folder without them, a pipe, a device.
    """
    shipped = shipped_weights()
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if path.is_dir() and (path / WEIGHTS_NAME).is_file():
        return path / WEIGHTS_NAME
    if path.is_file():
        return path
    if path.is_dir() and (path / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"{path}: the training there has not written {WEIGHTS_NAME} yet",
            hint=f"wait for its first epoch; if it was stopped: sfseg train --resume --out {path}",
        )
    if path.exists():
        kind = f"a folder without {WEIGHTS_NAME}" if path.is_dir() else "a pipe or a device"
        raise CheckpointError(
            f"{path}: this is {kind}, not weights",
            hint=f"give a weights file, or the folder where sfseg train wrote {WEIGHTS_NAME}",
        )
    raise UnknownNameError.from_known("model or weights file", name, shipped)
