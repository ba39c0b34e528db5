"""What a prediction is known by: its identity, and the record beside its output."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sfseg import __version__
from sfseg.config import PredictConfig
from sfseg.identity import differences
from sfseg.io import Stack, hash_input
from sfseg.prediction.engines import Engine
from sfseg.prediction.resumable import record_path
from sfseg.prediction.tile_writer import output_dtype
from sfseg.system.devices import describe, dtype_name
from sfseg.types import voxel_as_json

SCHEMA = 1

_NEEDED = {"schema", "identity", "output", "pieces", "interior_share", "blank_sections"}


def identity(
    source: str,
    stack: Stack,
    config: PredictConfig,
    engine: Engine,
    *,
    limit_px: int,
    weights_sha256: str,
) -> dict[str, Any]:
    """Tell all that the pixels of an output follow from.

    Parameters
    ----------
    source : str
        The input, as the person gave it.
    stack : Stack
        The open input.
    config : PredictConfig
        How it is predicted.
    engine : Engine
        What runs the network.
    limit_px : int
        Pixels of a tile with its halo.
    weights_sha256 : str
        Of the file of the weights.

    Returns
    -------
    dict
        As JSON can hold it. What is ``resolved`` follows from the machine: a run that goes on with
        another takes what that one took.
    """
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
    if config.close_gaps:
        options["close_gaps"] = True
    if config.output != "probability":
        options["threshold"] = config.threshold
    return {
        "input": {"sha256": hash_input(source), "shape": stack.shape, "dtype": str(stack.dtype)},
        "weights": {"sha256": weights_sha256},
        "options": options,
        "versions": _versions(engine),
        "resolved": {
            "engine": engine.name,
            "dtype": dtype_name(engine.dtype),
            "device": str(engine.device),
            "limit_px": limit_px,
        },
    }


def _versions(engine: Engine) -> dict[str, str]:
    packages = ["torch", "numpy"] + ["openvino"] * (engine.name == "openvino")
    return {"sfseg": __version__, **{name: metadata.version(name) for name in packages}}


def record(
    identity: Mapping[str, Any],
    source: str,
    stack: Stack,
    config: PredictConfig,
    engine: Engine,
    facts: Mapping[str, Any],
) -> str:
    """Write the record of a finished output, as JSON: what it was made of, how, and how fast.

    Parameters
    ----------
    identity : mapping
        See `identity`.
    source, stack, config, engine
        What went in.
    facts : mapping
        Timings and what was found, as JSON can hold it.

    Returns
    -------
    str
        The text of the file.
    """
    content = {
        "schema": SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": {
            "source": str(Path(source)),
            "description": stack.describe(),
            "voxel_size_nm": voxel_as_json(stack.voxel_size_nm),
        },
        "model": config.model,
        "device": describe(engine.device, engine.dtype, engine.name),
        **facts,
        "identity": identity,
    }
    return json.dumps(content, indent=2) + "\n"


def read_record(output: Path) -> dict[str, Any] | None:
    """Read the record beside an output; None where there is none that can be read."""
    try:
        found = json.loads(record_path(output).read_text())
    except (OSError, ValueError):
        return None
    is_record = isinstance(found, dict) and found.keys() >= _NEEDED and found["schema"] == SCHEMA
    return found if is_record and isinstance(found["identity"], dict) else None


def differences_of(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name what differs between a record and the wanted identity; nothing where it is the same."""
    return differences(found["identity"], json.loads(json.dumps(wanted)))
