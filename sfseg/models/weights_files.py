"""Weights files by name: those that ship, a file, or the folder of a training; without torch."""

from pathlib import Path

from sfseg.errors import CheckpointError, UnknownNameError

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
SUFFIX = ".safetensors"

WEIGHTS_NAME = f"weights{SUFFIX}"
"""What the weights are called in the folder of a training."""


def shipped_weights() -> dict[str, Path]:
    """List the weights that ship, by their names."""
    return {path.stem: path for path in sorted(WEIGHTS_FOLDER.glob(f"*{SUFFIX}"))}


def find_weights(name: str) -> Path:
    """Find the file of a shipped name or a path.

    Raises
    ------
    UnknownNameError
        If there is none.
    CheckpointError
        If what is there can be no weights: a folder without them, a pipe, a device.
    """
    shipped = shipped_weights()
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if path.is_dir() and (path / WEIGHTS_NAME).is_file():
        return path / WEIGHTS_NAME
    if path.is_file():
        return path
    if path.exists():
        found = f"a folder without {WEIGHTS_NAME}" if path.is_dir() else "a pipe or a device"
        raise CheckpointError(
            f"{path}: expected weights, or the folder of a training, found {found}",
            hint=f"name a file, or the folder that sfseg train wrote {WEIGHTS_NAME} to",
        )
    raise UnknownNameError.from_known("model or a weights file", name, shipped)
