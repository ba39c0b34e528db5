"""What runs on the workers of a cluster. Each call says all that it depends on.

A worker computes one block at a time, with all its threads. It keeps the model and the open input
for the next call.
"""

import functools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from distributed import Worker, WorkerPlugin, get_worker

from sfseg import __version__, io
from sfseg.cluster.blocks import Block
from sfseg.cluster.connect import versions_differ
from sfseg.cluster.feed import Failed
from sfseg.config import PredictConfig, PredictPrecision
from sfseg.errors import ClusterError, SfsegError, StackError
from sfseg.prediction.compute import predict_tiles
from sfseg.prediction.engines import describe
from sfseg.prediction.model import Model
from sfseg.prediction.opening import open_as_said
from sfseg.prediction.plan import SHARE, Plan, memory_warning
from sfseg.prediction.setup import PredictSetup
from sfseg.prediction.tile_reader import measure_section, read_tiles
from sfseg.prediction.tile_writer import (
    Facts,
    FinishedTile,
    finish_tile,
    make_writer,
    output_dtype,
)
from sfseg.prediction.tiles import Tile
from sfseg.system import files
from sfseg.system.devices import arithmetic_name
from sfseg.system.malloc import keep_memory_as_usual
from sfseg.transforms.normalise import Normalisation
from sfseg.types import AnyArray, Shape

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Order:
    """What is predicted, from what, with what.

    Attributes
    ----------
    source : str
        The input, as every worker finds it.
    shape, dtype : tuple of int, str
        What the input is on the machine that asks.
    config : PredictConfig
        How to predict and what to write.
    weights_sha256 : str
        SHA-256 of the weights; see `WeightsPlugin`.
    versions : tuple of (str, str)
        Packages and their versions on the machine that asks.
    first_choices : str
        As JSON: what the first run resolved; empty as long as nothing is.
    run : str
        Another text for each run: what a worker has open for another one may be of yesterday.
    """

    source: str
    shape: Shape
    dtype: str
    config: PredictConfig
    weights_sha256: str
    versions: tuple[tuple[str, str], ...]
    first_choices: str = ""
    run: str = ""


@dataclass(frozen=True)
class Destination:
    """Where the pixels go: an OME-Zarr in the making, its final name, and a ticket to write to it.

    See `sfseg.io.writing_ticket`.
    """

    part: Path
    name: str
    ticket: str


@dataclass(frozen=True)
class Choices:
    """What a worker chose, see `Model.resolve`, what that is in words, and what to say of it."""

    resolved: dict[str, Any]
    device: str
    said: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """The tiles of each section, the plan, what computes, and a warning or an empty text."""

    tiles: list[Tile]
    plan: Plan
    device: str
    warning: str


@dataclass(frozen=True)
class Done:
    """The facts of the tiles of a block, by their numbers; and the seconds of each stage."""

    facts: list[tuple[int, Facts]]
    stages: dict[str, float]


class WeightsPlugin(WorkerPlugin):
    """Bring the bytes of a weights file to every worker, also to one that joins later.

    Parameters
    ----------
    sha256 : str
        Their hash.
    data : bytes
        The file.
    """

    def __init__(self, sha256: str, data: bytes) -> None:
        self.name = f"sfseg-weights-{sha256}"
        self._sha256, self._data = sha256, data

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - what distributed gives it
        """Keep them in the memory of a worker: its disk may be full."""
        _weights[self._sha256] = self._data

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - what distributed gives it
        """Forget them."""
        _weights.pop(self._sha256, None)


@dataclass(frozen=True)
class _Station:
    """What a worker keeps for the calls of one order."""

    order: Order
    config: PredictConfig
    model: Model
    stack: io.Stack
    setup: PredictSetup


_lock = threading.RLock()
"""Held by the call that computes; the other threads of the worker wait."""

_weights: dict[str, bytes] = {}
_models: dict[tuple[object, ...], Model] = {}
_stations: dict[Order, _Station] = {}


def _alone(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function run in one thread at a time."""

    @functools.wraps(function)
    def alone(*arguments: P.args, **options: P.kwargs) -> R:
        with _lock:
            return function(*arguments, **options)

    return alone


def _answering(function: Callable[P, R]) -> Callable[P, R | Failed]:
    """Let a function return why it failed: the other blocks go on."""

    @functools.wraps(function)
    def answering(*arguments: P.args, **options: P.kwargs) -> R | Failed:
        try:
            return function(*arguments, **options)
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is reported with its place
            return Failed.from_error(error, get_worker().address)

    return answering


@_alone
def choose(order: Order) -> Choices:
    """Choose engine, arithmetic and the size of tiles on a worker; raises as `Model.load` does."""
    config, said = _own_config(order), list[str]()
    stack = _open(order)
    with stack:
        model = _load(order, config).calibrated(stack, config, say=said.append)
        resolved = model.resolve(stack, config)
    _models[_key(order, _fixed(config, resolved))] = model
    if model.choice.notice:
        said.insert(0, f"warning: {model.choice.notice}")
    return Choices(resolved, describe(model.engines, model.choice.dtype), tuple(said))


@_alone
def survey(order: Order) -> Survey:
    """Cut the sections into tiles, and plan the work of a worker."""
    station = _station(order)
    setup, config = station.setup, station.config
    plan = Plan.from_tiles(
        setup.tiles,
        setup.engines[0],
        station.stack,
        config,
        setup.predictors[0].input_px,
        setup.pixels,
    )
    return Survey(setup.tiles, plan, describe(setup.engines), memory_warning(plan, config) or "")


@_answering
@_alone
def measure(order: Order, section: int) -> Normalisation:
    """Measure the grey values of a section that is several blocks."""
    return measure_section(_station(order).stack, section)


@_answering
@_alone
def predict_block(
    order: Order,
    destination: Destination,
    block: Block,
    measured: Normalisation | Failed | None = None,
) -> Done:
    """Predict a block and write it; it may run again, or twice at the same time.

    Parameters
    ----------
    order, destination, block
        What, where, and which part.
    measured : Normalisation, optional
        That of the section, for a part of one section. Without it, the section is measured.
    """
    station = _station(order)
    setup, config = station.setup, station.config
    facts: list[tuple[int, Facts]] = []
    with _canvas(order, destination) as canvas:
        writer = make_writer(_BlockTarget(canvas, block), config)

        def write(tile: FinishedTile) -> None:
            facts.extend(writer.put(tile))

        tiles = read_tiles(
            station.stack,
            setup.tiles,
            block.numbers(len(setup.tiles)),
            setup.scaling,
            workers=setup.workers,
            measured=measured if isinstance(measured, Normalisation) else None,
        )
        finish = partial(finish_tile, config=config)
        stages = predict_tiles(tiles, setup.predictors, finish, write, workers=setup.workers)
        canvas.flush()
    return Done(facts, stages)


@_answering
def add_levels(order: Order, destination: Destination, sections: range) -> Done:
    """Make the smaller levels of sections whose pixels are all written."""
    with _canvas(order, destination) as canvas:
        for section in sections:
            canvas.add_levels(section)
        canvas.flush()
    return Done([], {})


class _BlockTarget:
    """Collects the tiles of each section of a block, and puts them into a canvas together.

    So the files of a block are written whole, and never read: a block that runs twice does no
    harm.
    """

    def __init__(self, canvas: io.Canvas, block: Block) -> None:
        self.shape = canvas.shape
        self._canvas = canvas
        self._rows, self._columns = slice(*block.rows), slice(*block.columns)
        self._pixels: AnyArray | None = None
        self._left_px = 0

    def put(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Take a rectangle of a section; those of a section come one after the other."""
        top, left = self._rows.start, self._columns.start
        size = self._rows.stop - top, self._columns.stop - left
        if pixels.shape == size:
            self._canvas.put(section, rows, columns, pixels)
            return
        if self._pixels is None:
            self._pixels = np.empty(size, pixels.dtype)
            self._left_px = self._pixels.size
        inner = slice(rows.start - top, rows.stop - top)
        self._pixels[inner, columns.start - left : columns.stop - left] = pixels
        self._left_px -= pixels.size
        if not self._left_px:
            self._canvas.put(section, self._rows, self._columns, self._pixels)
            self._pixels = None


def _canvas(order: Order, destination: Destination) -> io.Canvas:
    if not destination.part.exists():
        raise ClusterError(
            f"{destination.part}: a worker does not see this folder",
            hint="write to a folder that all workers see under the same name",
        )
    return io.reopen_canvas(
        destination.part,
        destination.name,
        order.shape,
        output_dtype(order.config),
        ticket=destination.ticket,
    )


def _station(order: Order) -> _Station:
    """Return what this worker keeps for an order; make it, and close that of another order."""
    if order not in _stations:
        for other in _stations.values():
            other.stack.close()
        _stations.clear()
        _stations[order] = _make_station(order)
    return _stations[order]


def _make_station(order: Order) -> _Station:
    """Load the model and open the input."""
    _require_versions(order)
    first_choices = json.loads(order.first_choices)
    config, stack = _fixed(_own_config(order), first_choices), _open(order)
    model = _load(order, config)
    now = model.resolve(stack, config)
    setup = model.set_up(stack, config, now, first_choices=first_choices)
    return _Station(order, config, model, stack, setup)


def _require_versions(order: Order) -> None:
    """Refuse to work for another version than that of this worker."""
    for package, version in order.versions:
        found = __version__ if package == "sfseg" else metadata.version(package)
        if found != version:
            raise versions_differ(get_worker().address, package, found, version)


def _own_config(order: Order) -> PredictConfig:
    """Return the configuration with the memory that this worker may use."""
    limit = get_worker().memory_manager.memory_limit
    allowed = [order.config.memory_gib, None if limit is None else limit * SHARE / 2**30]
    return replace(
        order.config, memory_gib=min((gib for gib in allowed if gib is not None), default=None)
    )


def _fixed(config: PredictConfig, resolved: dict[str, Any]) -> PredictConfig:
    """Return a configuration that has an engine and an arithmetic instead of auto."""
    dtype = getattr(torch, resolved["dtype"])
    name = "float32" if dtype == torch.int8 else arithmetic_name(dtype)
    return replace(config, engine=resolved["engine"], precision=cast("PredictPrecision", name))


def _open(order: Order) -> io.Stack:
    """Open the input; refuse another one than the asking machine has."""
    try:
        stack = open_as_said(order.source, order.config)
    except SfsegError as error:  # it could be opened where the run was started
        raise ClusterError(
            f"{error.message} (on the worker {get_worker().address})",
            hint="let each worker see the input under this name, and set what gives access to a "
            "bucket where the workers start",
        ) from error
    found = stack.shape, str(stack.dtype)
    if found != (order.shape, order.dtype):
        stack.close()
        raise StackError(f"{order.source}: this worker finds another stack here, {found}")
    return stack


def _key(order: Order, config: PredictConfig) -> tuple[object, ...]:
    """Return what a model depends on."""
    return order.weights_sha256, config.device, config.engine, config.precision


def _load(order: Order, config: PredictConfig) -> Model:
    """Load a model, once; raises as `Model.load` does."""
    key, worker = _key(order, config), get_worker()
    if key not in _models:
        torch.set_num_threads(worker.state.nthreads)
        keep_memory_as_usual()
        path = Path(worker.local_directory) / f"{order.weights_sha256}.safetensors"
        files.write_bytes(path, _weights[order.weights_sha256], overwrite=True)
        _models.clear()  # of another run
        _models[key] = Model.load(replace(config, model=str(path)))
        path.unlink()
    return _models[key]
