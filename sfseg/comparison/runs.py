"""The runs of a comparison: each is one network, trained and tested."""

from dataclasses import dataclass
from typing import Literal

from sfseg.comparison.protocol import DataSplit
from sfseg.config import CompareConfig, TrainConfig


@dataclass(frozen=True)
class Run:
    """One network to train and to test."""

    arch: str
    seed: int
    split: DataSplit

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arch}-seed{self.seed}{self.split.suffix}"


@dataclass(frozen=True)
class Stage:
    """The start of a training run or a test, for the report.

    Attributes
    ----------
    run : str
        Name of the run.
    number, total : int
        Number of the run, from 1, and of all runs.
    doing : {'train', 'test'}
        Training saves its state; a test that is stopped starts again.
    """

    run: str
    number: int
    total: int
    doing: Literal["train", "test"]


def training_of(run: Run, config: CompareConfig, *, resume: bool) -> TrainConfig:
    """Make the configuration for the training of a run.

    Parameters
    ----------
    run : Run
        The run.
    config : CompareConfig
        The options that all runs share.
    resume : bool
        Whether its training has begun.

    Returns
    -------
    TrainConfig
        No section is held out to choose an epoch: the weights of the last step are the result.
    """
    recipe = config.recipe
    if config.epochs != recipe.epochs:
        recipe = recipe.changed(epochs=config.epochs)
    return TrainConfig(
        out=config.out / run.name,
        arch=run.arch,
        recipe=recipe,
        dataset=config.dataset,
        data_dir=config.data_dir,
        sections=run.split.training,
        validation="none",
        seed=run.seed,
        device=config.device,
        precision=config.precision,
        compile=config.compile,
        resume=resume,
    )
