"""What a prediction will take: its size, and its time at the rate of a short trial."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil, inf, prod

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.prediction.compute import predict_tiles
from sfseg.prediction.engines import describe
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.opening import open_source
from sfseg.prediction.plan import Plan
from sfseg.prediction.setup import PredictSetup
from sfseg.prediction.tile_reader import WHOLE_BYTES, StackTile, read_tiles
from sfseg.prediction.tile_writer import FinishedTile, finish_tile, make_writer, output_dtype
from sfseg.types import AnyArray, Say, Shape, parse_sections

TRIAL_S = 10.0
"""No tile of the trial begins after so many seconds."""

DIRECTIONS = 3
"""With ``--planes`` the voxels are predicted along so many axes; that of the trial is one."""

LEVELS_SHARE = 1 / 3
"""Pixels of the smaller levels, each of a quarter of the pixels, over those of the full one."""


@dataclass(frozen=True)
class Estimate:
    """What the prediction of a stack will take.

    Attributes
    ----------
    job : Job
        Input and output.
    description : str
        The shape, type and voxel size of the input in words.
    plan : Plan
        Its tiles and their memory.
    device : str
        What computed the trial.
    sections : int
        Sections to predict.
    read_bytes, written_bytes : int
        Pixels that are read, and pixels that are written, before compression.
    section_s : float
        Seconds for a section, at the rate of the trial.
    trial_px : int
        Pixels that were predicted in the trial.
    """

    job: Job
    description: str
    plan: Plan
    device: str
    sections: int
    read_bytes: int
    written_bytes: int
    section_s: float
    trial_px: int

    @property
    def px_per_s(self) -> float:
        """Pixels of the input in a second."""
        return prod(self.plan.shape[1:]) / self.section_s

    def seconds(self, workers: int) -> float:
        """Return the time that workers like this machine take; each predicts whole sections."""
        return ceil(self.sections / workers) * self.section_s

    def bytes_per_s(self, workers: int) -> tuple[float, float]:
        """Return how much the storage then has to give and to take, in a second."""
        seconds = self.seconds(workers)
        return self.read_bytes / seconds, self.written_bytes / seconds


def estimate_job(
    job: Job, model: Model, config: PredictConfig, *, say: Say = lambda _: None
) -> Estimate:
    """Plan the prediction of a stack, and predict for some seconds to measure the rate.

    Nothing is written.

    Parameters
    ----------
    job : Job
        Input and output.
    model : Model
        The network, ready to predict.
    config : PredictConfig
        What would be written.
    say : callable
        Called with lines of text for the person who waits.

    Returns
    -------
    Estimate
        The size of the work and its time.

    Raises
    ------
    StackError, OptionError, OSError
        As `sfseg.prediction.predict.predict_job` does.
    """
    with open_source(job, config, say) as stack:
        setup = model.prepare(stack, config, say=say)
        input_px = setup.predictors[0].input_px
        plan = Plan.from_tiles(setup.tiles, setup.engines[0], stack, config, input_px, setup.pixels)
        count = len(stack)
        if config.sections is not None:
            count = len(parse_sections(config.sections, len(stack)))
        seconds, pixels = _try(stack, setup, config)
        directions = DIRECTIONS if config.planes else 1
        return Estimate(
            job,
            stack.describe(),
            plan,
            describe(setup.engines),
            count,
            count * _read_bytes(stack, plan) * directions,
            count * _written_bytes(stack, config),
            seconds / pixels * prod(stack.shape[1:]) * directions,
            pixels,
        )


def _read_bytes(stack: io.Stack, plan: Plan) -> int:
    """Count the bytes of a section that are read: of a large one, once to measure its values."""
    section = prod(stack.shape[1:]) * stack.dtype.itemsize
    return section if section <= WHOLE_BYTES else round(section * (1 + plan.overhead))


def _written_bytes(stack: io.Stack, config: PredictConfig) -> int:
    """Count the bytes of a section that are written."""
    full = prod(stack.shape[1:]) * output_dtype(config).itemsize
    return round(full * (1 + LEVELS_SHARE)) if config.multiscale else full


class _Nowhere:
    """A target that keeps nothing."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def put(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Do nothing."""


def _try(stack: io.Stack, setup: PredictSetup, config: PredictConfig) -> tuple[float, int]:
    """Predict a tile to warm up, then others for `TRIAL_S`; return the seconds and the pixels."""
    tiles = len(setup.tiles)
    _run(stack, setup, config, range(1), inf)
    # whole sections: some options work on those only
    numbers = range(min(len(stack), max(ceil(2 * len(setup.predictors) / tiles), 2)) * tiles)
    return _run(stack, setup, config, numbers, TRIAL_S)


def _run(
    stack: io.Stack, setup: PredictSetup, config: PredictConfig, numbers: range, limit_s: float
) -> tuple[float, int]:
    """Read, predict and finish tiles until a time is over; return the seconds and the pixels."""
    began, pixels = time.monotonic(), 0
    writer = make_writer(_Nowhere(stack.shape), config)

    def in_time() -> Iterator[StackTile]:
        tiles = read_tiles(stack, setup.tiles, numbers, setup.scaling, workers=setup.workers)
        for tile in tiles:
            yield tile
            if time.monotonic() - began > limit_s:
                return

    def write(tile: FinishedTile) -> None:
        nonlocal pixels
        pixels += tile.pixels.size
        list(writer.put(tile))

    finish = partial(finish_tile, config=config)
    predict_tiles(in_time(), setup.predictors, finish, write, workers=setup.workers)
    return time.monotonic() - began, pixels
