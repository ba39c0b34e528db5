"""A cluster of two worker processes for a file of tests, which may know the small network."""

import contextlib
import logging
from collections.abc import Iterator

import distributed
from distributed import WorkerPlugin

from sfseg.cluster.connect import Cluster


def dask_setup(_worker):
    """Let a worker find the small network; distributed calls this, see its option --preload."""
    from sfseg import models
    from tests.networks import Small

    models.ARCHITECTURES = {**models.ARCHITECTURES, "sfnet": Small, "small": Small}


class SmallPlugin(WorkerPlugin):
    """The same for all workers of a cluster, also for those that are started again."""

    name = "small"

    def setup(self, worker):
        dask_setup(worker)


@contextlib.contextmanager
def small_cluster() -> Iterator[Cluster]:
    """Start a cluster whose workers know the small network."""
    with two_workers() as cluster:
        cluster.client.register_plugin(SmallPlugin())
        yield cluster


@contextlib.contextmanager
def changed(cluster, function, *arguments, workers=None):
    """Change workers for a block: ``function(*arguments, undo=...)``."""
    cluster.client.run(function, *arguments, undo=False, workers=workers)
    try:
        yield
    finally:
        cluster.client.run(function, *arguments, undo=True, workers=workers)


@contextlib.contextmanager
def two_workers() -> Iterator[Cluster]:
    """Start a cluster of two worker processes on this machine."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL + 1,
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield Cluster(client.scheduler.address, client)


def silent(_):
    """Say nothing."""
