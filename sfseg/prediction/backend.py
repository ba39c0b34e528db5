"""What predicts stacks, as far as the work on an output needs to know it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.models.header import Header
from sfseg.prediction.jobs import Job
from sfseg.prediction.resumable import ResumableOutput
from sfseg.prediction.run import OnTile, PredictionRun
from sfseg.prediction.tile_writer import OtherMap
from sfseg.transforms.pixel_size import PixelChoice
from sfseg.types import Say


class Backend(Protocol):
    """What predicts stacks: a `Model` in this process, or one on other machines."""

    @property
    def header(self) -> Header:
        """Facts from the weights file."""

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file."""

    def choose_pixels(self, stack: io.Stack, config: PredictConfig) -> PixelChoice:
        """Decide whether the sections of a stack are resampled."""

    def resolve(self, stack: io.Stack, config: PredictConfig) -> dict[str, Any]:
        """Return the choices that depend on the machine; see `Model.resolve`."""

    def calibrated(self, stack: io.Stack, config: PredictConfig, *, say: Say) -> "Backend":
        """Return the same with all that it needs to know of a stack."""

    def start(
        self,
        job: Job,
        stack: io.Stack,
        config: PredictConfig,
        resolved: Mapping[str, Any],
        work: ResumableOutput,
        *,
        report: OnTile,
        say: Say,
        others: Sequence[OtherMap] = (),
    ) -> PredictionRun:
        """Prepare the prediction of a stack; see `Model.start`."""
