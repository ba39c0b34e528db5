"""A trained network, read from disk and made ready on a device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sfseg import io
from sfseg.config import EngineName, PredictConfig
from sfseg.models import STRIDE
from sfseg.models.weights import Header, find_weights, load_weights
from sfseg.prediction import engines
from sfseg.prediction.engines import Choice, Engine
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tiles import halo_px
from sfseg.system import devices

Tell = Callable[[str], None]
"""What is handed sentences that the person should read."""


@dataclass(frozen=True)
class Model:
    """A network that is loaded and made ready on a device.

    Attributes
    ----------
    network : torch.nn.Module
        With its weights.
    header : Header
        What the weights say of themselves.
    engine : Engine
        What runs it.
    choice : Choice
        Why that engine.
    halo_px : int
        Margin that a tile of the network needs.
    weights_sha256 : str
        Of the file of the weights.
    """

    network: nn.Module
    header: Header
    engine: Engine
    choice: Choice
    halo_px: int
    weights_sha256: str

    @classmethod
    def load(cls, config: PredictConfig, *, memory: Path | None = None) -> "Model":
        """Load the weights and make them ready.

        Parameters
        ----------
        config : PredictConfig
            Model, device, engine and precision.
        memory : Path, optional
            File that remembers the choice of an engine; see `sfseg.prediction.engines.make_engine`.

        Raises
        ------
        DeviceError, MissingExtraError, UnknownNameError, CheckpointError
            If the device, the engine or the weights are not there or not usable.
        """
        device = devices.pick_device(config.device)
        weights_sha256 = io.hash_input(find_weights(config.model))
        network, header = load_weights(config.model)
        devices.base_bytes()
        engine, choice = engines.make_engine(
            network, device, config.engine, config.precision, memory=memory
        )
        return cls(network, header, engine, choice, halo_px(network, STRIDE), weights_sha256)

    def _made(self, name: EngineName, dtype: torch.dtype, device: torch.device) -> Engine:
        """Make another engine, or return the one that is there."""
        there = self.engine
        if (name, dtype, device) == (there.name, there.dtype, there.device):
            return there
        return engines.ENGINES[name](self.network, device, dtype)

    def predictor(
        self, config: PredictConfig, resolved: Mapping[str, Any], tell: Tell
    ) -> tuple[Predictor, Engine]:
        """Make the predictor of a run, with the engine that it was begun with."""
        dtype = getattr(torch, resolved["dtype"])
        engine = self._made(resolved["engine"], dtype, devices.pick_device(resolved["device"]))
        predictor = Predictor(
            engine,
            self.halo_px,
            input_px=self.header.input_px,
            tta=config.tta,
            tile_px=config.tile_px,
            limit_px=resolved["limit_px"],
            tell=tell,
        )
        return predictor, engine
