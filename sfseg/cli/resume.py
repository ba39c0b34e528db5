"""What --resume needs: the options of the run in a folder, and those of the command line."""

import dataclasses
from pathlib import Path
from typing import Any

import typer

from sfseg.config import CONFIG_NAME, Config, TrainConfig, from_json
from sfseg.errors import CheckpointError
from sfseg.recipes import find_recipe
from sfseg.system import files


def read_asked(path: Path, kind: type[Config]) -> Config | None:
    """Read the configuration of the run that is to be resumed.

    Returns
    -------
    TrainConfig or CompareConfig or None
        None if an older version wrote the file, which did not keep it.

    Raises
    ------
    CheckpointError
        If there is no run, or the file is damaged.
    """
    try:
        kept = files.read_json(path)
        return from_json(kind, kept["asked"]) if "asked" in kept else None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{path.parent}: there is no run to resume, {path.name} is missing",
            hint="correct --out, or leave --resume out to start a new run",
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: the file is damaged or not from sfseg",
            hint="start a new run in another --out",
        ) from error


def resumed_config(
    out: Path, given: dict[str, Any], recipe: str | None, changes: dict[str, Any]
) -> TrainConfig:
    """Read what the training run in a folder was asked for, and change what is given beside it.

    Whether that can be resumed is for the training to say, which compares it with the state.

    Raises
    ------
    CheckpointError
        If there is no training run in the folder, or its record is damaged.
    UnknownNameError, OptionError
        If an option that is given is not possible.
    """
    asked = read_asked(out / CONFIG_NAME, TrainConfig) or TrainConfig(out)
    if recipe:
        again = find_recipe(recipe).changed(**changes)
    else:
        again = asked.recipe.changed(
            **{k: v for k, v in changes.items() if v != getattr(asked.recipe, k)}
        )
    return dataclasses.replace(asked, **given | {"out": out, "recipe": again, "resume": True})


def is_given(ctx: typer.Context, name: str) -> bool:
    """Tell whether a parameter is on the command line, be it with its default value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
