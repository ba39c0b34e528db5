"""What a comparison runs with: every name in its configuration, resolved once."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from sfseg import models
from sfseg.config import CompareConfig
from sfseg.datasets import registry
from sfseg.datasets.dataset import Dataset
from sfseg.errors import OptionError
from sfseg.recipes import FINETUNE, STUDENT
from sfseg.system import compiler, devices, torchrun


@dataclass(frozen=True)
class CompareSetup:
    """A configuration whose options fit together, with its names resolved.

    Attributes
    ----------
    config : CompareConfig
        The configuration.
    dataset : Dataset
        The dataset.
    device : torch.device
        Where the networks are trained and tested.
    dtype : torch.dtype
        Arithmetic of the convolutions in training.
    """

    config: CompareConfig
    dataset: Dataset
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def from_config(cls, config: CompareConfig) -> "CompareSetup":
        """Check a configuration and resolve its names; reads no data.

        Raises
        ------
        DeviceError
            If the device is missing, or lacks bf16 or a compiler that the options ask for.
        OptionError
            If the recipe needs trained weights, or there are several processes.
        UnknownNameError
            If there is no such dataset or architecture.
        """
        dataset = registry.find(config.dataset)
        device = devices.pick_device(config.device)
        for arch in config.archs:
            models.require(arch)
        if config.compile:
            compiler.require_compiler("leave --compile out")
        if torchrun.processes() > 1:
            raise OptionError(
                f"compare only works with one process, not with {torchrun.processes()} of torchrun",
                hint="run it without torchrun; for several GPUs, run it once on each, with other "
                "--archs and another --out",
            )
        if config.recipe.is_a(FINETUNE) or config.recipe.is_a(STUDENT):
            raise OptionError(
                f"recipe {config.recipe.name}: needs trained weights, so it cannot be compared",
                hint="use --recipe default",
            )
        return cls(config, dataset, device, devices.pick_dtype(config.precision, device))

    @property
    def identity(self) -> dict[str, Any]:
        """All that the runs share, as JSON; architectures and seeds may be added later."""
        config = self.config
        return {
            "dataset": config.dataset,
            "recipe": dataclasses.asdict(config.recipe),
            "budget": config.budget,
            "folds": config.folds,
            "device": str(self.device),
            "precision": devices.dtype_name(self.dtype),
            "compile": config.compile,
            "close_gaps": config.close_gaps,
        }
