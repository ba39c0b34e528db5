"""A small world: a network of a thousand weights, a stack of three sections, a dataset of both."""

import contextlib
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import rich.progress  # noqa: F401 - what the command imports late
import skimage.morphology  # noqa: F401 - what `skimage.measure.label` imports late
import torch._dynamo  # noqa: F401 - what an optimizer imports late, for seconds
from typer.testing import CliRunner

# Commands import these late, but a child that has become another user may not read them any more.
import sfseg.datasets.fetch
import sfseg.prediction.predict
import sfseg.training.train  # noqa: F401
from sfseg import cli, models
from sfseg.datasets import registry
from sfseg.datasets.dataset import DataFile, Dataset, LabelledStack
from sfseg.datasets.synthetic import make_tissue
from sfseg.io import write_stack
from sfseg.io.zarr import writer
from sfseg.models import weights
from sfseg.prediction import run
from sfseg.scoring import score
from sfseg.training import curves, live_page, time_budget, trainer
from sfseg.types import Shape
from tests.networks import Small

SHAPE: Shape = (3, 90, 90)
CPU = ("--device", "cpu", "--precision", "float32")


class World:
    """A folder with ``volume.tif``, ``labels.tif``, ``small.safetensors`` and ``toy.zip``.

    Parameters
    ----------
    folder : Path
        Where to make them.
    shape : tuple of int
        Of the stack.
    """

    def __init__(self, folder: Path, shape: Shape = SHAPE) -> None:
        CliRunner().invoke(cli.app, ["predict", "--help"])  # imports what each child would
        score.score(np.ones((8, 8), np.float32), np.ones((8, 8), np.uint8))  # loads the kernels
        folder.mkdir(parents=True)
        self.volume, self.labels = folder / "volume.tif", folder / "labels.tif"
        self.weights, self.archive = folder / "small.safetensors", folder / "toy.zip"
        files = write_toy(folder, shape)
        self.dataset = _toy(*files)
        with zipfile.ZipFile(self.archive, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in (self.volume, self.labels):
                archive.write(path, path.name)
        with self.patched():
            header = weights.Header(arch="small", recipe="default")
            weights.save_weights(self.weights, models.build("small", seed=4).eval(), header)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Let sfseg know the network and the dataset, and save as often as it can."""
        with contextlib.ExitStack() as stack:
            for owner, name, value in (
                (models, "ARCHITECTURES", {**models.ARCHITECTURES, "small": Small}),
                (registry, "DATASETS", {**registry.DATASETS, "toy": self.dataset}),
                (curves, "write_curves", _write_plainly),
                (run, "FLUSH_S", 0),
                (time_budget, "SHARE", 1e9),
                (live_page, "SHARE", 1e9),
                (trainer, "score_shipped", lambda *_: None),  # slow, and it writes nothing
                (writer, "_CHUNK_PX", 16),
                (writer, "_SHARD_BYTES", 2**12),
                (writer, "_SMALLEST_PX", 64),
            ):
                stack.enter_context(mock.patch.object(owner, name, value))
            yield

    @property
    def enter(self) -> Callable[[], None]:
        """A function that makes a process live in this world to its end."""

        def enter() -> None:
            self._entered = self.patched()  # kept: it is left when nobody knows it
            self._entered.__enter__()

        return enter

    def predict(self, out: Path, *own: object) -> tuple[object, ...]:
        """Spell the command that predicts the stack."""
        return (
            "predict",
            self.volume,
            "-o",
            out,
            "--model",
            self.weights,
            "--tile",
            112,
            *CPU,
            *own,
        )

    def train(self, out: Path, *own: object) -> tuple[object, ...]:
        """Spell the command that trains the network in a few steps."""
        data = ("--images", self.volume, "--labels", self.labels, "--sections", "1-2")
        short = ("--epochs", 2, "--patch", 32, "--batch-size", 8, "--save-every", 0)
        return ("train", "--arch", "small", "--out", out, *data, *short, *CPU, *own)

    def fetch(self, to: Path, source: object = None) -> tuple[object, ...]:
        """Spell the command that fetches the dataset from the archive, or another source."""
        return ("fetch", "toy", "--to", to, "--from", self.archive if source is None else source)


def write_toy(folder: Path, shape: Shape = SHAPE) -> list[DataFile]:
    """Write ``volume.tif`` and ``labels.tif``, the same bytes each time, and tell what they are."""
    files = []
    for name, stack in zip(("volume.tif", "labels.tif"), make_tissue(shape, seed=3), strict=True):
        write_stack(folder / name, stack)
        digest = hashlib.sha256(stack.tobytes()).hexdigest()
        files.append(DataFile(name, (folder / name).stat().st_size, shape, pixels=digest))
    return files


def _toy(volume: DataFile, labels: DataFile) -> Dataset:
    return Dataset(
        name="toy",
        title="A toy",
        citation="Nobody 2024",
        dois=(),
        licence="free",
        voxel_size_nm=None,
        label_kind="interior",
        files=(volume, labels),
        sources=(),
        train=(LabelledStack(volume.name, labels.name, "1-2"),),
        test=(LabelledStack(volume.name, labels.name, "3"),),
        split="ours",
    )


def _write_plainly(path: Path, _history: object) -> None:
    """Stand for the curves, which take longer than the training."""
    from sfseg.system import files

    files.write_bytes(path, b"curves", overwrite=True)
