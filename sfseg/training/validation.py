"""Scores of a network on the held-out sections, as predict and score compute them."""

from collections.abc import Callable, Sequence

from torch import nn

from sfseg.prediction.predictor import Predictor
from sfseg.scoring.score import score_sections
from sfseg.system import malloc
from sfseg.training.progress import SCORES
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.types import AnyArray, Probability

See = Callable[[Probability], None]
"""Called with the map of each section, in their order."""


def validate(
    network: nn.Module,
    sections: Sequence[Section],
    setup: TrainSetup,
    stopped: Callable[[], bool],
    see: See = lambda _: None,
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
    see : callable
        Called with the map of each section.

    Returns
    -------
    dict of str to float, or None
        `SCORES` by name, empty where nothing is held out; None if it was stopped.
    """
    if not sections:
        return {}
    malloc.give_back_memory()  # else the predictor counts freed memory as taken
    predict = Predictor.from_network(
        network, setup.device, setup.dtype, input_px=setup.config.recipe.input_px
    )
    return score_maps(predict, sections, stopped, see)


def score_maps(
    predict: Callable[[AnyArray], Probability],
    sections: Sequence[Section],
    stopped: Callable[[], bool],
    see: See,
) -> dict[str, float] | None:
    """Predict sections and score them; parameters and result as those of `validate`."""
    predicted = []
    for section in sections:
        if stopped():
            return None
        predicted.append(predict(section.image))
        see(predicted[-1])
    truth, known = [each.labels for each in sections], [each.known for each in sections]
    scores = score_sections(predicted, truth, known=known)
    return {name: getattr(scores, name) for name in SCORES}
