"""A stack predicted from file to file."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sfseg.benchmark.inference import InferenceBenchmark, InferenceRow, Measured, Report
from sfseg.config import SHIPPED_MODEL, EngineName, PredictConfig
from sfseg.errors import DeviceError, SfsegWarning
from sfseg.io import write_stack
from sfseg.models import STRIDE
from sfseg.models.weights import load_weights
from sfseg.prediction.engines import Choice, Engine, make_engine
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_job
from sfseg.prediction.run import PredictResult
from sfseg.prediction.tiles import halo_px
from sfseg.system.devices import dtype_name
from sfseg.system.machine import Timing, measure
from sfseg.types import AnyArray, Shape


@dataclass(frozen=True)
class EndToEnd:
    """A stack predicted from file to file, with the shipped weights.

    Attributes
    ----------
    model : str
        Name of the weights.
    engine, precision : str
        As in `InferenceRow`: the fastest whose probabilities are as good as those of float32, or
        int8.
    shape : tuple of int
        (Z, Y, X) of the stack.
    seconds : float
        From opening the input to the renamed output; the median.
    passes : int
        How many were counted.
    seconds_per_section : float
        Seconds over sections.
    percent : mapping of str to float
        Of the seconds: ``read``, ``compute``, ``write``, and ``rest``, in which nothing was
        computed. Reading and writing go on beside computing, so the first three can exceed 100.
    times_plain : float
        Seconds of plain PyTorch, which runs the network only, over `seconds_per_section`.
    overhead_percent : float
        Seconds in which nothing was computed, in percent of the seconds of computing.
    """

    model: str
    engine: EngineName
    precision: Measured
    shape: Shape
    seconds: float
    passes: int
    seconds_per_section: float
    percent: Mapping[str, float]
    times_plain: float
    overhead_percent: float


def predict_stack(
    benchmark: InferenceBenchmark, volume: AnyArray, report: Report
) -> Iterator[EndToEnd]:
    """Predict the stack from file to file with the fastest engine of a benchmark, and in int8.

    In int8 the calibration counts, which each stack has of its own. If it is refused, a warning
    says why.
    """
    row, engine = benchmark.best
    choice = Choice(engine.name, dtype_name(engine.dtype))
    yield _predict(benchmark, volume, (engine, choice), row.precision, report)
    if all(row.precision != "int8" for row in benchmark.rows):
        return
    before = make_engine(benchmark.network, benchmark.device, precision="int8")
    try:
        yield _predict(benchmark, volume, before, "int8", report)
    except DeviceError as error:
        why = str(error).partition("\n")[0]
        warnings.warn(f"not measured from file to file: {why}", SfsegWarning, stacklevel=2)


def _predict(
    benchmark: InferenceBenchmark,
    volume: AnyArray,
    chosen: tuple[Engine, Choice],
    precision: Measured,
    report: Report,
) -> EndToEnd:
    engine, choice = chosen
    report(f"measuring predict, from file to file: {engine.name} in {precision}")
    config = PredictConfig(engine=engine.name, precision=precision, overwrite=True)
    network, header = load_weights(SHIPPED_MODEL)
    model = Model(network, header, (engine,), choice, halo_px(network, STRIDE), weights_sha256="")
    with tempfile.TemporaryDirectory() as folder:
        job = Job(str(Path(folder, "volume.tif")), Path(folder, "map.tif"))
        write_stack(Path(job.source), volume)
        timing = measure(
            lambda: predict_job(job, model, config),
            benchmark.device,
            benchmark.repeats,
            compiles=engine.name == "compile",
        )
    return _shares(timing, engine.name, benchmark.rows[0], precision)


def _shares(
    timing: Timing[PredictResult], engine: EngineName, plain: InferenceRow, precision: Measured
) -> EndToEnd:
    """Divide the time of a prediction between reading, computing, writing and the rest."""
    result = timing.value
    stages = {name.removesuffix("_s"): seconds for name, seconds in result.stages.items()}
    stages["rest"] = result.seconds - stages["compute"]
    each = result.seconds / result.shape[0]
    return EndToEnd(
        SHIPPED_MODEL,
        engine,
        precision,
        result.shape,
        result.seconds,
        timing.passes,
        each,
        percent={name: 100 * seconds / result.seconds for name, seconds in stages.items()},
        times_plain=plain.seconds / each,
        overhead_percent=100 * stages["rest"] / stages["compute"],
    )
