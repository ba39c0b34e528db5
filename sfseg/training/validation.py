"""Scores of a network on the held-out sections, as predict and score compute them."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from sfseg.prediction.predictor import Predictor
from sfseg.scoring.score import score_sections
from sfseg.system import memory
from sfseg.training.progress import SCORES
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.types import AnyArray


def validate(
    network: nn.Module,
    sections: Sequence[Section],
    setup: TrainSetup,
    stopped: Callable[[], bool],
) -> dict[str, float] | None:
    """Score a network on held-out sections, in a single pass.

    Parameters
    ----------
    network : torch.nn.Module
        The averaged network; it does not change.
    sections : sequence of Section
        The held-out sections.
    setup : TrainSetup
        Device, arithmetic, and the size of the input.
    stopped : callable
        Called before each section; True ends the validation.

    Returns
    -------
    dict of str to float, or None
        `SCORES` by name, empty where nothing is held out; None if it was stopped.
    """
    if not sections:
        return {}
    memory.give_back_memory()  # else the predictor counts freed memory as taken
    predict = Predictor.from_network(
        network, setup.device, setup.dtype, input_px=setup.config.recipe.input_px
    )
    predicted = []
    for section in sections:
        if stopped():
            return None
        predicted.append(_hide_unknown(predict(section.image), section))
    truth = [_hide_unknown(section.labels, section) for section in sections]
    scores = score_sections(predicted, truth)
    return {name: getattr(scores, name) for name in SCORES}


def _hide_unknown(pixels: AnyArray, section: Section) -> AnyArray:
    """Set unknown pixels to 0, membrane: where the truth is membrane, no score counts pairs."""
    return pixels if section.known is None else np.where(section.known, pixels, 0)
