"""The progress of a training run, and the records of its steps and epochs."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from sfseg.errors import CheckpointError
from sfseg.training.samples import Sample, thin
from sfseg.training.state import State

SCORES = ("v_rand", "v_rand_threshold", "v_info", "dice")
"""The scores of a validation, as the fields of `EpochRecord`."""


def describe_scores(scores: Mapping[str, float]) -> str:
    """Write `SCORES` in a line."""
    return (
        f"V_Rand {scores['v_rand']:.4f} (threshold {scores['v_rand_threshold']:.1f}), "
        f"V_Info {scores['v_info']:.4f}, Dice {scores['dice']:.4f}"
    )


@dataclass(frozen=True)
class StepRecord:
    """One step of a training run, for the report.

    Attributes
    ----------
    epoch, epochs : int
        The running epoch, from 1, and how many there are.
    step, steps : int
        Steps done in the whole training, and how many there are.
    loss, learning_rate : float
        Of this step.
    best_v_rand : float or None
        Best validation score so far.
    seconds_left : float
        Estimate from the steps since the start.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    best_v_rand: float | None
    seconds_left: float


@dataclass(frozen=True)
class EpochRecord:
    """One row of ``history.csv``; the scores are None if no section is held out.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean over the epoch's steps.
    learning_rate : float
        At its last step.
    seconds : float
        Since the start of the training, without interruptions.
    v_rand, v_rand_threshold, v_info, dice : float or None
        Of the held-out sections in a single pass, as `sfseg score` computes them.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    v_rand: float | None = None
    v_rand_threshold: float | None = None
    v_info: float | None = None
    dice: float | None = None


@dataclass(frozen=True)
class ShippedScore:
    """How the shipped weights do on the held-out sections.

    Attributes
    ----------
    name : str
        Name of the weights.
    trained_on : str
        Their data, from their header.
    scores : dict of str to float
        `SCORES` by name.
    seconds : float
        How long it took.
    pictures : list of str
        As those of a `Sample`.
    """

    name: str
    trained_on: str
    scores: dict[str, float]
    seconds: float
    pictures: list[str]


@dataclass
class TrainingProgress:
    """The progress of a training run; saved with its state.

    Attributes
    ----------
    step : int
        Steps done.
    losses : list of float
        Of the running epoch's steps.
    history : list of EpochRecord
        Of the epochs done.
    seconds : float
        Spent before the last interruption.
    start : dict of str to float or None
        `SCORES` of the weights that it started from; None if they were not scored.
    shipped : ShippedScore or None
        How the shipped weights do on the held-out sections; None if they were not scored.
    samples : list of Sample
        Pictures of the maps of some epochs, in their order.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0
    start: dict[str, float] | None = None
    shipped: ShippedScore | None = None
    samples: list[Sample] = field(default_factory=list)

    @property
    def best_v_rand(self) -> float | None:
        """Best validation score so far."""
        return max((r.v_rand for r in self.history if r.v_rand is not None), default=None)

    @property
    def kept(self) -> EpochRecord | None:
        """The epoch whose weights are kept: the first of the best, or the last without scores."""
        best = self.best_v_rand
        if best is None:
            return self.history[-1] if self.history else None
        return next(record for record in self.history if record.v_rand == best)

    def add_sample(self, pictures: list[str]) -> None:
        """Add pictures of the last epoch, or of the start; leave older ones out if they are many.

        Nothing is added where there are no pictures.
        """
        if pictures:
            kept = self.kept
            samples = [*self.samples, Sample(len(self.history), pictures)]
            self.samples = thin(samples, kept.epoch if kept else None)

    @classmethod
    def from_state(cls, state: State) -> "TrainingProgress":
        """Read the progress from a saved state.

        Raises
        ------
        CheckpointError
            If the state holds no valid progress.
        """
        try:
            raw = state.facts["progress"]
            history = [EpochRecord(**record) for record in raw["history"]]
            samples = [Sample(**sample) for sample in raw.get("samples", ())]
            shipped = ShippedScore(**raw["shipped"]) if raw.get("shipped") else None
            changed = {"history": history, "samples": samples, "shipped": shipped}
            progress = cls(**{**raw, **changed})
            values = [progress.step, progress.seconds, *progress.losses]
            values += [v for r in history for v in dataclasses.astuple(r) if v is not None]
            values += (progress.start or {}).values()
            values += [sample.epoch for sample in samples]
            if shipped:
                values += [shipped.seconds, *(shipped.scores[name] for name in SCORES)]
            sum(values)  # a text among them is a TypeError
            pictures = [*(s.pictures for s in samples), *([shipped.pictures] if shipped else [])]
            "".join("".join(each) for each in pictures)  # and so is a number here
        except (TypeError, LookupError) as error:
            raise CheckpointError(
                f"{state.path}: the progress of the training is damaged: {error}",
                hint="train again into another --out",
            ) from error
        return progress
