"""Measure prediction on Dask: blocks of no work, the memory of the client, two workers of one core.

Run it on a machine with nothing else to do: ``python docs/build_tools/cluster_figures.py [STACK]``.
With STACK, two workers of one core each are compared with one process of two threads.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

import torch

from sfseg import io
from sfseg.cluster.connect import Cluster, connect
from sfseg.cluster.feed import Call, Feed
from sfseg.cluster.predict import ClusterModel
from sfseg.config import PredictConfig
from sfseg.prediction.backend import Backend
from sfseg.prediction.jobs import make_jobs
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_job
from sfseg.system.memory import used_bytes

FEW, MANY = 1_000, 20_000
"""Blocks of no work."""

COPIES = 8
"""How often the stack is taken, one copy on top of the other."""


def tell(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run_empty(cluster: Cluster, count: int) -> None:
    """Send blocks of no work, and say how long they take and what the client holds then."""
    began = time.monotonic()
    calls: Iterable[Call] = repeat(Call(int, ()), count)
    ended = sum(1 for _ in Feed(cluster, tell).run(calls))
    seconds = time.monotonic() - began
    tell(f"{ended} blocks of no work: {seconds:.1f} s, client {used_bytes() / 2**20:.0f} MiB")


def predict(model: Backend, source: Path, out: Path) -> float:
    """Predict a stack; return the seconds."""
    began = time.monotonic()
    (job,) = make_jobs([str(source)], out)
    predict_job(job, model, CONFIG)
    return time.monotonic() - began


CONFIG = PredictConfig(device="cpu", precision="float32")


def compare(cluster: Cluster, source: Path, folder: Path) -> None:
    """Compare the workers with one process that has a thread for each of them."""
    with io.open_stack(source) as stack:
        shape = (len(stack) * COPIES, *stack.shape[1:])
        sections = (stack.section(index % len(stack)) for index in range(shape[0]))
        tall = folder / "tall.tif"
        io.write_sections(tall, sections, shape, stack.dtype, voxel_size_nm=stack.voxel_size_nm)
    threads = sum(cluster.threads().values())
    torch.set_num_threads(threads)
    here = predict(Model.load(CONFIG), tall, folder / "here" / "map.zarr")
    remote = ClusterModel.load(cluster, CONFIG, say=tell)
    remote.resolve(io.open_stack(source), CONFIG)  # the workers import what they need
    there = predict(remote, tall, folder / "there" / "map.zarr")
    same = io.hash_input(folder / "here" / "map.zarr") == io.hash_input(folder / "there/map.zarr")
    tell(f"{threads} threads in one process {here:.1f} s, {threads} workers {there:.1f} s:")
    tell(f"{here / there:.2f} of the speed, {'the same' if same else 'OTHER'} bytes")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack", nargs="?", type=Path)
    stack = parser.parse_args().stack
    with connect("local", device="cpu") as cluster, tempfile.TemporaryDirectory() as folder:
        tell(cluster.describe())
        for count in (FEW, FEW, MANY):
            run_empty(cluster, count)
        if stack is not None:
            compare(cluster, stack, Path(folder))


if __name__ == "__main__":
    main()
