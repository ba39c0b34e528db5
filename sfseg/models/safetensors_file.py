"""Read and write safetensors files. The header is checked first, and nothing is unpickled.

A file begins with the length of its header (8 bytes, little-endian) and the header, which is JSON.
It holds type, shape and place of the bytes of each tensor. ``__metadata__`` holds texts; the one
under ``sfseg`` is our own JSON header.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfseg.errors import CheckpointError, OutputError
from sfseg.system import files

HEADER_BYTES = 8 * 2**20
"""The largest header that is read; a state reaches it after about ten thousand epochs."""

_TENSORS = 10_000  # the state of the optimiser of the largest network has 1,500
_BRACKETS = 200_000  # in JSON: each may become an object of 64 bytes or more
_DIMENSIONS = 8
_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
_PICKLES = {
    b"PK": "a zip archive, as torch.save writes it",
    b"\x80": "a pickle",
    b"\x93NUMPY": "a numpy array",
    b"\x1f\x8b": "packed by gzip, as joblib writes it",
    b"x": "packed by zlib, as joblib writes it",
    b"BZ": "packed by bzip2, as joblib writes it",
    b"\xfd7zXZ": "packed by xz, as joblib writes it",
}
_TEXT_PICKLES = (b"(", b"]", b"}", b"c", b"I")  # a pickle of protocol 0 or 1 ends in a dot
_CONVERT = (
    "nothing is ever unpickled, because a pickle can run code. If you trust the file, load it with "
    "torch into sfseg.models.build(ARCH). Write that with save_weights(PATH, NETWORK, "
    "Header(ARCH, RECIPE)); both are in sfseg.models.weights"
)
_OURS = "use a file that sfseg train wrote"


@dataclass(frozen=True)
class TensorFile:
    """The checked header of a safetensors file.

    Attributes
    ----------
    path : Path
        The file.
    header : dict
        Our own JSON header.
    shapes : dict of str to tuple of int
        Shape of each tensor.
    dtypes : dict of str to torch.dtype
        Type of each tensor.
    """

    path: Path
    header: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, torch.dtype]

    def require_like(self, expected: Mapping[str, Tensor], whose: str) -> None:
        """Refuse other tensors than expected; floating types count as equal.

        Parameters
        ----------
        expected : mapping of str to Tensor
            Tensors with the right names and shapes.
        whose : str
            Their owner, for the message.

        Raises
        ------
        CheckpointError
            If a name, a shape or a kind of number differs; the message has the first one.
        """
        for name in sorted(expected.keys() | self.shapes.keys()):
            if name not in self.shapes or name not in expected:
                found = f"{name} is {'missing' if name in expected else 'unknown'}"
            elif self.shapes[name] != tuple(expected[name].shape):
                found = f"{name} is {self.shapes[name]}, not {tuple(expected[name].shape)}"
            elif self.dtypes[name].is_floating_point != expected[name].is_floating_point():
                found = f"{name} is {self.dtypes[name]}, not {expected[name].dtype}"
            else:
                continue
            raise CheckpointError(
                f"{self.path}: these are not the tensors of {whose}: {found}",
                hint="train again, or use a file that sfseg train wrote",
            )

    def read(self) -> dict[str, Tensor]:
        """Read the tensors, to the CPU.

        Raises
        ------
        CheckpointError
            If one holds NaN, infinity or a variance below 0, or cannot be read.
        """
        tensors = {}
        try:
            with safe_open(self.path, framework="pt") as file:
                for name, shape in self.shapes.items():
                    tensors[name] = _require_possible(self.path, name, file.get_tensor(name))
                    if tensors[name].shape != shape:
                        _refuse(self.path, "it was replaced while it was read")
        except SafetensorError as error:
            _refuse(self.path, last_line(error))
        return tensors


def open_tensors(path: Path) -> TensorFile:
    """Read and check the header of a safetensors file, and no tensors.

    Raises
    ------
    CheckpointError
        If the file is damaged, not safetensors, or has no header of sfseg.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: {_describe_no_file(path)}", hint=_OURS)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8 or length > HEADER_BYTES:
            file.seek(max(0, size - 1))
            _refuse_start(path, start, length, file.read(1))
        try:
            entries = parse_json(file.read(length))
        except ValueError as error:
            _refuse(path, f"bad header: {error}")
    metadata = entries.pop("__metadata__", {})
    _require_sound(path, entries, size - 8 - length)
    shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
    dtypes = {name: _TYPES[entry["dtype"]] for name, entry in entries.items()}
    return TensorFile(path, _own_header(path, metadata), shapes, dtypes)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write_tensors` wrote.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU.
    header : dict
        The JSON header.

    Raises
    ------
    CheckpointError
        As `open_tensors` and `TensorFile.read` do.
    """
    file = open_tensors(path)
    return file.read(), file.header


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors, whole or not at all.

    Parameters
    ----------
    path : Path
        The file. An existing file is replaced only when the new one is complete on disk.
    tensors : mapping of str to Tensor
        On any device, in any memory layout.
    header : mapping
        The JSON header.

    Raises
    ------
    OutputError
        If the disk is full or fails, or you may not write there.
    """
    # Contiguous: safetensors writes memory in its order, and channels_last has another one.
    laid_out = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"sfseg": json.dumps(header, allow_nan=False)}
    # Written from the memory of the tensors, because a state may have a gigabyte. In a folder of
    # its own, because safetensors first writes a file of another name beside the given one.
    staging = files.sibling(path, "part")
    with files.explain_errors(path), files.ensure_parent(path):
        files.remove(staging)
        staging.mkdir()
        try:
            save_file(laid_out, staging / path.name, metadata)
            # Safetensors makes it private; this is the mode that every new file gets here.
            (staging / path.name).chmod(staging.stat().st_mode & 0o666)
            files.sync(staging / path.name)
            files.publish(staging / path.name, path, overwrite=True)
        except SafetensorError as error:
            raise _explain_write(path, laid_out, error) from error
        finally:
            files.remove(staging)


def _explain_write(
    path: Path, tensors: Mapping[str, Tensor], error: SafetensorError
) -> OutputError:
    """Say why a write failed, how much space it needs, and how much there is."""
    needed = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
    free = shutil.disk_usage(path.parent).free / 1e6
    return OutputError(
        f"{path}: cannot be written: needs {needed:.1f} MB, {free:.1f} MB are free: "
        f"{last_line(error)}",
        hint="free some space or repair the disk" + "; the old file is kept" * path.exists(),
    )


def parse_json(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object that may be hostile.

    Raises
    ------
    ValueError
        If it is not a JSON object, is nested too deep or too large, or has a key twice or NaN.
    """
    curly, square = ("{", "[") if isinstance(text, str) else (b"{", b"[")
    if text.count(curly) + text.count(square) > _BRACKETS:  # type: ignore[arg-type]
        raise ValueError(f"more than {_BRACKETS:,} brackets")
    try:
        parsed = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("brackets nested too deep") from None
    if not isinstance(parsed, dict):
        raise ValueError("JSON of another kind")  # noqa: TRY004 - no caller's type is wrong
    return parsed


def last_line(error: BaseException) -> str:
    """Return the last line of the message of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key twice in one object")
    return found


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} for a number")


def _require_sound(path: Path, entries: Mapping[str, Any], data_bytes: int) -> None:
    """Refuse tensors of a wrong size, or that do not fill the file without gap or overlap."""
    if len(entries) > _TENSORS:
        _refuse(path, f"{len(entries):,} tensors are too many")
    for name, entry in entries.items():
        if not _is_sound(entry):
            _refuse(path, f"{_short(name)} has an unknown type, or its shape and size disagree")
    end = 0
    for begin, after in sorted(entry["data_offsets"] for entry in entries.values()):
        if begin != end:
            _refuse(path, f"the tensors {'overlap' if begin < end else 'leave a hole'}")
        end = after
    if end != data_bytes:
        _refuse(path, f"it has {data_bytes:,} bytes of tensors instead of {end:,}")


def _is_sound(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return False
    kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        return False
    if not _are_counts(shape) or not _are_counts(place) or len(place) != 2:
        return False
    return bool(place[1] - place[0] == math.prod(shape) * _TYPES[kind].itemsize)


def _are_counts(numbers: object) -> bool:
    """Tell whether these are few whole numbers from 0 to 2**63; True does not count as one."""
    return (
        isinstance(numbers, list)
        and len(numbers) <= _DIMENSIONS
        and all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    )


def _own_header(path: Path, metadata: object) -> dict[str, Any]:
    """Parse our own header out of the metadata."""
    text = metadata.get("sfseg") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            f"{path}: not written by sfseg: it has no header of sfseg", hint=_OURS
        )
    try:
        return parse_json(text)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: the header of sfseg is damaged: {_short(str(error))}", hint=_OURS
        ) from error


def _require_possible(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(
            f"{path}: there is NaN or infinity in {name}",
            hint="train again with --precision float32, or a lower --learning-rate",
        )
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise CheckpointError(f"{path}: there is a negative variance in {name}", hint=_OURS)
    return tensor


def _refuse(path: Path, damage: str) -> NoReturn:
    raise CheckpointError(f"{path}: not a valid safetensors file: {damage}", hint=_OURS)


def _refuse_start(path: Path, start: bytes, length: int, last: bytes) -> NoReturn:
    """Refuse a file that does not begin like safetensors, and say what it is."""
    found = next((kind for magic, kind in _PICKLES.items() if start.startswith(magic)), None)
    if found is None and last == b"." and start.startswith(_TEXT_PICKLES):
        found = "a pickle"
    if found is not None:
        raise CheckpointError(f"{path}: not a safetensors file but {found}", hint=_CONVERT)
    if not start:
        raise CheckpointError(f"{path}: the file is empty", hint=_OURS)
    _refuse(path, f"a header of {length:,} bytes" if len(start) == 8 else "the file is cut short")


def _describe_no_file(path: Path) -> str:
    """Say what a path is, if it is not a file."""
    if path.is_dir():
        return "this is a folder, not a file of weights"
    return "this is a pipe or a device" if path.exists() else "does not exist"


def _short(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:60]}...")
