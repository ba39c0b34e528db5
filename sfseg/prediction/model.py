"""A trained network, loaded on a device."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sfseg import io
from sfseg.config import (
    EngineChoice,
    PredictConfig,
    PredictPrecision,
    TestTimeAugmentation,
    configure,
)
from sfseg.models import STRIDE
from sfseg.models.weights import Header, open_weights
from sfseg.prediction import engines, plan
from sfseg.prediction.arrays import predict_array
from sfseg.prediction.engines import Choice, Engine
from sfseg.prediction.engines.calibrate import calibrate
from sfseg.prediction.engines.engine import Quantisation
from sfseg.prediction.engines.int8 import int8_engine
from sfseg.prediction.jobs import Job
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.resumable import ResumableOutput
from sfseg.prediction.run import OnTile, PredictionRun
from sfseg.prediction.samples import Samples, sample_stack, sample_tissue
from sfseg.prediction.setup import PredictSetup, pixels_of
from sfseg.prediction.tile_writer import OtherMap
from sfseg.prediction.tiles import Tile, halo_px, scaled_tiles, section_tiles
from sfseg.system import devices
from sfseg.system.files import cache_folder
from sfseg.system.memory import base_bytes
from sfseg.system.threads import call_beside
from sfseg.transforms.pixel_size import PixelChoice
from sfseg.transforms.resample import Scaling
from sfseg.types import AnyArray, PixelSize, Probability, Progress, Say


@dataclass(frozen=True)
class Model:
    """A trained network, ready to predict on a device; see `load_model`.

    Attributes
    ----------
    network : torch.nn.Module
        The network with its weights.
    header : Header
        Architecture, recipe and other facts from the weights file.
    engines : tuple of Engine
        Run the network: one for each device.
    choice : Choice
        Name and arithmetic of the engine.
    halo_px : int
        Margin that a tile of the network needs.
    weights_sha256 : str
        SHA-256 of the weights file.
    """

    network: nn.Module
    header: Header
    engines: tuple[Engine, ...]
    choice: Choice
    halo_px: int
    weights_sha256: str

    @property
    def engine(self) -> Engine:
        """The engine on the first device."""
        return self.engines[0]

    def __repr__(self) -> str:
        header, engine = self.header, self.engine
        return (
            f"Model({header.arch}, recipe {header.recipe!r}, {engine.name} in "
            f"{devices.dtype_name(engine.dtype)} on {engine.device}, halo {self.halo_px} px)"
        )

    @classmethod
    def load(cls, config: PredictConfig, *, cache_file: Path | None = None) -> "Model":
        """Load the weights and make an engine for them.

        Parameters
        ----------
        config : PredictConfig
            Model, device, engine and precision.
        cache_file : Path, optional
            File that remembers the choice of an arithmetic; default is one in the cache folder; see
            `sfseg.prediction.engines.make_engine`.

        Returns
        -------
        Model
            Ready to predict.

        Raises
        ------
        DeviceError, MissingExtraError, UnknownNameError, CheckpointError
            If the device, the engine or the weights are missing or unusable.
        """
        first, *others = devices.pick_devices(config.device)
        started = call_beside(partial(devices.start_gpus, [first, *others]))
        file = open_weights(config.model)
        weights_sha256 = io.hash_input(file.path)
        network = file.load()
        wait([started])  # what it raises, the engine raises too
        base_bytes()  # remembers its first result: measure before the engine takes memory
        engine, choice = engines.make_engine(
            network,
            first,
            config.engine,
            config.precision,
            cache_file=cache_file or cache_folder() / "engines.json",
        )
        peers = (engines.ENGINES[engine.name](network, other, engine.dtype) for other in others)
        halo = halo_px(network, STRIDE)
        return cls(network, file.header, (engine, *peers), choice, halo, weights_sha256)

    def calibrated(
        self, stack: io.Stack, config: PredictConfig, *, say: Say = lambda _: None
    ) -> "Model":
        """Return the model with its engine in int8, calibrated on the first sections of a stack.

        Parameters
        ----------
        stack : Stack
            The open input.
        config : PredictConfig
            How to predict.
        say : callable
            Called with a line about the agreement with float32.

        Returns
        -------
        Model
            This one, if its arithmetic is another, or it is calibrated already.

        Raises
        ------
        DeviceError
            If int8 is too far from float32 on the sections.
        """
        if not self._needs_calibration:
            return self
        scaling = self.choose_pixels(stack, config).scaling((stack.shape[1], stack.shape[2]))
        samples = sample_stack(stack, input_px=self.header.input_px, scaling=scaling)
        return self._calibrated_on(samples, say)

    @property
    def _needs_calibration(self) -> bool:
        return self.choice.dtype == "int8" and self.engine.quantisation is None

    def _calibrated_on(self, samples: Samples, say: Say = lambda _: None) -> "Model":
        engine = calibrate(self.network, *samples)
        if engine.quantisation is not None:
            agreement = engine.quantisation.agreement
            say(f"int8 against float32, on parts that it was not calibrated on: {agreement}")
        return replace(self, engines=(engine,))

    def predict(
        self,
        array: AnyArray,
        *,
        tta: TestTimeAugmentation = "none",
        planes: bool = False,
        close_gaps: bool = False,
        invert_image: bool = False,
        pixel_size_nm: float | PixelSize | None = None,
        progress: Progress = lambda *_: None,
    ) -> Probability:
        """Predict the interior probability of a section or stack in memory.

        Parameters
        ----------
        array : array_like, shape (Z, Y, X) or (Y, X)
            Grey values of any numeric type, membranes dark; else see `invert_image`. Each section
            is normalised by itself.
        tta : {'none', 'flips', 'd4'}
            One pass, or the mean over the four flips or all eight orientations, which is better
            but four or eight times slower.
        planes : bool
            For a stack whose voxels are as thick as wide: predict its planes along z, y and x, and
            average the three maps. Three times slower.
        close_gaps : bool
            Close gaps in membranes; see `sfseg.prediction.gaps`.
        invert_image : bool
            Swap dark and bright first, for images with bright membranes.
        pixel_size_nm : float or tuple of float, optional
            Size of the pixels, or (y, x). By default it is assumed to be that of the training data.
            Where it differs by more than a fifth, sections are resampled for the network, and the
            result is on their own grid.
        progress : callable
            Called with the number of tiles predicted and that of all, before the first and after
            each, from another thread. With `planes`, both count the tiles of a plane along the
            axis of the moment as a third. What it raises stops the prediction.

        Returns
        -------
        ndarray of float32, shape as array
            Interior probability in [0, 1]: 1 = inside a cell, 0 = membrane. The same numbers as
            ``sfseg predict`` writes, to the bit.

        Raises
        ------
        StackError
            If it is a path, or not a stack of numbers.
        NonFiniteError
            If it holds NaN or infinity.
        OptionError
            If an option has another value, or one section is to be predicted with `planes`.
        DeviceError
            If the memory is too small for a whole section and `close_gaps` is True.
        """
        options = {
            "tta": tta,
            "planes": planes,
            "close_gaps": close_gaps,
            "invert_image": invert_image,
            "pixel_size_nm": pixel_size_nm,
        }
        return predict_array(array, options, lambda _: self.prepare, progress)

    def choose_pixels(self, stack: io.Stack, config: PredictConfig) -> PixelChoice:
        """Decide whether the sections of a stack are resampled; see `pixels_of`."""
        return pixels_of(self.header, stack, config)

    def resolve(self, stack: io.Stack, config: PredictConfig) -> dict[str, Any]:
        """Return the choices that depend on this machine: engine, dtype, device, tile size.

        For int8, once it is calibrated, the ranges of the activations are there as well.

        Raises
        ------
        DeviceError
            If ``close_gaps`` is set and the memory is too small for a whole section.
        """
        quantisation = self.engine.quantisation
        return {
            "engine": self.engine.name,
            "dtype": devices.dtype_name(self.engine.dtype),
            "device": str(self.engine.device),
            "limit_px": self._limit_px(self.engine, stack, config),
            **({} if quantisation is None else {"int8": quantisation.as_json()}),
        }

    def prepare(
        self, stack: io.Stack, config: PredictConfig, *, say: Say = lambda _: None
    ) -> PredictSetup:
        """Set up for one stack: calibrate, resolve, and cut its sections into tiles.

        Raises
        ------
        DeviceError
            As `calibrated` and `resolve` do.
        """
        ready = self.calibrated(stack, config, say=say)
        return ready.set_up(stack, config, ready.resolve(stack, config), say=say)

    def set_up(
        self,
        stack: io.Stack,
        config: PredictConfig,
        resolved: Mapping[str, Any],
        *,
        first_choices: Mapping[str, Any] | None = None,
        say: Say = lambda _: None,
    ) -> PredictSetup:
        """Cut the sections of one stack into tiles, and make the predictors for them.

        Parameters
        ----------
        stack : Stack
            The open input.
        config : PredictConfig
            How to predict.
        resolved : mapping
            The result of `resolve` in this process.
        first_choices : mapping, optional
            The result of `resolve` in the first run, if this one resumes it. Its engine and its
            tiles are used. If there is less memory now, the predictor cuts each tile further,
            which does not change the result.
        say : callable
            Called with lines of text for the person who waits.

        Returns
        -------
        PredictSetup
            The engines, the tiles and the predictors.
        """
        first_choices = first_choices or resolved
        chosen = self._engines_of(first_choices)
        engine, now_px = chosen[0], resolved["limit_px"]
        if engine is not self.engine:
            what = devices.describe(engine.device, engine.dtype, engine.name)
            say(f"continuing on {what}, as the first run did")
            now_px = self._limit_px(engine, stack, config)
        input_px = self.header.input_px
        pixels = self.choose_pixels(stack, config)
        scaling = pixels.scaling((stack.shape[1], stack.shape[2]))
        limit_px = first_choices["limit_px"]
        tiles = self._cut(stack, scaling, config.tile_px, limit_px, first_choices.get("block_px"))
        if config.tile_px is not None and input_px is not None:
            say(f"--tile has no effect: these weights resize sections to {input_px}x{input_px}")
        batch = plan.batch_size(engine, tiles, config)
        predictors = tuple(
            Predictor(
                each,
                self.halo_px,
                input_px=input_px,
                tta=config.tta,
                tile_px=config.tile_px,
                limit_px=min(limit_px, now_px),
                batch=batch,
                say=say,
            )
            for each in chosen
            for _ in range(plan.passes(engine))
        )
        return PredictSetup(chosen, tiles, predictors, plan.workers(engine), pixels, scaling)

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
        """Prepare the prediction of a stack into an output.

        Parameters
        ----------
        job, stack, config, work, report, others
            As for `PredictionRun`.
        resolved : mapping
            The result of `resolve` in this process.
        say : callable
            Called with lines of text for the person who waits.

        Returns
        -------
        PredictionRun
            Ready to run.
        """
        first_choices = work.identity["resolved"]
        setup = self.set_up(stack, config, resolved, first_choices=first_choices, say=say)
        run = PredictionRun(job, stack, setup, config, work, report, others)
        if warning := plan.memory_warning(run.plan, config):
            say(f"warning: {warning}")
        return run

    def _cut(
        self,
        stack: io.Stack,
        scaling: Scaling | None,
        tile_px: int | None,
        limit_px: int,
        block_px: Sequence[int] | None,
    ) -> list[Tile]:
        """Cut the sections of a stack into tiles."""
        if scaling is not None:
            return scaled_tiles(scaling, self.halo_px, tile_px=tile_px, limit_px=limit_px)
        return section_tiles(
            (stack.shape[1], stack.shape[2]),
            self.halo_px,
            input_px=self.header.input_px,
            tile_px=tile_px,
            limit_px=limit_px,
            block_px=None if block_px is None else (block_px[0], block_px[1]),
        )

    def _limit_px(self, engine: Engine, stack: io.Stack, config: PredictConfig) -> int:
        """Compute how many pixels a tile may have, on the grid of the network."""
        scaling = self.choose_pixels(stack, config).scaling((stack.shape[1], stack.shape[2]))
        return plan.limit_px(engine, stack, config, self.halo_px, scaling)

    def _engines_of(self, resolved: Mapping[str, Any]) -> tuple[Engine, ...]:
        """Return the engines of this model, or make that of an earlier run if it differs."""
        name, dtype = resolved["engine"], getattr(torch, resolved["dtype"])
        device = devices.pick_device(resolved["device"])
        own = self.engine
        quantisation = Quantisation.from_json(resolved["int8"]) if dtype == torch.int8 else None
        kind = own.name, own.dtype, own.device, own.quantisation
        if (name, dtype, device, quantisation) == kind:
            return self.engines
        if quantisation is not None:
            return (int8_engine(self.network, quantisation),)
        return (engines.ENGINES[name](self.network, device, dtype),)


def load_model(
    name_or_path: str | os.PathLike[str] = PredictConfig.model,
    *,
    device: str = "auto",
    engine: EngineChoice = "auto",
    precision: PredictPrecision = "auto",
) -> Model:
    """Load a trained network once, to predict many arrays with it.

    Parameters
    ----------
    name_or_path : str or Path
        Name of shipped weights (default: sfnet-isbi2012), or the path of a weights file or of the
        folder of a training run.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    engine : {'auto', 'torch', 'compile', 'openvino'}
        Software that runs the network; auto = torch.
    precision : {'auto', 'float32', 'bf16', 'fp16', 'int8'}
        Arithmetic of the convolutions; auto = fp16 on CUDA and bf16 on a CPU, if it is fast here
        and agrees with float32. For int8 the ranges of the activations are measured here, on drawn
        tissue.

    Returns
    -------
    Model
        Ready to predict; see `Model.predict`.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    CheckpointError
        If the file is not usable weights.
    DeviceError, MissingExtraError
        If the device or the engine is missing.
    OptionError
        If an option has another value.

    Examples
    --------
    >>> import sfseg
    >>> model = sfseg.load_model("sfnet-isbi2012", device="cpu")
    >>> model.header.arch
    'sfnet'
    """
    options = {"model": name_or_path, "device": device, "engine": engine, "precision": precision}
    model = Model.load(configure(PredictConfig, None, options))
    return model._calibrated_on(sample_tissue()) if model._needs_calibration else model
