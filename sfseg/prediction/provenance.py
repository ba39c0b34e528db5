"""The record beside an output: the identity of the prediction, and facts about it."""

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
from sfseg.prediction.engines import Engine
from sfseg.prediction.resumable import is_unfinished, record_path
from sfseg.prediction.tile_writer import output_dtype
from sfseg.system.devices import describe
from sfseg.system.files import refuse_existing
from sfseg.types import voxel_as_json

SCHEMA = 1

_NEEDED = {"schema", "identity", "output", "pieces", "interior_share", "blank_sections"}


def identity(
    stack: Stack,
    config: PredictConfig,
    resolved: Mapping[str, Any],
    *,
    weights_sha256: str,
) -> dict[str, Any]:
    """Gather all that the pixels of an output depend on.

    Parameters
    ----------
    stack : Stack
        The open input.
    config : PredictConfig
        How it is predicted.
    resolved : mapping
        What depends on the machine; see `sfseg.prediction.model.Model.resolve`. A resumed run
        takes what the first run took.
    weights_sha256 : str
        SHA-256 of the weights file.

    Returns
    -------
    dict
        As JSON can hold it.
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
        "input": {"sha256": stack.sha256(), "shape": stack.shape, "dtype": str(stack.dtype)},
        "weights": {"sha256": weights_sha256},
        "options": options,
        "versions": _versions(resolved["engine"]),
        "resolved": dict(resolved),
    }


def _versions(engine_name: str) -> dict[str, str]:
    packages = ["torch", "numpy"] + ["openvino"] * (engine_name == "openvino")
    return {"sfseg": __version__, **{name: metadata.version(name) for name in packages}}


def record(
    identity: Mapping[str, Any],
    stack: Stack,
    config: PredictConfig,
    engine: Engine,
    facts: Mapping[str, Any],
) -> str:
    """Write the record of a finished output, as JSON: from what, how, and how fast it was made.

    Parameters
    ----------
    identity : mapping
        See `identity`.
    stack, config, engine
        The input, how it was predicted, and what ran the network.
    facts : mapping
        Timings and findings, as JSON can hold them.

    Returns
    -------
    str
        The text of the file.
    """
    content = {
        "schema": SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": {
            "source": str(Path(stack.name)),
            "description": stack.describe(),
            "voxel_size_nm": voxel_as_json(stack.voxel_size_nm),
        },
        "model": config.model,
        "device": describe(engine.device, engine.dtype, engine.name),
        **facts,
        "identity": identity,
    }
    return json.dumps(content, indent=2) + "\n"


def find_record(output: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """Read the record beside an output, and refuse a file of its name that is no record.

    Returns
    -------
    dict or None
        The record; None if there is none.

    Raises
    ------
    OutputExistsError
        If the name of the record is taken by a folder; or by a file that is no record of sfseg,
        unless `overwrite` is True.
    OutputError
        If the name is too long, or the system cannot tell whether it is taken.
    """
    found = read_record(output)
    if found is None:
        refuse_existing(record_path(output), overwrite=overwrite)
    return found


def read_record(output: Path) -> dict[str, Any] | None:
    """Read the record beside an output; None if there is none that can be read."""
    try:
        found = json.loads(record_path(output).read_text())
    except (OSError, ValueError):
        return None
    is_record = isinstance(found, dict) and found.keys() >= _NEEDED and found["schema"] == SCHEMA
    return found if is_record and isinstance(found["identity"], dict) else None


def is_up_to_date(
    record: Mapping[str, Any], output: Path, identity: Mapping[str, Any], *, overwrite: bool
) -> bool:
    """Tell whether an output exists, is finished, and is what is wanted now.

    Parameters
    ----------
    record : mapping
        The record beside the output.
    output : Path
        The output, which may not exist.
    identity : mapping
        What is wanted; see `identity`.
    overwrite : bool
        Whether another output may be replaced.

    Returns
    -------
    bool
        False if it is missing, unfinished, or another one that may be replaced.

    Raises
    ------
    ResumeError
        If it is another one and `overwrite` is False.
    """
    if not output.exists() or is_unfinished(output):
        return False
    problem = None
    if lines := differences_of(record, identity):
        problem = "was made with other input or options:\n" + "\n".join(lines)
    elif record["output"] and record["output"] != {"sha256": hash_input(output)}:
        problem = "has changed since it was made: its record names other pixels"
    if problem is None:
        return True
    if overwrite:
        return False
    raise ResumeError(
        f"{output}: {problem}", hint="give another name, or --overwrite to replace it"
    )


def differences_of(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name what differs between a record and the wanted identity; nothing if they agree."""
    return differences(found["identity"], json.loads(json.dumps(wanted)))
