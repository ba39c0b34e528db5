"""Where a training starts: random weights, or those of another training."""

from collections.abc import Iterator

from torch import nn

from sfseg import io, models
from sfseg.models.weights import WEIGHTS_NAME, find_weights, load_weights
from sfseg.training.data import TrainingData
from sfseg.training.run_setup import RunSetup
from sfseg.types import same_scale


def start_network(setup: RunSetup) -> nn.Module:
    """Make the network that a training begins with: on the CPU, float32.

    Raises
    ------
    UnknownNameError, CheckpointError
        If the weights to start from cannot be used.
    """
    config = setup.config
    return (
        load_weights(config.init)[0] if config.init else models.build(config.arch, seed=config.seed)
    )


def identify_weights(name: str) -> dict[str, str]:
    """Return the name and the SHA-256 of weights.

    Raises
    ------
    UnknownNameError
        If there are none.
    """
    path = find_weights(name).resolve()
    # All trainings call their weights alike; the folder tells them apart.
    shown = f"{path.parent.name}/{path.name}" if path.name == WEIGHTS_NAME else path.stem
    return {"weights": shown, "sha256": io.hash_input(path)}


def origin_warnings(setup: RunSetup, data: TrainingData) -> Iterator[str]:
    """Say what does not fit between the weights that a training uses and what it trains.

    Parameters
    ----------
    setup : RunSetup
        With the headers of the weights to start from and of the teachers.
    data : TrainingData
        With the voxel size and the held-out sections.

    Yields
    ------
    str
        One warning.
    """
    if data.validation:
        yield from _leak_warnings(setup)
    config, header = setup.config, setup.init
    if header is None:
        return
    ours, theirs = data.voxel_size_nm, header.voxel_size_nm
    if ours and theirs and not same_scale(ours, theirs):
        yield (
            f"pixels of {ours[2]:g} nm, but {config.init} was trained on {theirs[2]:g} nm:"
            " resample the images, or expect to train for longer"
        )
    if header.input_px != config.recipe.input_px:
        yield (
            f"{config.init} was trained on {_input(header.input_px)}, "
            f"the recipe {config.recipe.name} takes {_input(config.recipe.input_px)}"
        )


def _leak_warnings(setup: RunSetup) -> Iterator[str]:
    """Warn of weights that may have learnt from the held-out sections."""
    config = setup.config
    used = [(config.init, setup.init), *zip(config.teachers, setup.teachers, strict=True)]
    for name, header in used:
        if header and setup.dataset and header.data.startswith(f"{setup.dataset.name}:"):
            yield (
                f"{name} was trained on {header.data}: the scores of held-out sections that are "
                "among them do not hold for new sections"
            )


def _input(input_px: int | None) -> str:
    return f"sections resized to {input_px}x{input_px}" if input_px else "sections of native size"
