"""Where a training run starts: random weights, or those of another one."""

from collections.abc import Iterator

from torch import nn

from sfseg import io, models
from sfseg.models.weights import WEIGHTS_NAME, WeightsFile
from sfseg.training.data import TrainingData
from sfseg.training.run_setup import TrainSetup


def start_network(setup: TrainSetup) -> nn.Module:
    """Make the network that a training run begins with: on the CPU, float32.

    Raises
    ------
    CheckpointError
        If the weights to start from cannot be used.
    """
    if setup.init:
        return setup.init.load()
    return models.build(setup.config.arch, seed=setup.config.seed)


def identify_weights(weights: WeightsFile) -> dict[str, str]:
    """Return the name and the SHA-256 of weights."""
    path = weights.path.resolve()
    # The weights of all training runs have the same name, so their folder is named, too.
    shown = f"{path.parent.name}/{path.name}" if path.name == WEIGHTS_NAME else path.stem
    return {"weights": shown, "sha256": io.hash_input(path)}


def origin_warnings(setup: TrainSetup, data: TrainingData) -> Iterator[str]:
    """Warn if the weights that a training run uses do not fit its data or its recipe.

    Parameters
    ----------
    setup : TrainSetup
        Has the weights to start from and those of the teachers.
    data : TrainingData
        Has the voxel size and the held-out sections.

    Yields
    ------
    str
        One warning.
    """
    if data.validation:
        yield from _leak_warnings(setup)
    if setup.init is None:
        return
    config, header = setup.config, setup.init.header
    if header.input_px != config.recipe.input_px:
        yield (
            f"{config.init} was trained on {_input(header.input_px)}, "
            f"the recipe {config.recipe.name} takes {_input(config.recipe.input_px)}"
        )


def _leak_warnings(setup: TrainSetup) -> Iterator[str]:
    """Warn of weights that may have learnt from the held-out sections."""
    for weights in (setup.init, *setup.teachers):
        if weights and setup.dataset and weights.header.data.startswith(f"{setup.dataset.name}:"):
            yield (
                f"{weights.name} was trained on {weights.header.data}: the scores of held-out "
                "sections that are among them do not hold for new sections"
            )


def _input(input_px: int | None) -> str:
    return f"sections resized to {input_px}x{input_px}" if input_px else "sections of native size"
