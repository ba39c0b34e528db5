"""What a training runs with: every name in its configuration, resolved once."""

from dataclasses import dataclass, fields

import torch

from sfseg import models
from sfseg.config import LABEL_OPTIONS, LabelFormat, TrainConfig
from sfseg.datasets import registry
from sfseg.datasets.dataset import Dataset
from sfseg.errors import OptionError
from sfseg.models.weights import WeightsFile, open_weights
from sfseg.recipes import STUDENT
from sfseg.system import compiler, devices, torchrun
from sfseg.training.distributed import own_device


@dataclass(frozen=True)
class TrainSetup:
    """A configuration whose options fit together, with its names resolved.

    Attributes
    ----------
    config : TrainConfig
        The configuration.
    device : torch.device
        Where this process trains.
    dtype : torch.dtype
        Arithmetic of the convolutions.
    dataset : Dataset or None
        The dataset; None for the user's own files.
    init : WeightsFile or None
        The weights to start from; None = random weights.
    teachers : tuple of WeightsFile
        The teachers, in the order of ``config.teachers``.
    """

    config: TrainConfig
    device: torch.device
    dtype: torch.dtype
    dataset: Dataset | None
    init: WeightsFile | None
    teachers: tuple[WeightsFile, ...]

    @classmethod
    def from_config(cls, config: TrainConfig) -> "TrainSetup":
        """Check a configuration and resolve its names; reads the headers of weights, no data.

        Raises
        ------
        DeviceError
            If the device is missing, or lacks bf16 or a compiler that the options ask for.
        OptionError
            If the options do not fit together.
        UnknownNameError
            If there is no such dataset, architecture or weights.
        CheckpointError
            If a file of weights cannot be used.
        """
        device = own_device(devices.pick_device(config.device))
        _require_one_source(config)
        dataset = registry.find(config.dataset_name) if config.dataset_name else None
        if config.compile:
            _require_compilable()
        models.require(config.arch)
        if config.recipe.is_a(STUDENT) and not config.teachers:
            raise OptionError(
                f"recipe {config.recipe.name}: needs teachers",
                hint="add --teacher WEIGHTS, or use --recipe default, which needs labels only",
            )
        return cls(
            config,
            device,
            devices.pick_dtype(config.precision, device),
            dataset,
            _open_init(config),
            tuple(open_weights(name) for name in config.teachers),
        )


def _require_one_source(config: TrainConfig) -> None:
    """Refuse a dataset together with the user's own files or with a kind of labels."""
    own = config.images or config.labels
    if config.dataset and own:
        raise OptionError(
            f"training data: both the dataset {config.dataset} and {own} are named",
            hint="leave --dataset out to train on --images and --labels",
        )
    for field in fields(LabelFormat):
        name = LABEL_OPTIONS[field.name]
        if config.dataset_name and getattr(config.label_format, field.name) != field.default:
            raise OptionError(
                f"{name} only works with --images and --labels: the labels of "
                f"{config.dataset_name} are known",
                hint=f"leave {name} out, or name --images and --labels",
            )


def _require_compilable() -> None:
    compiler.require_compiler("leave --compile out")
    if (processes := torchrun.processes()) > 1:
        raise OptionError(
            f"--compile only works with one process, not with {processes}",
            hint="leave --compile out",
        )


def _open_init(config: TrainConfig) -> WeightsFile | None:
    """Open the weights to start from; refuse another architecture."""
    if config.init is None:
        return None
    weights = open_weights(config.init)
    arch = weights.header.arch
    if arch != config.arch:
        raise OptionError(
            f"{config.init}: these are weights of {arch}, not of {config.arch}",
            hint=f"leave --arch out, or use --arch {arch}",
        )
    return weights
