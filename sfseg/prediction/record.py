"""The record beside an output, ``<name>.json``: what the output depends on, and facts about it.

The module does not import torch, because outputs are checked before torch loads.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sfseg import __version__
from sfseg.config import PredictConfig
from sfseg.errors import ResumeError
from sfseg.identity import differences
from sfseg.io import Stack, hash_input
from sfseg.prediction.destination import find_destination
from sfseg.system import files
from sfseg.system.remote import as_location
from sfseg.transforms.pixel_size import UNKNOWN_PIXELS, PixelChoice
from sfseg.types import voxel_as_json

RECORD_SCHEMA = 1


def find_record(output: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """Read the record beside an output; refuse another file under the name of the record.

    Returns
    -------
    dict or None
        The record; None if there is none.

    Raises
    ------
    OutputExistsError
        If there is a folder of that name; or a file that is not a record of sfseg, unless
        `overwrite` is True.
    OutputError
        If the name is too long, or the system cannot look it up.
    """
    found = read_record(output)
    if found is None:
        find_destination(output).check_record(overwrite=overwrite)
    return found


def read_record(output: Path) -> dict[str, Any] | None:
    """Read the record beside an output; None if there is none that can be read."""
    try:
        found = files.parse_json(find_destination(output).read_record())
    except (OSError, ValueError):
        return None
    match found:
        case {
            "schema": schema,
            "identity": dict(),
            "output": dict() | None,
            "pieces": int(),
            "interior_share": int() | float(),
            "blank_sections": int(),
        } if schema == RECORD_SCHEMA:
            return dict(found)
    return None


def write_record(output: Path, text: str) -> None:
    """Write the record beside an output, and replace an older one."""
    find_destination(output).write_record(text)


def make_identity(
    stack: Stack,
    config: PredictConfig,
    resolved: Mapping[str, Any],
    *,
    input_id: Mapping[str, str | None],
    weights_sha256: str,
    pixels: PixelChoice = UNKNOWN_PIXELS,
) -> dict[str, Any]:
    """Gather everything that the pixels of an output depend on.

    Parameters
    ----------
    stack : Stack
        The open input.
    config : PredictConfig
        How to predict.
    resolved : mapping
        Choices that depend on the machine; see `sfseg.prediction.model.Model.resolve`. A resumed
        run uses those of the first run.
    input_id : mapping
        What tells the input from others: ``sha256``, which may be None until it is known, or
        ``stamp``; see `sfseg.io.hashing`.
    weights_sha256 : str
        SHA-256 of the weights file.
    pixels : PixelChoice
        Whether sections are resampled for the network.

    Returns
    -------
    dict
        In types that JSON can hold.
    """
    from sfseg.prediction.tile_writer import output_dtype

    options: dict[str, Any] = {
        "output": config.output,
        "dtype": str(output_dtype(config)),
        "tta": config.tta,
        "device": config.device,
        "engine": config.engine,
        "precision": config.precision,
        "tile_px": config.tile_px,
        "axes": config.axes,
        "multiscale": config.multiscale,
    }
    if config.planes:
        options["planes"] = True
    if config.close_gaps:
        options["close_gaps"] = True
    if config.invert_image:
        options["invert_image"] = True
    if config.pixel_size is not None:  # the output has it, too
        options["pixel_size_nm"] = config.pixel_size
    if pixels.network_nm is not None:
        options["resampled"] = {"from_nm": pixels.own_nm, "to_nm": pixels.network_nm}
    if config.output != "probability":
        options["threshold"] = config.threshold
    return {
        "input": {**input_id, "shape": stack.shape, "dtype": str(stack.dtype)},
        "weights": {"sha256": weights_sha256},
        "options": options,
        "versions": versions_of(resolved["engine"]),
        "resolved": dict(resolved),
    }


def versions_of(engine_name: str) -> dict[str, str]:
    """Return the versions of the packages that an output of an engine depends on."""
    packages = ["torch", "numpy"] + ["openvino"] * (engine_name == "openvino")
    return {"sfseg": __version__, **{name: metadata.version(name) for name in packages}}


def make_record(
    identity: Mapping[str, Any],
    stack: Stack,
    config: PredictConfig,
    facts: Mapping[str, Any],
) -> str:
    """Make the record of a finished output, as JSON: its input, options, device and timings.

    Parameters
    ----------
    identity : mapping
        See `make_identity`.
    stack, config
        The input and the options.
    facts : mapping
        What ran the network, timings and counts, in types that JSON can hold.

    Returns
    -------
    str
        The text of the file.
    """
    content = {
        "schema": RECORD_SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": {
            "source": str(as_location(stack.name)),
            "description": stack.describe(),
            "voxel_size_nm": voxel_as_json(stack.voxel_size_nm),
        },
        "model": config.model,
        **facts,
        "identity": identity,
    }
    return json.dumps(content, indent=2) + "\n"


def is_up_to_date(
    record: Mapping[str, Any], output: Path, identity: Mapping[str, Any], *, overwrite: bool
) -> bool:
    """Tell whether a finished output has the wanted identity.

    Parameters
    ----------
    record : mapping
        The record beside the output.
    output : Path
        The output, which may not exist.
    identity : mapping
        The wanted identity; see `make_identity`.
    overwrite : bool
        Whether an output of another identity may be replaced.

    Returns
    -------
    bool
        False if the output is missing, or has another identity and may be replaced.

    Raises
    ------
    ResumeError
        If it has another identity and `overwrite` is False.
    """
    if not find_destination(output).exists():
        return False
    problem = None
    if lines := differences_of(record, identity):
        problem = "it was made with other input or options:\n" + "\n".join(lines)
    elif record["output"] and record["output"] != {"sha256": hash_input(output)}:
        problem = "the file has changed since it was made, its hash is not that of its record"
    if problem is None:
        return True
    if overwrite:
        return False
    raise ResumeError(
        f"{output}: {problem}", hint="give another name, or replace it with --overwrite"
    )


def differences_of(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """List the differences between a record and the wanted identity, a line for each."""
    return differences(found["identity"], json.loads(json.dumps(wanted)))
