"""The runs of a comparison: each is one network, trained and tested."""

from dataclasses import dataclass
from typing import Literal

from sfseg.comparison.protocol import Split
from sfseg.config import CompareConfig, TrainConfig


@dataclass(frozen=True)
class Run:
    """One network to be trained and tested."""

    arch: str
    seed: int
    split: Split

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arch}-seed{self.seed}{self.split.suffix}"


@dataclass(frozen=True)
class Stage:
    """What begins, as it is reported.

    Attributes
    ----------
    run : str
        Name of the run.
    number, total : int
        Of the run, from 1, and how many there are.
    doing : {'train', 'test'}
        Training saves its state; a test that is stopped starts again.
    """

    run: str
    number: int
    total: int
    doing: Literal["train", "test"]


def training_of(run: Run, config: CompareConfig, *, resume: bool) -> TrainConfig:
    """Say how to train a network on all that the protocol lets it see.

    Parameters
    ----------
    run : Run
        Which.
    config : CompareConfig
        What all runs have in common.
    resume : bool
        Whether it has begun.

    Returns
    -------
    TrainConfig
        Nothing is held out to choose an epoch by: the weights of the last step count.
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
