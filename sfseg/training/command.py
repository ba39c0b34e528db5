"""The command that trains as a configuration says, for hints that can be followed."""

import os
import shlex
import sys
from dataclasses import fields
from pathlib import Path

from sfseg.config import TrainConfig
from sfseg.recipes import DEFAULT, RECIPES, find_recipe

_OPTIONS = {
    "dataset": "--dataset",
    "data_dir": "--data-dir",
    "images": "--images",
    "labels": "--labels",
    "labels_are": "--labels-are",
    "sections": "--sections",
    "validation": "--validation",
    "axes": "--axes",
    "unlabelled": "--unlabelled",
    "seed": "--seed",
    "precision": "--precision",
}
_RECIPE_OPTIONS = {
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "patch_px": "--patch",
    "learning_rate": "--learning-rate",
    "augmentation": "--augmentation",
}


def command_for_more_epochs(config: TrainConfig) -> str:
    """Write the command that trains the weights of a run once more, with the same recipe.

    Parameters
    ----------
    config : TrainConfig
        The run; its folder holds weights.

    Returns
    -------
    str
        Starts from these weights, and writes to another folder.
    """
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    named, _, _ = config.recipe.name.partition(",")
    base = named if named in RECIPES else DEFAULT.name  # a recipe made in Python has no option
    words = ["sfseg", "train", "--init", str(config.out), "--recipe", base]
    for name, option in _OPTIONS.items():
        if (value := getattr(config, name)) != defaults[name]:
            words += [option, str(value)]
    for teacher in config.teachers:
        words += ["--teacher", teacher]
    usual = find_recipe(base)
    for name, option in _RECIPE_OPTIONS.items():
        if (value := getattr(config.recipe, name)) != getattr(usual, name):
            words += [option, str(value)]
    return shlex.join([*words, "--out", f"{config.out}-more"])


def command_to_resume(command: str, out: Path) -> str:
    """Write the command that resumes the run in a folder."""
    name = Path(sys.argv[0]).name
    program = ["python", "-m", "sfseg"] if name == "__main__.py" else ["sfseg"]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        nodes, processes = os.environ["GROUP_WORLD_SIZE"], os.environ["LOCAL_WORLD_SIZE"]
        program = ["torchrun", *["--nnodes", nodes] * (nodes != "1")]
        program += ["--nproc-per-node", processes, "-m", "sfseg"]
    return shlex.join([*program, command, "--resume", "--out", str(out)])
