"""Fixtures: tissue from a seed, tiny networks, and a guard against the network.

What takes long to import is imported where it is used: the process that hands the tests out to the
workers reads this file before it starts them.
"""

import shutil
import signal
import socket
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}

# A shell that runs the tests in the background has them ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    if item.get_closest_marker("bf16"):
        import torch

        from sfseg.system.devices import has_bf16

        if not has_bf16(torch.device("cpu")):
            pytest.skip("this processor has no bf16")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            pytest.fail(f"a test opened a connection to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SFSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tissue():
    """Four sections of 96x112 and their labels."""
    from sfseg.datasets.synthetic import make_tissue

    return make_tissue((4, 96, 112), seed=3)


@pytest.fixture(scope="session")
def tissue_folder(tissue, tmp_path_factory):
    """A folder with the tissue as volume.tif and labels.tif, voxel 50x4x4 nm; do not change it."""
    from sfseg.io import write_stack

    folder = tmp_path_factory.mktemp("tissue")
    for name, stack in zip(("volume", "labels"), tissue, strict=True):
        write_stack(folder / f"{name}.tif", stack, voxel_size_nm=(50, 4, 4))
    return folder


@pytest.fixture
def tissue_files(tissue_folder, tmp_path):
    """A copy of that folder, which a test may change."""
    return Path(shutil.copytree(tissue_folder, tmp_path / "tissue"))


@pytest.fixture(scope="session")
def isbi():
    """The folder of the real challenge data, where there is one."""
    folder = SHARED / "data" / "ISBI-2012-challenge"
    if not folder.is_dir():
        pytest.skip("the ISBI 2012 stacks are not beside this repository")
    return folder


@pytest.fixture(scope="session")
def small_network():
    """The small network, warmed up; do not change it."""
    import torch

    from tests.networks import Small, warm_statistics

    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = Small()
        warm_statistics(network)
    return network


@pytest.fixture
def small_architectures(monkeypatch):
    """Let each architecture be the small network, for what is the same of all of them."""
    from sfseg import models
    from sfseg.training import trainer
    from tests.networks import Small

    small = dict.fromkeys(models.ARCHITECTURES, Small)
    monkeypatch.setattr(models, "ARCHITECTURES", small)
    monkeypatch.setattr(trainer, "score_shipped", lambda *_: None)  # they are not of this network


@pytest.fixture
def narrow():
    """Let the architectures have few channels, for what does not depend on how many."""
    from tests.networks import narrow_networks

    with narrow_networks():
        yield


@pytest.fixture(scope="session")
def small_weights(small_network, tmp_path_factory):
    """A file with the small network under the header of the shipped weights."""
    from sfseg.config import SHIPPED_MODEL
    from sfseg.models.weights import load_header, save_weights

    path = tmp_path_factory.mktemp("weights") / f"{SHIPPED_MODEL}.safetensors"
    save_weights(path, small_network, load_header(SHIPPED_MODEL))
    return path


@pytest.fixture(scope="module")
def small_shipped(small_weights):
    """Let a file of tests find the small network as each architecture and as the shipped weights.

    For what does not depend on how a network is built or what it has learnt.
    """
    from sfseg import models
    from sfseg.models import weights_files
    from tests.networks import Small

    shipped = {small_weights.stem: small_weights}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "ARCHITECTURES", dict.fromkeys(models.ARCHITECTURES, Small))
        patch.setattr(weights_files, "shipped_weights", lambda: shipped)
        yield


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(0)


@pytest.fixture
def volume(tissue_files):
    return tissue_files / "volume.tif"


@pytest.fixture
def labels(tissue_files):
    return tissue_files / "labels.tif"


@pytest.fixture(scope="session")
def s3_service():
    """The address of a service like S3."""
    for name in ("zarr", "obstore", "moto", "flask", "flask_cors"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    from tests.buckets import s3_service

    with s3_service() as address:
        yield address


@pytest.fixture
def bucket(s3_service, monkeypatch):
    """The address of an empty bucket, to which the environment opens the way."""
    from sfseg.io import objects
    from tests.buckets import make_bucket, variables

    for name, value in variables(s3_service).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(objects.RETRIES, "max_retries", 1)
    return f"s3://{make_bucket(s3_service)}"
